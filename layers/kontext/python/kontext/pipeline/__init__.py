"""What each function does, shared with the operator's commands.

`intake`: an object was dropped, or taken away. `pairs`: what a pair asks for now. `reading`: how it lies in the bucket.
`last_look`: whether it is still so right before it is paid. `submit`: a claimed render is sent, at its slot, or
waits in line. `breaker`: nobody goes, and until when. `overdue`: an item of the table is due. `watch`: the workflow of
a paid render is started. `poll`: Segmind is asked for a job. `deliver`: the picture is copied, and it is told. `sweep`:
what is due, and the permits of the line. `ends`: how a render ends, for all of them.
"""
