"""The domain of kontext-drop. No AWS event is ever seen here: modules take values, clients and the time.

pipeline        what each function does; the rooms below are what it is made of
drops           what people drop: keys, messages, pairs, requests, who waits for whose object
renders         one render's life in the table, its claim, its money, its workflow
throttle        when the next request may go: rate limiter, circuit breaker, line
segmind         the vendor: the client, and what its answers mean
polling         when to ask for a job, learned from the jobs before
results         what comes out: the picture, the event, error.json
images          what kind and size a picture is, and whether it is complete
net             safe HTTP
schemas         JSON schemas of the request and of the events

model           the nouns: typed records, statuses and what they mean to people
errors          what can go wrong, and what each code and reason means to people
workflow_state  what the states of the workflow hand to each other
due             when somebody must look at an item again
hints           messages of our own in the upload queue
dynamodb        the one seam to the table
connections     the outside world of a function: settings, read once, and clients, made when first used
stores          the part of it that stands in the table, by subject
aws             how long an AWS service is waited for
clock           time, and the one way to wait
metrics, log    what is measured, and logged
text            text from outside, made fit to be shown
"""
