"""The whole stack on one machine.

stack           an embedded cloud with the project's template deployed into it
supervisor      the process that keeps it
cloud, launcher MiniStack, the embedded AWS, as a child process, and what runs in it
runtime         what a function finds there beside its layers
deploy          the template, built and deployed by the real `sam`
authentication  nothing is answered that is not signed with a key of the cloud
guard           who may ask a server on the loopback
private         files that only their owner can read
project         where things are
errors          what can go wrong, in words
fonts           text on pictures
segmind         the emulator of Segmind's API
"""
