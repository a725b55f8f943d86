"""`kontext`, the command line. `commands` holds what can be typed, `main` runs it; a command's work is in the module or
package of its name, or in the one that is named here.

read      the read model: what terminal, page and doctor say of a pair
drop      one pair: drop, fetch
backfill  many pairs at once
demo      two pairs, watched through the whole stack
web       the page: console
doctor    what is wrong with a stack
decide    what a person decides: resolve, redeliver, cancel, again, forget, replay, redrive, reconcile, pause, resume

status, explain, audit  look, and change nothing; links: pages of the AWS console
up, env, segmind        the stack on this machine; `up` holds down, too

target, resources       which stack a command speaks to, and what it is made of
terminal, errors        what is printed while a command works, and what ends it
"""
