"""When to ask Segmind for a job: a schedule, learned from the jobs before.

schedule   the best moments, for a given distribution of durations
durations  what the stack has seen of them, in one small item of the table
history    both together: the stack's own schedule
"""
