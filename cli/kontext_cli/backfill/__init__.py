"""`kontext backfill`: many pairs at once.

command  the command: say what it means, and do it if told to
sources  what a table or folder holds, and what is wrong with it
plan     what is new, what it costs, and how long it takes
"""
