"""Deliberate mistakes about the workflow and the template."""

from __future__ import annotations

from tests.chaos.catalogue.places import ADVANCE, STATES, in_layer
from tests.chaos.mutants import Mutant

WORKFLOW = (
    Mutant(
        "executions without a name of their own",
        (
            in_layer(
                "renders/workflow", "name=execution_name(render)", "name=execution_name(render) + uuid.uuid4().hex[:6]"
            ),
            in_layer("renders/workflow", "from typing import", "import uuid\nfrom typing import"),
        ),
        ("changed and changed back",),
        ("time-out with effect",),
    ),
    Mutant(
        "a request_id that only the record knows",
        (
            in_layer(
                "pipeline/job_record", 'if render["status"] not in (Status.SUBMITTING, Status.UNCERTAIN):', "if True:"
            ),
        ),
        kinds=("error",),
    ),
    Mutant(
        "a failed message taken for done",
        (in_layer("drops/redelivery", "return self._retry(record, problem)", "return True"),),
        kinds=("error",),
    ),
    Mutant(
        "what a recorded drop asks for is not looked at again after it has failed",
        ((ADVANCE, "self.deps.drops.try_again(pair.prefix, self.deps.clock.now())", "pass"),),
        ("nine pairs at once",),
        kinds=("error",),
    ),
    Mutant(
        "a pair that is looked at ever more seldom while a service is away",
        (in_layer("pipeline/sweep", "if render_id_of(item.key) is None", "if False"),),
        ("S3 is away for 40 minutes while a pair waits for a prompt",),
    ),
    Mutant(
        "messages that share an invocation, and so its death",
        (("template.yaml", "BatchSize: 1\n", "BatchSize: 10\n"),),
        ("nine pairs at once with an image that is larger than the memory",),
    ),
    Mutant(
        "a poll that crashes and is not repeated",
        ((STATES, '"MaxAttempts": 24', '"MaxAttempts": 0'),),
        kinds=("crash before",),
    ),
    Mutant(
        "a delivery that crashes and is not repeated",
        ((STATES, '"MaxAttempts": 12\n', '"MaxAttempts": 0\n'),),
        ("the picture kills Finalize five times",),
    ),
    Mutant(
        "a wait that is taken for the end",
        ((STATES, '"StringEquals": "waiting"', '"StringEquals": "never"'),),
        ("slow",),
    ),
    Mutant(
        "a delivery that is to be tried again and is not",
        ((STATES, '"StringEquals": "again"', '"StringEquals": "never"'),),
        ("the picture is late",),
    ),
    Mutant(
        "a failed message that is not told from the others",
        (("template.yaml", "FunctionResponseTypes: [ReportBatchItemFailures]", "FunctionResponseTypes: []"),),
        kinds=("error",),
    ),
    Mutant(
        "a message that is given up when it comes back",
        (("template.yaml", "maxReceiveCount: 1000", "maxReceiveCount: 1"),),
        kinds=("crash before",),
    ),
)
