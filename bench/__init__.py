"""Measurements of the pipeline: `python -m bench.report` writes report.md, report.json and the plots.

report, plots, figures  the report, its pictures, and the figures that README and docs state
part, limits            what each part gives back; what is promised of the figures
simulate, pollers, workloads, optimum  polling in virtual time: each way to poll, beside the least possible lag
calls, costs            requests and dollars a pair
cloud, workers          real time on the embedded cloud, and what the functions take there
cold_start, layer       how fast a function starts, how large it is
finalize, memory        delivery of large pictures; how much memory each function should have
claim, pictures         what the processor takes for a pair until its request, and for pictures of the worst bytes
"""
