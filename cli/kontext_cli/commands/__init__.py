"""What can be typed: names, arguments and help texts. Each command's work is in the module of its name beside this
package, imported when it runs.

dropping  drop, backfill, fetch, demo
looking   status, explain, doctor, audit, console
deciding  resolve, redeliver, cancel, again, forget, replay, redrive, reconcile, pause, resume
stack     up, env, down, segmind
options   options that several commands have
"""
