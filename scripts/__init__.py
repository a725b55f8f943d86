"""What makes the pictures of README and docs: `make drawings`, `make screenshots`.

draw_architecture  docs/images/architecture.svg and workflow.svg, of template.yaml and workflow.asl.json
svg                the shapes of both: boxes, arrows, labels
show_demo          docs/images/demo.jpg, and what the demo says, into the README
"""
