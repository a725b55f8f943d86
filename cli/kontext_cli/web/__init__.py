"""`kontext console`: a page on the loopback over one stack, and the small server behind it.

command   the command: find the stack, listen, serve until Ctrl-C
app       requests to answers, as a plain ASGI application
headers   what every answer says to the browser; who may ask is in `kontext_local.guard`
gallery   the stack's newest pairs, read at most once a second
cards     a pair as the page shows it
story     everything that happened to one pair
pictures  objects of the two buckets, as pictures
uploads   what is dropped on the page
static/   the page: one HTML, one CSS, one JavaScript file
"""
