"""Everything is lost at one moment: all processes, all messages of our own, all executions. Who waits must go on."""

from __future__ import annotations

from typing import Any

from simulation.actions import LoseEverything, image, request, vendor
from simulation.decisions import PauseOrResume
from simulation.fault_injection import EVERYTHING_LOST, Fault
from simulation.schedule import Action
from simulation.stories.story import TAJ, Story, many, named, pair, story

LOSE = LoseEverything()


def lost(when: str, at: float, *steps: tuple[float, Action], **said: Any) -> Story:
    return story(f"everything is lost {when}", *steps, (at, LOSE), **said)


def lost_at(what: str, call: str, number: int = 0) -> Story:
    """At a call of a pair that one of our own messages has brought back: its effect was the last of its process."""
    return story(
        f"everything is lost as {what}",
        *pair()[:2],
        faults=(Fault(number, EVERYTHING_LOST, call),),
    )


LOSING: tuple[Story, ...] = (
    lost("while a pair waits for a prompt", 10.0, *pair()[:2]),
    lost("while a request waits for a named image", 10.0, *named(), (20.0, image("shared/a.png"))),
    lost("while half a pair is there", 10.0, *pair()[:1], (20.0, pair()[1][1])),
    lost(
        "while six pairs are in line",
        5.0,
        *many(6, every=0.1),
        parameters={"RequestsPerMinute": "2"},
    ),
    lost("while three pairs wait for credits", 60.0, *many(3, every=0.0), account={"credits": 0.01}, window=0.3),
    lost("while the operator has paused", 60.0, (0.0, PauseOrResume("pause")), *pair(at=1.0)),
    lost("while the vendor is down", 60.0, (0.0, vendor(status=503, body={"error": "down"}, times=None)), *pair()),
    lost(
        "before midnight, at the spend limit",
        57_590.0,
        *many(2, at=57_500.0, every=1.0),
        parameters={"DailySpendLimit": "0.05"},
    ),
    lost("while a job is at the vendor", 10.0, *pair()),
    lost("while a slow job is at the vendor", 2000.0, (0.0, vendor(inference=3000.0)), *pair()),
    lost("while the picture is late", 40.0, (0.0, vendor(on="output", status=503, times=None)), *pair()),
    lost("after a pair was delivered", 100.0, *pair()),
    lost("between two drops of a pair", 10.0, *pair(), (20.0, request(TAJ, prompt="another"))),
    lost_at("a pair is claimed", "submit transact_write_items"),
    lost_at("a request is about to be sent", "submit transact_write_items", 1),
    lost_at("a request is sent", "POST"),
    lost_at("a job is recorded", "submit update_item", 3),
    lost_at("a workflow starts", "start_execution"),
    lost_at("a job is seen to be done", "poll transact_write_items"),
    lost_at("a picture is copied", "put_object"),
    lost_at("a pair is delivered", "finalize transact_write_items"),
)
