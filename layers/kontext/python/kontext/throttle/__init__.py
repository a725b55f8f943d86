"""When the next request may go to Segmind: the rate, the causes for which nobody goes, and the line of those who wait.

rate_limiter     slots by GCRA, so that no minute sees more than the account's share
circuit_breaker  a cause for which nobody goes: of the account, of the vendor, or a person's pause
admission        who goes now, and the permits for those who wait: pure functions on the state of a stack
shared_state     that state, one item of the table, changed by compare-and-swap
throttle         what all submitters do to it
line             who waits, and in which order
"""
