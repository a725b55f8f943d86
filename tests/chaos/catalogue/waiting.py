"""Deliberate mistakes about those who wait."""

from __future__ import annotations

from tests.chaos.catalogue.places import ADVANCE, HEAD, INTAKE, KONTEXT, in_layer
from tests.chaos.mutants import Mutant

WAITING = (
    Mutant(
        "a claim whose lease nobody looks at again",
        (
            in_layer(
                "due",
                'return Due(TIMER, float(render["lease_until"]) + LEASE_GRACE_SECONDS)',
                "return None",
            ),
        ),
        ("pair", "told twice"),
    ),
    Mutant(
        "nobody hands out permits",
        (
            in_layer(
                "throttle/line",
                "hints.send_permits(throttle.see_line(now, waiting), now)",
                "throttle.see_line(now, waiting)",
            ),
        ),
        ("the queue is purged while pairs are in line", "in line"),
    ),
    Mutant(
        "a refused render that loses its place",
        (in_layer("pipeline/requeue", "line_at = place or self.deps.line.place", "line_at = self.deps.line.place"),),
        ("credits run out while a folder is in line",),
    ),
    Mutant(
        "a line in which a folder's flood goes first",
        (in_layer("drops/pairs", "keys.first_folder_of(prefix)[:-1]", "0"),),
        ("a pair comes behind another folder's flood",),
    ),
    Mutant(
        "a pair that is claimed as it was told, and not as it lies in the bucket",
        ((ADVANCE, "pair = self.reader.read(pair)", "pass"),),
        ("one sync of four files, an image last, and the message of the request is late",),
    ),
    Mutant(
        "an image that was replaced, and whose other half is not waited for",
        (in_layer("drops/pairs", "return is_own == [True]", "return False"),),
        ("both images are exchanged",),
    ),
    Mutant(
        "a pair that settles, and that only a sweep looks at again",
        ((ADVANCE, "self.deps.hints.send_due(pairs.pair_key(pair.prefix), until - now)", "pass"),),
        ("no prompt",),
    ),
    Mutant(
        "a pair that settles, and that no sweep finds",
        ((ADVANCE, "if self.deps.drops.settle(pair.prefix, until):", "if True:"),),
        ("the queue is purged while a pair waits for a prompt",),
    ),
    Mutant(
        "a render in line that is sent though it was replaced",
        (
            (
                HEAD,
                "if asked := self.last_look.confirm(render, pair):\n            body",
                "if asked := render:\n            body",
            ),
        ),
        ("a pair is changed long before the credits come",),
    ),
    Mutant(
        "hints and permits that lead to one another",
        (
            (
                f"{KONTEXT}/pipeline/last_look.py",
                "self.deps.drops.change(pair, self.deps.clock.now())",
                "self.deps.drops.change(pair, self.deps.clock.now())\n"
                "        self.deps.hints.send_due(pairs.pair_key(pair.prefix))",
            ),
        ),
        ("an image that all in line name is replaced again and again",),
    ),
    Mutant(
        "a removal that nobody hears of",
        ((INTAKE, "if event.removed:", "if False:"),),
        ("a wrong request is deleted",),
    ),
    Mutant(
        "what was taken back, and is paid all the same",
        ((f"{KONTEXT}/pipeline/last_look.py", "if isinstance(decision, pairs.Incomplete):", "if False:"),),
        ("a whole pair is deleted while it waits for credits",),
    ),
)
