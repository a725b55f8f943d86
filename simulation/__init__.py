"""The world in memory, on virtual time: the chaos tests play the real functions in it, the benchmarks measure in it.

scheduler         virtual time, and processes that take turns in it
fault_injection   the border: every call that leaves the code is counted there, and may go wrong
aws               the clients that the functions get; s3, dynamodb, sqs, workflow: the services behind them
vendor            Segmind, emulated
template          what template.yaml says
world             all of it together: one run of a schedule
actions           what people, S3, operators and the vendor do meanwhile
stories, seeds    the schedules: by name, and by chance
explore           plays a story with every fault that can strike it
oracle            what each pair should become
evidence          what a run has left behind, which is held against the promises:
promises          what must hold of every run; spending, brakes: … of money; of pauses, outages and each invocation
liveness          that nothing stands still; promptness, fairness: nor is late; rescue: nor is lost for good
transcript        tells a run, call by call
bursts            what a pair costs in calls when many come at once
"""
