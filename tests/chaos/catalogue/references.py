"""Deliberate mistakes about the objects that a request names, and what was dropped."""

from __future__ import annotations

from tests.chaos.catalogue.places import ADVANCE, INTAKE, in_layer
from tests.chaos.mutants import Mutant

REFERENCES = (
    Mutant(
        "a request may name everybody's objects",
        (in_layer("drops/references", "if EVERYTHING in self.shared or", "if True or"),),
        ("a request names an image of another's folder",),
    ),
    Mutant(
        "a first folder is taken for every folder that begins like it",
        (in_layer("drops/references", "own = keys.first_folder_of(prefix)", 'own = prefix.partition("/")[0]'),),
        ("a request names an image of a folder whose name begins with that of its own",),
    ),
    Mutant(
        "a deployment refuses what waits already",
        (
            in_layer(
                "pipeline/reading",
                "            named = {key:",
                '            asked = pair.parts.get("request", {}).get("parameters", {})\n'
                "            self.deps.inputs.references.check(pair.prefix, asked)\n"
                "            named = {key:",
            ),
        ),
        ("nothing is shared any more while a pair waits for the image that its request names",),
    ),
    Mutant(
        "nobody notes who waits for an object",
        ((ADVANCE, "self.deps.waiters.add(key, pair.prefix, etag, now, is_named=is_named)", "pass"),),
        ("a named image comes last",),
    ),
    Mutant(
        "an object that comes while its pair is noted is not seen",
        ((ADVANCE, "if there != wanted:", "if False:"),),
        ("a named image comes last",),
        ("stall",),
    ),
    Mutant(
        "one of all those who wait is woken",
        (
            in_layer("pipeline/waking", "for waiter in waiting:", "for waiter in waiting[:1]:"),
            in_layer("drops/waiters", "if next(self.to_wake(key), None) is None:", "if True:"),
        ),
        ("two pairs wait for one image",),
    ),
    Mutant(
        "whoever waits is forgotten before he goes on",
        (
            in_layer(
                "pipeline/waking",
                "            if pair := self.pair_of(waiter, is_gone=is_gone):\n",
                "            self.deps.waiters.remove(key, waiter)\n"
                "            if pair := self.pair_of(waiter, is_gone=is_gone):\n",
            ),
        ),
        ("a named image comes last",),
        ("crash before", "crash after"),
    ),
    Mutant(
        "a crowd is woken within one message",
        (
            in_layer("drops/waiters", "PAGE = 10", "PAGE = 100_000"),
            in_layer("pipeline/waking", "PAGE = 10.0, 15.0", "PAGE = 10_000.0, 15_000.0"),
            in_layer("pipeline/waking", "PAIR = 70.0", "PAIR = -1.0"),
        ),
        ("a thousand requests wait for one photograph",),
    ),
    Mutant(
        "who begins to wait anew is struck off",
        (in_layer("drops/waiters", '"#seen = :seen", seen=waiter.seen)', '"attribute_exists(#pk)")'),),
        ("a named image comes, is no picture, and is replaced",),
    ),
    Mutant(
        "a name without a slash that begins at the root",
        (in_layer("drops/keys", "folder_of(prefix) + name", "name"),),
        ("a named image under a name of no part",),
    ),
    Mutant(
        "the default prompt is paid though one lies beside the pair",
        ((ADVANCE, "self.near_misses.prompt_beside(pair) or complete", "complete"),),
        ("a request lies beside a pair with a word before it",),
    ),
    Mutant(
        "what was in a pair's way keeps it waiting though it is deleted",
        ((INTAKE, "        elif not expired:\n", "        elif False:\n"),),
        ("a prompt that is named like a copy is deleted",),
    ),
    Mutant(
        "a text stays in others' way though its own pair has begun",
        ((INTAKE, "sorted({key, *texts})", "[key]"),),
        ("a request with a slash too many gets an image of its own",),
    ),
    Mutant(
        "what systems leave lying taken for drops",
        (
            (INTAKE, "keys.is_litter(key, event.size):", "False:"),
            in_layer("drops/keys", "if match is None or is_litter(key):", "if match is None:"),
        ),
        ("files of the operating system lie beside a pair",),
    ),
    Mutant(
        "an object that comes back wakes nobody",
        (
            (
                INTAKE,
                "        elif is_there:\n            self.on_loose_object(key)\n",
                "        elif is_there:\n            pass\n",
            ),
        ),
        ("a named image is hidden, and restored",),
    ),
    Mutant(
        "a pair that was taken back is never rendered",
        ((ADVANCE, 'get("code") in TAKEN_BACK', 'get("code") is TAKEN_BACK'),),
        ("a pair that was taken back while it waited is restored",),
    ),
    Mutant(
        "nobody is told of an image that is named in other letters",
        ((ADVANCE, "or self.near_misses.named_beside(wanted):", "or None:"),),
        ("an image comes under a name that only looks like the one that a request names",),
    ),
    Mutant(
        "an image is not seen under another extension",
        (in_layer("pipeline/reading", "else self.find_another(left, slot)", "else left"),),
        ("an image comes under another extension, and that one is taken away",),
    ),
    Mutant(
        "a drop in SNS's envelope taken for none",
        (in_layer("drops/messages", "return _json_object(inner)", "return content"),),
        ("drops that SNS has wrapped",),
    ),
    Mutant(
        "an object that is called unknown though a request names it",
        (
            (
                ADVANCE,
                "keys.parse(key) and self.deps.loose.mark_referenced(key):",
                "keys.parse(key) and self.deps.loose.mark_referenced(key) and False:",
            ),
        ),
        ("a name of no part is explained later",),
    ),
)
