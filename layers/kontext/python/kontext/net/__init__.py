"""Safe HTTP: a whole exchange ends in time, and only where it should go.

addresses  which hosts a URL may lead to
transport  the way out: a deadline for everything, and a connection to the address that was checked
unpacking  a body that was packed unasked, in pieces that bound the memory
"""
