"""One render's life in the table, what it costs, and the workflow that watches its job.

store        the records of renders, moved by conditional writes only; how one fails, and is begun anew
submissions  a render's request: it waits, is sent, accepted, or its answer is lost
jobs         a render's job at Segmind, and the execution that looks after it
record       a render's item: where it stands, how it is written, what a new attempt keeps of it
deliveries   a paid picture's delivery: put off, or done
claims       which render a drop is, and that no drop is two of them
overdue      what is to be done with a render that nobody has come back to in time
settle       what became of a request that may have been paid: decided by a person, or by asking Segmind
job_owner    that no job of Segmind's is two renders'
ledger       the money of a UTC day: reserved before a request, booked after it; the daily limit
balance      what Segmind's balance says, beside what is booked
workflow     the one seam to Step Functions
"""
