"""Deliberate mistakes about what Segmind answers."""

from __future__ import annotations

from tests.chaos.catalogue.places import POLL, in_layer
from tests.chaos.mutants import Mutant

ANSWERS = (
    Mutant(
        "a request sent again when its answer is lost",
        (in_layer("segmind/client", "@door(Ambiguous)", "@door(Unavailable)"),),
        kinds=("time-out with effect",),
    ),
    Mutant(
        "a gateway's time-out taken for a refusal",
        (in_layer("segmind/answers", "if status in (408, 425):", "if status in (408, 425, 504):"),),
        kinds=("gateway time-out",),
    ),
    Mutant(
        "a poll without an answer that ends the render",
        (
            (
                POLL,
                "            return self.missed(render, failure), None",
                '            return self.missed(render, failure), {"outcome": "expired", "message": str(failure)}',
            ),
        ),
        ("trouble with polls", "pair"),
    ),
    Mutant(
        "a failure is believed though the result says that the job runs",
        (
            in_layer(
                "pipeline/job_requests",
                "if (ended.status == Status.FAILED) != (seen.status == Status.FAILED):",
                "if False:",
            ),
        ),
        ("one status says FAILED, and the picture is there",),
    ),
    Mutant(
        "a failure is believed though the result could not be asked",
        (
            in_layer(
                "pipeline/job_requests",
                "                self.doubt(failure)\n",
                "                pass\n",
            ),
        ),
        ("one status says FAILED, and the picture is there",),
        ("time-out with effect",),
    ),
    Mutant(
        "a failure is believed though the picture is there",
        (in_layer("pipeline/job_requests", "in (Status.COMPLETED, Status.FAILED):\n", "in (Status.COMPLETED,):\n"),),
        ("the status of a job that is done says FAILED, and the picture is there",),
    ),
    Mutant(
        "a job that is not known once is believed to be gone",
        ((POLL, "            if due is None:", "            if due is None or self.is_gone:"),),
        ("trouble with polls",),
    ),
    Mutant(
        "a delivered render that cannot be delivered again is not delivered any more",
        (
            in_layer("pipeline/deliver", 'if self.render.get("stays_delivered"):', "if False:"),
            in_layer("pipeline/overdue", 'if render.get("stays_delivered"):', "if False:"),
            in_layer("pipeline/placing", "self.restored() or ", ""),
        ),
        ("delivered again when the vendor has deleted the picture",),
    ),
    Mutant(
        "a job is asked for with the newest key alone",
        (in_layer("segmind/client", "if status in (401, 404) and submitted_with and", "if False and"),),
        ("the key is replaced while both are valid, and each sees only its own jobs",),
    ),
    Mutant(
        "a picture that cannot be copied for minutes is given up",
        (
            in_layer(
                "pipeline/deliver",
                "            return self.put_off(message)\n",
                '            self.fail("delivery", message)\n',
            ),
        ),
        ("the file host answers 503 for an hour",),
    ),
    Mutant(
        "that a picture is late is told by nobody",
        (in_layer("pipeline/overdue", "            if is_late(render, now):", "            if False:"),),
        ("the file host answers 503 for an hour",),
    ),
    Mutant(
        "the result is not asked for while the status stays bad",
        (in_layer("pipeline/job_requests", "if self.misses < BAD_STATUSES or", "if True or"),),
        ("the status stays bad, and the result would answer",),
    ),
    Mutant(
        "the first of several links is taken, wherever it leads",
        (
            in_layer("pipeline/job_record", "self.deps.allowed.first([*result.links, *result.others]) or ", ""),
            in_layer("pipeline/link_renewal", "deps.allowed.first([*seen.links, *seen.others])", "seen.links[0]"),
        ),
        ("of two links the second leads to an allowed host",),
    ),
    Mutant(
        "what stands behind a picture is not looked at",
        (in_layer("images/inspection", "    behind.check(source)\n", "    list(source.rest())\n"),),
        ("a photograph has a web page behind it",),
    ),
    Mutant(
        "an object that may not be read is tried again and again",
        (
            in_layer(
                "drops/input_bucket",
                'if (code in _CLOSED or code.startswith("KMS.")) and not is_our_role:',
                "if False:",
            ),
        ),
        ("a photograph is encrypted with a key of another account",),
    ),
    Mutant(
        "a link to whatever is newest",
        (in_layer("drops/input_bucket", 'if read.get("version_id") else {}', "if False else {}"),),
    ),
)
