"""Measurements of the pipeline: `python -m bench.report` writes report.md, report.json and the plots."""
