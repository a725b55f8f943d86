"""Right before a render is paid that has waited: what was dropped may have been replaced meanwhile, or taken back."""

import math
from dataclasses import replace
from datetime import datetime

from kontext import text
from kontext.connections import Connections
from kontext.drops import pairs
from kontext.log import logger
from kontext.model import ErrorCode, Render, RenderInput
from kontext.pipeline.ends import Ends
from kontext.pipeline.reading import PairReader
from kontext.renders.claims import inputs_of
from kontext.renders.record import render_of

TAKEN_BACK: tuple[ErrorCode, ...] = ("cancelled", "inputs_expired")
"""The codes with which a render ends because something of its pair is gone, or a person said so: it was not sent."""


class LastLook:
    """Looks whether a pair still asks for a render."""

    def __init__(self, deps: Connections) -> None:
        self.deps = deps
        self.ends = Ends(deps)
        self.reader = PairReader(deps)

    def confirm(self, render: Render, pair: pairs.Pair) -> Render | None:
        """The render, with the versions that are there now, if the pair still asks for it; else it ends unpaid."""
        if not pair.asks_for(render["render_id"]):
            self.supersede(render)
            return None
        pair = self.reader.read(pair)
        # What was claimed with a default stays what it was: a changed default makes no drop another one.
        defaults = replace(self.deps.defaults, prompt=render["parameters"]["prompt"])
        decision = self.reader.decide(pair, defaults, math.inf)
        if isinstance(decision, pairs.Incomplete):
            if decision.wanted:  # whoever brings back what a request names does not know of the pair
                self.reconsider(pair)
            self.take_back(render, pair)
            return None
        if isinstance(decision, pairs.Ready) and self.deps.claims.name(pair, decision) == render["render_id"]:
            return render_of({**render, "inputs": inputs_of(decision)})
        if isinstance(decision, pairs.Ready) and self.has_lost_its_prompt(render, pair, decision):
            self.ends.fail(render, "cancelled", "its prompt was taken back before the request was sent")
            return None
        logger.info("what was dropped is another one now: the pair is claimed anew")
        self.reconsider(pair)
        self.supersede(render)
        return None

    def reconsider(self, pair: pairs.Pair) -> None:
        """What was dropped has become another drop: Sweep lets somebody look what it asks for. A hint that did would
        lead to a permit, and that to a hint: without end where all in line name an image that changes again and again.
        """
        self.deps.drops.change(pair, self.deps.clock.now())

    def supersede(self, render: Render) -> None:
        """End a render whose pair asks for another one."""
        self.ends.fail(render, "superseded", "a newer drop has replaced this one before it was sent")

    def take_back(self, render: Render, pair: pairs.Pair) -> None:
        """End a render whose pair is not whole any more."""
        gone = [image for image in render["inputs"] if "key" in image and not self.deps.inputs.newest(image["key"])]
        named = ", ".join(text.escape_line(image["key"]) for image in gone)
        if gone and all(self.has_expired(image, pair) for image in gone):
            self.ends.fail(render, "inputs_expired", f"the retention rule took {named} before the request was sent")
        elif gone:
            self.ends.fail(render, "cancelled", f"{named} was taken back before the request was sent")
        else:
            self.ends.fail(render, "cancelled", "the pair was changed before it was sent, and is not whole any more")

    def has_lost_its_prompt(self, render: Render, pair: pairs.Pair, decision: pairs.Ready) -> bool:
        """Whether the prompt of a waiting pair was taken away: nobody has asked for the default one in its place."""
        had_its_own = render["parameters"]["prompt"] != self.deps.defaults.prompt
        since = datetime.fromisoformat(render["created_at"]).timestamp()
        return had_its_own and "prompt" not in decision.asked and pair.removed_at > since

    def has_expired(self, image: RenderInput, pair: pairs.Pair) -> bool:
        """Whether an image was taken by the retention rule, and not by a person."""
        return pairs.version_of(image) in pair.expired or self.deps.reads.has_expired(image["key"])
