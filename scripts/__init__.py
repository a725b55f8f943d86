"""What writes files of the project: `make drawings`, `make screenshots`, `make generated`.

draw_architecture  docs/images/architecture.svg and workflow.svg, of template.yaml and workflow.asl.json
svg                the shapes of both: boxes, arrows, labels
show_demo          docs/images/demo.jpg, and what the demo says, into the README
contracts          model.py and schemas/event.v1.json, as far as they follow from request.v1.json, codes and reasons
tables             the tables in README and docs/ that say what the code says
"""
