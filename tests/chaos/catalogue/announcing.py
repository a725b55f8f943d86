"""Deliberate mistakes about what is told."""

from __future__ import annotations

from tests.chaos.catalogue.places import POLL, in_layer
from tests.chaos.mutants import Mutant

ANNOUNCING = (
    Mutant(
        "an end that is told once or never",
        (
            in_layer(
                "due",
                'return Due(ended, now) if render.get("announced") else Due(TIMER, now + TELL_SECONDS)',
                "return Due(ended, now)",
            ),
        ),
        ("refused", "a wrong image", "the answer is lost"),
    ),
    Mutant(
        "a gate that is closed and opened, and nobody is told",
        (in_layer("results/cloudevents", "topic.publish_change(change)", "pass"),),
        ("no credits",),
    ),
    Mutant(
        "a breaker that opens and closes untold",
        (in_layer("throttle/circuit_breaker", "    elif stop.ended:", "    elif stop.ended and False:"),),
        ("no credits",),
    ),
    Mutant(
        "an event that has another id each time",
        (in_layer("results/cloudevents", "{kind.partition('.')[2]}", "{kind.partition('.')[2]}.{render['revision']}"),),
    ),
    Mutant(
        "an end that is noted as told before it is",
        (
            in_layer(
                "results/cloudevents",
                "        topic.publish(render)\n        renders.mark_announced(render)\n",
                "        renders.mark_announced(render)\n        topic.publish(render)\n",
            ),
        ),
        ("refused", "pair"),
        ("crash before", "crash after"),
    ),
    Mutant(
        "a failure without an error file",
        (
            in_layer(
                "results/error_file",
                'if "error" not in render:',
                'if "none" not in render:',
            ),
        ),
        ("refused",),
    ),
    Mutant(
        "a picture that is found while the table does not answer, and is forgotten",
        ((POLL, "found = None if self.found_before else self.find_unrecorded()", "found = None"),),
        ("dynamodb away for 70 minutes",),
    ),
    Mutant(
        "a picture that was found, of a render that was ended before it could be recorded",
        (in_layer("pipeline/job_record", "!= Status.FAILED or not (may", "!= Status.FAILED or (True or may"),),
        ("dynamodb away for 70 minutes", "dynamodb away for 180 minutes", "dynamodb and sqs away for 70 minutes"),
    ),
    Mutant(
        "an error file that is written late, and stays beside the picture",
        (
            in_layer(
                "results/error_file",
                'if "error" in render and not _speaks_for_its_pair(render, drops, renders):',
                "if False:",
            ),
        ),
        ("resubmitted while a slow Submit still writes the error file",),
    ),
    Mutant(
        "an error file for what a newer drop has replaced",
        (
            in_layer(
                "results/error_file",
                'return now["render_id"] == pair.current',
                "return True",
            ),
        ),
        ("changed while parked", "a wrong request that is told last"),
    ),
    Mutant(
        "what is wrong anew, and is removed with what was wrong before",
        (in_layer("results/error_file", "outputs.remove(key, condition)", "outputs.remove(key)"),),
        ("wrong, corrected, and wrong again",),
        ("time-out with effect",),
    ),
    Mutant(
        "what is told of an object that comes back, and is removed with what was told before",
        (in_layer("pipeline/intake", "outputs.remove(told, condition)", "outputs.remove(told)"),),
        ("an object that fits no rule is deleted, and restored",),
        ("stall",),
    ),
    Mutant(
        "the table forgets first what was told of an object that is gone",
        (
            in_layer("pipeline/intake", "outputs.remove(told, condition)", "loose.forget(key, reported_at)  # first"),
            in_layer("pipeline/intake", "loose.forget(key, reported_at)\n", "outputs.remove(told, condition)\n"),
        ),
        ("an object that fits no rule is deleted",),
        ("crash after",),
    ),
    Mutant(
        "an object that fits no rule, and is told of though it is gone",
        (in_layer("pipeline/intake", "elif self.deps.inputs.newest(key) is None:", "elif False:"),),
        ("an object that fits no rule is deleted",),
        ("late",),
    ),
)
