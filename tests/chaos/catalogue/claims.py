"""Deliberate mistakes about which render a drop is."""

from __future__ import annotations

from tests.chaos.catalogue.places import POST, SUBMIT, in_layer
from tests.chaos.mutants import Mutant

CLAIMS = (
    Mutant(
        "a claim without a condition",
        (
            in_layer(
                "renders/claims",
                '"attribute_not_exists(#pk)", dict(render)),\n                _make_current',
                '"attribute_not_exists(#none)", dict(render)),\n                _make_current',
            ),
        ),
        ("told twice", "dropped again", "pair"),
    ),
    Mutant(
        "SUBMITTING after the request was sent",
        (
            (
                SUBMIT,
                "            render = self.deps.submissions.mark_submitting(render, self.deps.clock.now())\n"
                "        except OverLimit",
                "            pass\n        except OverLimit",
            ),
            (
                POST,
                "            request_id = self.request(body)\n",
                "            request_id = self.request(body)\n"
                "            render = self.deps.submissions.mark_submitting(render, self.deps.clock.now())\n",
            ),
        ),
    ),
    Mutant(
        "a problem that is told for each part that comes to it",
        (
            in_layer(
                "renders/claims",
                'hashlib.sha256("\\0".join((pair.prefix, cause, error["message"])).encode())',
                'hashlib.sha256("\\0".join((pair.prefix, str(pair.drop_id))).encode())',
            ),
        ),
        ("a request with a mistake comes before its images",),
    ),
    Mutant(
        "a render that does not depend on its images",
        (in_layer("drops/pairs", "request.render_id(prefix, one, two,", 'request.render_id(prefix, "", "",'),),
        ("changed meanwhile",),
    ),
    Mutant(
        "an ETag that is taken for the content",
        (in_layer("drops/pairs", 'return image.get("sha256") or image.get("etag")', 'return image.get("etag")'),),
        ("the same photograph again, in parts",),
    ),
    Mutant(
        "an older drop that speaks again",
        (
            in_layer("renders/claims", '"#current_count < :drop"]', '"attribute_exists(#pk)"]'),
            in_layer("renders/claims", 'f"#drops = :drop AND {one}" for one in allowed', "allowed"),
        ),
        ("changed as the picture comes", "changed meanwhile"),
        kinds=("stall",),
    ),
    Mutant(
        "a render that has failed is not tried again",
        (
            in_layer(
                "renders/claims",
                'again = render["status"] == Status.FAILED or (',
                "again = (",
            ),
        ),
        ("dropped again after it failed",),
    ),
    Mutant(
        "a render that has failed is tried again by a message that comes again",
        (in_layer("renders/claims", "if not again or pair.drop_id <= drop_number(render):", "if not again:"),),
        ("refused",),
        ("again",),
    ),
    Mutant(
        "a message that comes again decides anew",
        (
            in_layer(
                "renders/claims",
                '    if not anew:\n        allowed.append("#current_count = :drop AND #current = :id")',
                '    allowed.append("#current_count = :drop")',
            ),
        ),
        ("a named image is replaced before a message comes a second time",),
    ),
)
