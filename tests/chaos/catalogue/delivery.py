"""Deliberate mistakes about the paid picture."""

from __future__ import annotations

from tests.chaos.catalogue.places import DELIVER, in_layer
from tests.chaos.mutants import Mutant

DELIVERY = (
    Mutant(
        "a picture that our own bucket keeps, paid again",
        (in_layer("renders/overdue", 'RESTORE_SECONDS if "result" in render else OUTPUT_SECONDS', "OUTPUT_SECONDS"),),
        ("another prompt, and the first one again after eight days",),
    ),
    Mutant(
        "a picture that our own bucket keeps, given up before it is put back",
        (in_layer("renders/overdue", 'if "restore_from" in render else 0.0', "if False else 0.0"),),
        ("another prompt, and the first one again after eight days, as the bucket is away",),
    ),
    Mutant(
        "a result that replaces a newer one",
        ((DELIVER, 'overtaken = pair is not None and pair.current != render["render_id"]', "overtaken = False"),),
        ("changed meanwhile", "changed at once"),
    ),
    Mutant(
        "a picture that is put over whatever stands there",
        (
            in_layer(
                "results/output_bucket", "**self.described, **self.condition, Body=body", "**self.described, Body=body"
            ),
        ),
        ("changed as the picture comes",),
        ("stall",),
    ),
    Mutant(
        "an overtaken picture that takes another one away",
        (in_layer("results/output_bucket", 'ours.items() <= head["Metadata"].items()', "True"),),
        ("changed meanwhile", "changed at once"),
    ),
    Mutant(
        "an overtaken picture that stays where it was put",
        ((DELIVER, 'self.deps.outputs.remove_if_ours(key, {"render-id": render["render_id"]})', "pass"),),
        ("changed in form as the picture comes",),
    ),
    Mutant(
        "a result in an older format that stays",
        ((DELIVER, "for stale in pair.written - {key, error_key}:", "for stale in ():"),),
        ("changed in form",),
    ),
    Mutant(
        "an error file that stays beside the picture",
        ((DELIVER, "if error_key in pair.written:", "if False:"),),
        ("dropped again after it failed", "a wrong request, corrected"),
    ),
)
