"""The queue: many at once, purges, dead letters and their redrive, messages that kill whoever reads them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from simulation.actions import Away, Deadly, Drop, Queue, Send, account, image, request
from simulation.decisions import Replay
from simulation.fault_injection import Fault
from simulation.schedule import Action
from simulation.stories.story import TAJ, Story, many, named, pair, story

Steps = list[tuple[float, Action]]
PURGE, REDRIVE = Queue("purge"), Queue("redrive")
TOLD_AGAIN = (1500.0, Replay())
"""What S3 told, and nobody had read before the queue was purged, is known to the bucket alone."""


def told(steps: list[tuple[float, Drop]], times: int) -> Steps:
    """The same drops, each told so many times."""
    return [(at, replace(drop, notices=times)) for at, drop in steps]


def at_once(count: int = 9) -> Steps:
    """Pairs whose last parts come at once."""
    first: Steps = [(0.0, image(f"p{n}/1.png")) for n in range(count)]
    return [*first, *((10.0, image(f"p{n}/2.png", prompt=f"both of {n}")) for n in range(count))]


def unheard(name: str, *steps: tuple[float, Action]) -> Story:
    """For a while Lambda has no room; then the queue is purged, and the bucket replayed twice."""
    later = [(at + 100.0, action) for at, action in steps]
    asked: Steps = [(150.0, PURGE), (600.0, Replay()), (700.0, Replay())]
    return story(name, *later, (101.0, Away(("lambda",), 5.0)), *asked)


def mended(key: str) -> Steps:
    """A request names what is no picture; then a picture takes its place."""
    return [(-100.0, Drop(key, b"text")), *named(f"/{key}", at=-99.0), (5.0, image(key))]


PURGES = (
    story("the queue is purged while a job is at the vendor", *pair(), (10.0, PURGE), TOLD_AGAIN),
    story("the queue is purged while a request is on its way", *pair(), (0.45, PURGE), TOLD_AGAIN),
    *(
        story(
            f"a function dies right after {what}, and the queue is purged",
            *pair(),
            (10.0, PURGE),
            TOLD_AGAIN,
            faults=(fault,),
        )
        for what, fault in (
            ("it has claimed a pair", Fault(0, "crash after", "submit transact_write_items")),
            ("it has sent a request", Fault(0, "crash after", "POST")),
            ("the job was recorded", Fault(0, "crash before", "start_execution")),
        )
    ),
    story("the queue is purged while a pair waits for a prompt", *pair()[:2], (10.0, PURGE), TOLD_AGAIN),
    story(
        "the queue is purged while pairs are in line",
        *many(4, every=0.1),
        (5.0, PURGE),
        TOLD_AGAIN,
        parameters={"RequestsPerMinute": "2"},
    ),
    story(
        "the queue is purged while all wait for credits, and one is dropped again a day later",
        *many(2, every=0.0),
        (20.0, PURGE),
        (60.0, account(credits=10.0)),
        TOLD_AGAIN,
        *many(1, at=86_400.0, every=0.0),
        account={"credits": 0.01},
        window=0.3,
    ),
    story(
        "the queue is purged before midnight, at the spend limit",
        *many(2, at=57_500.0, every=1.0),
        (57_590.0, PURGE),
        (59_100.0, Replay()),
        parameters={"DailySpendLimit": "0.05"},
    ),
)
REPLAYS = (
    unheard("the queue is purged with drops in it, and they are replayed", *pair(at=2.0)),
    unheard("a changed drop is purged, and replayed", *pair(at=-100.0), (5.0, request(TAJ, prompt="another"))),
    unheard("a named image is purged, and replayed", *named(at=-100.0), (5.0, image("shared/a.png"))),
    unheard("a named image that replaces a wrong one is purged, and replayed", *mended("shared/a.png")),
    unheard("another pair's image that is named is purged, and replayed", *mended("taj/fort/2.png")),
    unheard("nothing is purged but what is known, and it is replayed", *pair(at=-100.0)),
    story(
        "a function dies that has recorded the last part, the queue is purged, and all is replayed",
        (0.0, image("taj/1.png", prompt="both at the Taj")),
        (0.1, image("taj/2.png")),
        (10.0, PURGE),
        (600.0, Replay()),
        (700.0, Replay()),
        faults=(Fault(1, "crash after", "submit update_item"),),
    ),
    story("all is replayed while it is worked on", *pair(), (0.35, Replay()), (15.0, Replay())),
)
LETTERS = (
    story(
        "a drop is a dead letter after an hour without S3, and is moved back",
        (0.0, Away(("s3",), 60.0)),
        *pair(at=1.0),
        (5000.0, REDRIVE),
        patience=1500.0,
    ),
    story(
        "waiting pairs are dead letters after an hour without the table, and are moved back",
        *many(2, every=0.0),
        (20.0, Away(("dynamodb",), 60.0)),
        (60.0, account(credits=10.0)),
        (5000.0, REDRIVE),
        account={"credits": 0.01},
        window=0.3,
    ),
    story(
        "told twice, dead letters after an hour without S3, and moved back while it is dropped again",
        (0.0, Away(("s3",), 60.0)),
        *told(pair(at=1.0), 2),
        *pair(at=7190.0),
        (7190.3, REDRIVE),
    ),
    story(
        "dead letters of what is changed since are moved back",
        (0.0, Away(("s3",), 60.0)),
        *pair(at=1.0),
        *pair(at=4000.0, prompt="another"),
        (7200.0, REDRIVE),
    ),
    story(
        "an hour without S3, and nobody moves the dead letters back",
        (0.0, Away(("s3",), 60.0)),
        *pair(at=1.0),
    ),
    story(
        "fifty minutes in which Lambda has no room",
        (0.0, Away(("lambda",), 50.0)),
        *pair(at=1.0),
    ),
    story("half an hour in which Lambda has no room", (0.0, Away(("lambda",), 30.0)), *pair(at=1.0)),
)


def in_sns(body: dict[str, Any]) -> dict[str, Any]:
    return {"Type": "Notification", "TopicArn": "arn:aws:sns:eu-west-1:111122223333:drops", "Message": json.dumps(body)}


def by_hand(key: str) -> dict[str, Any]:
    return {"Records": [{"s3": {"bucket": {"name": "InputBucket"}, "object": {"key": key}}}]}


def by_eventbridge(key: str) -> dict[str, Any]:
    detail = {"bucket": {"name": "InputBucket"}, "object": {"key": key, "size": 5, "sequencer": "00FF"}}
    return {"source": "aws.s3", "detail-type": "Object Created", "time": "2027-01-15T08:00:00Z", "detail": detail}


def rewired(name: str, tell: Callable[[str], dict[str, Any]]) -> Story:
    """S3 does not tell the queue itself: somebody else tells of each object."""
    steps: Steps = []
    for at, drop in pair():
        steps += [(at, replace(drop, notices=0)), (at + 0.01, Send(json.dumps(tell(drop.key))))]
    return story(name, *steps)


TOLD = (
    rewired("drops that are told by hand, with bucket and key alone", by_hand),
    rewired("drops that SNS has wrapped", lambda key: in_sns(by_hand(key))),
    rewired("drops that EventBridge tells of", by_eventbridge),
)
TOGETHER = (
    story("nine pairs at once", *at_once(), window=0.3),
    story(
        "nine pairs at once, and a function dies",
        *at_once(),
        window=0.3,
        faults=(Fault(60, "crash after", "submit"),),
    ),
    story("nine pairs at once with a message that nobody can read", *at_once(), (10.0, Send("poison")), window=0.3),
    story(
        "nine pairs at once with an image that is larger than the memory",
        (9.9, Deadly("poison/1.png")),
        (10.0, image("poison/1.png")),
        *at_once(),
        window=0.3,
    ),
    story(
        "old news of a pair comes after new ones",
        *told(pair(), 2),
        (50.0, request(TAJ, prompt="another")),
        (60.0, image("taj/1.png", "another")),
        faults=(Fault(1, "late"), Fault(3, "late"), Fault(5, "late")),
    ),
)
QUEUE: tuple[Story, ...] = (*PURGES, *REPLAYS, *LETTERS, *TOLD, *TOGETHER)
