"""The vendor.

client     the one client of its API: submit, status, credits
answers    what an answer means: where a job is, what came of it, and whom a refusal (a 406, say) is about
exchange   one request and its whole answer, within bounds of size and time
api_key    the key, and the one before it
links      the links to a picture in an answer, wherever they stand
named_job  the job that an answer names, however broken it is
"""
