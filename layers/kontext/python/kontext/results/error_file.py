"""`error.json`: what is wrong, for the one who dropped, under the pair's own name; and that it goes when it is not true
any more.

Whoever writes or removes it looks at the file first, and at the record then: what comes late touches nothing newer.
"""

from contextlib import suppress
from typing import TYPE_CHECKING

from kontext import text
from kontext.drops import keys
from kontext.model import Render
from kontext.renders.claims import drop_number
from kontext.results.output_bucket import Overtaken

if TYPE_CHECKING:
    from kontext.drops.pairs import Pair
    from kontext.drops.store import Drops
    from kontext.renders.store import Renders
    from kontext.results.output_bucket import OutputBucket

TRIES = 3
"""How often the file is written if somebody else writes it at the same moment."""


def write(render: Render, drops: "Drops", outputs: "OutputBucket", renders: "Renders") -> None:
    """Write `error.json` for a render without a picture, if it speaks for its pair. Can be repeated.

    Raises Overtaken if others wrote the file each time: whoever tells an end does so again.
    """
    if "error" not in render:
        return
    key = keys.error_key(render["prefix"])
    for _ in range(TRIES):
        with suppress(Overtaken):
            condition = outputs.write_precondition(key)
            if _speaks_for_its_pair(render, drops, renders):
                outputs.put_json(key, content(render), _signature(render), condition)
            return
    raise Overtaken(f"{key} is written by others again and again")


def take_back(render: Render, drops: "Drops", outputs: "OutputBucket", renders: "Renders") -> None:
    """Remove what was written late, where the pair has gone on: its newer end had found no file to remove."""
    if "error" in render and not _speaks_for_its_pair(render, drops, renders):
        outputs.remove_if_ours(keys.error_key(render["prefix"]), _signature(render))


def remove(pair: "Pair", drops: "Drops", outputs: "OutputBucket") -> None:
    """Remove what tells that a pair is wrong, which is not so any more. What is wrong with a later drop stays told."""
    key = keys.error_key(pair.prefix)
    condition = outputs.write_precondition(key)
    known = drops.get(pair.prefix)
    if known is not None and known.rejected_drop == pair.rejected_drop:
        outputs.remove(key, condition)


def content(render: Render) -> bytes:
    """`error.json`: what happened, whether anything was charged, and what to do, for the one who dropped the
    pair."""
    said = {
        **render["error"],
        "pair": render["prefix"],
        "render_id": render["render_id"],
        "request_id": render.get("request_id"),
        "at": render["updated_at"],
    }
    return text.dumps(said, indent=2).encode()


def _signature(render: Render) -> dict[str, str]:
    return {"render-id": render["render_id"], "attempt": str(render["attempt"])}


def _speaks_for_its_pair(render: Render, drops: "Drops", renders: "Renders") -> bool:
    pair = drops.get(render["prefix"])
    now = renders.get(render["prefix"], render["render_id"])  # read last: a drop of the same mistake renews it
    if pair is None or now is None or "error" not in now or now["error"]["code"] == "superseded":
        return False
    if pair.rejected_drop > pair.current_drop:
        return drop_number(now) >= pair.rejected_drop
    return now["render_id"] == pair.current
