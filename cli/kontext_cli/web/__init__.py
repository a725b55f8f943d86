"""`kontext console`: a page on the loopback over one stack, and the small server behind it.

command.py    the command: find the stack, listen, serve until Ctrl-C
app.py        requests to answers, as a plain ASGI application
headers.py    what every answer says to the browser; who may ask is in `kontext_local.guard`
gallery.py    the stack's newest pairs, read at most once a second
views.py      a pair as the page shows it
story.py      everything that happened to one pair
pictures.py   objects of the two buckets, as pictures
uploads.py    what is dropped on the page
static/       the page: one HTML, one CSS, one JavaScript file
"""
