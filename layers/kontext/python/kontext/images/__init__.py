"""Pictures: what kind and size they are, and whether they are complete.

identify  from the first and last bytes: the kind, the size, what stands behind the end
verify    while the bytes go by: is this picture whole, and of the kind that was asked for?
"""
