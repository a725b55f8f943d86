"""Pictures: one reader for all that is dropped, uploaded, shown or delivered.

inspection       `inspect`: the whole of a picture in one stream; what it is, or why it cannot be used
image            what is known of a picture, how large one may be, and the ways in which one is refused
source           the stream: read ahead, counted and hashed
identify         what a file is by its first bytes, and how to make a picture of what is none
jpeg, png, webp  each container, walked to its end
behind           what may stand behind that end
"""
