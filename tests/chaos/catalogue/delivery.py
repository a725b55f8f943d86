"""Deliberate mistakes about the paid picture."""

from __future__ import annotations

from tests.chaos.catalogue.places import PLACING, POLL, in_layer
from tests.chaos.mutants import Mutant

DELIVERY = (
    Mutant(
        "a result that was taken away late stays away",
        ((PLACING, "        self.see_result_of(pair)\n", ""),),
        ("changed in form, and back as the picture has come",),
        ("stall",),
    ),
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
        ((PLACING, "if pair is None or pair.current == render_id:", "if True:"),),
        ("changed meanwhile", "changed at once"),
    ),
    Mutant(
        "a picture that is put over whatever stands there",
        (
            in_layer(
                "results/output_bucket", "**self.described, **self.condition, Body=body", "**self.described, Body=body"
            ),
            (PLACING, "        self.see_result_of(pair)\n", ""),
        ),
        ("another prompt as the picture comes",),
        ("stall",),
    ),
    Mutant(
        "an overtaken picture that takes another one away",
        (
            in_layer("results/output_bucket", 'ours.items() <= head["Metadata"].items()', "True"),
            (PLACING, "        self.see_result_of(pair)\n", ""),
        ),
        ("changed meanwhile", "changed at once"),
    ),
    Mutant(
        "an overtaken picture that stays where it was put",
        ((PLACING, 'outputs.remove_if_ours(keys.result_key(prefix, each), {"render-id": render_id})', "pass"),),
        ("changed in form as the picture comes",),
    ),
    Mutant(
        "a result in an older format that stays",
        ((PLACING, "if stale != keys.error_key(pair.prefix) or", "if stale == keys.error_key(pair.prefix) and"),),
        ("changed in form", "made in the other format, and then in the one that was asked for"),
    ),
    Mutant(
        "a link that has expired, tried again and again",
        (
            (
                POLL,
                "renew_link(self.deps, self.event, self.record.keep_request_id(render))",
                "self.record.keep_request_id(render)",
            ),
        ),
        ("the link to the picture has expired, and another one is named when asked",),
    ),
    Mutant(
        "a picture under the name of the format that was asked for, and not of what it is",
        (
            (
                PLACING,
                "place = self.place(arriving.format)",
                'place = self.place(self.render["parameters"]["output_format"])',
            ),
        ),
        ("made in the other format",),
    ),
    Mutant(
        "an error file that stays beside the picture",
        ((PLACING, "or now.rejected_drop <= now.current_drop:", "or False:"),),
        ("dropped again after it failed", "a wrong request, corrected"),
    ),
    Mutant(
        "an older drop's delivery that takes the newer one's picture away",
        (
            (PLACING, "if now is None or now.current != pair.current:", "if now is None:"),
            (PLACING, "outputs.remove(stale, condition)", "outputs.remove(stale)"),
            (PLACING, "        self.see_result_of(pair)\n", ""),
        ),
        ("changed in form, and back as the picture comes",),
        ("stall", "time-out with effect"),
    ),
)
