"""When to ask Segmind for a job: a schedule, learned from the jobs before."""
