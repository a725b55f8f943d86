"""What people drop: whose part an object is, what has come of a pair so far, and what the pair asks for.

messages      what the upload queue's messages say
redelivery    what becomes of a message that could not be worked on
keys          the drop convention: object key ⇄ part of a pair
input_bucket  the one seam to the input bucket: what an object is, and links to it
references    what a request may name as its images
pairs         a pair as dropped so far, and what to do with it
store         one item a pair in the table, kept from the events
loose         objects that are no part of a pair
reads         named images: what was read of each version
text_file     a text as people save it, or why it cannot be read
near_misses   names under which a prompt was probably meant
request       the parameters: read, checked against the schema, merged
waiters       who waits for whose object, and who is woken when it comes
"""
