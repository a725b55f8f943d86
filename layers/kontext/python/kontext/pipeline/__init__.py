"""What each function does, shared with the operator's commands.

intake        Submit: an object was dropped, or taken away
waking        Submit: those who wait for what has come or gone go on
advance       Submit: what a pair asks for now, settled, and claimed
reading       Submit: how a pair lies in the bucket
last_look     Submit: whether it is still so right before it is paid
near_misses   Submit: what was probably meant as the prompt lies beside the pair
candidate     Submit: an answer that was lost named a job; Segmind is asked for it
submit        Submit: a claimed render is sent at its slot, or waits in line
head_of_line  Submit: who waits longest goes at the next slot
slot          a slot of the rate limiter is waited for
post          Submit: the one request that costs money, and what its answer means
requeue       a render that was not accepted, or whose job failed for want of credits, waits
circuit_breaker  nobody goes, and until when; the change is published
probe         Submit: whether the cause has ended, for which nobody goes
overdue       an item of the table is due: what its state asks for
watch         the workflow of a paid render is started
poll          Poll: Segmind is asked for a job, when that is worth it
job_record    Poll: what Segmind tells of the job is kept on the record
job_requests  Poll: what is asked of the job, and in which order
link_renewal  Poll: a link that does not lead to the picture is asked for anew
deliver       Finalize: the picture is copied, and the end is published
placing       Finalize: where the picture goes, and what it replaces there
sweep         Sweep: what is due, and the permits of the line
ends          how a render ends, for all of them
"""
