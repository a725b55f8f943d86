"""The world in memory, on virtual time: the chaos tests play the real functions in it, the benchmarks measure in it.

scheduler         virtual time, and processes that take turns in it
fault_injection   the border: every call that leaves the code is counted there, and may go wrong
aws               the clients that the functions get; the services behind them: s3, dynamodb, its
                  index that lags, sqs, workflow; sorted_keys: what a listing looks keys up in
expressions       what DynamoDB understands of conditions and updates
vendor            Segmind, emulated
template          what template.yaml says
schedule          what a run is played by
world             all of it together: one run of a schedule; sandbox: what a function runs in
input_bucket      what is dropped, and what S3 tells of it
actions           what people, S3, AWS and the vendor do meanwhile; decisions: what the operator decides;
                  restoring: an older table comes back
stories, seeds    the schedules: by name, and by chance
explore           plays a story with every fault that can strike it
oracle            what each pair should become
evidence          what a run has left behind, which is held against the promises; outside: what came from outside
promises          what must hold of every run: … of money (spending), of pauses, outages and each invocation (brakes),
                  of what is told (telling), of what nobody knows (uncertainty)
liveness          that nothing stands still (waits); promptness, fairness: nor is late; rescue: nor is lost for good
transcript        tells a run, call by call
bursts            what a pair costs in calls when many come at once
"""
