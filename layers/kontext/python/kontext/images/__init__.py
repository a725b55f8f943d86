"""Pictures: one reader for all that is dropped, uploaded, shown or delivered.

inspection.py   `inspect`: the whole of a picture in one stream; what it is, or why it cannot be used
image.py        what is known of a picture, how large one may be, and the ways in which one is refused
source.py       the stream: read ahead, counted and hashed
identify.py     what a file is by its first bytes, and how to make a picture of what is none
jpeg.py, png.py, webp.py   each container, walked to its end
behind.py       what may stand behind that end
"""
