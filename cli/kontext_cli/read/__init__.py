"""The read model: what the table and the input bucket know, read for people. Terminal, page and `doctor` take from here
what they say of a pair, and only format it.

views       a pair and its renders as people see them: which speaks, why it waits, what that means
records     the table of a stack: one pair, the newest, the money of each day
newest      which pairs there are, the newest first
timeline    what happened to a pair, step by step
unrecorded  objects of the input bucket that the table does not know
"""
