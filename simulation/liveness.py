"""That nothing stands still: what is broken of these promises is stuck, while what is broken of the others is wrong."""

from __future__ import annotations

from kontext.throttle.line import why_parked
from kontext.throttle.shared_state import state_in
from simulation.evidence import ENDED, Broken, Evidence, Promise
from simulation.oracle import dropped, prefixes
from simulation.outside import ASIDE_SECONDS
from simulation.scheduler import BEGINNING
from simulation.waits import Waits


def nothing_stands_still(seen: Evidence) -> Broken:
    """2. Whatever was lost on the way, every complete pair comes to its end, and what was parked resumes."""
    for prefix in prefixes(seen.world):
        allowed: set[str | None] = {*seen.ends.get(prefix, ())} or {dropped(seen.world, prefix).end}
        end = seen.end(prefix)
        if end.partition(" ")[0] not in ENDED and end not in allowed and None not in allowed:
            yield f"{prefix} is {end} for ever, not {' or '.join(sorted(map(str, allowed)))}"
    for render in seen.all_renders:
        if render["status"] not in ENDED:
            parked = why_parked(render, state_in(seen.world.table)) or {}
            yield f"{render['prefix']} stays {render['status']} {parked.get('reason', '')} for ever"
    if seen.world.problem:
        yield seen.world.problem


_SWEEPS_SECONDS = 420.0
"""Sweep comes once a minute, may come late or not at all, and what it sends may be lost."""


def nobody_waits_without_a_reason(seen: Evidence) -> Broken:
    """2. While the account is in order and nothing is away, no pair waits for minutes, or as long as its story says."""
    waits = Waits(seen)
    for render in seen.all_renders:
        patience = max(seen.patience, ASIDE_SECONDS + _SWEEPS_SECONDS if seen.stepped_aside(render) else 0.0)
        for earlier, later in waits.of(render):
            if later - earlier > patience and earlier >= seen.outside.well_since:
                when = f"from {earlier - BEGINNING:.0f} s to {later - BEGINNING:.0f} s"
                yield f"{render['prefix']}: nothing happened {when}"


LIVENESS: tuple[Promise, ...] = (nothing_stands_still, nobody_waits_without_a_reason)
