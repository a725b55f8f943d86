"""Short stories, each about one thing that can happen; the explorer lets go wrong in them whatever can."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from simulation.actions import Drop, Secret, account, image, request, vendor
from simulation.decisions import Decide, PauseOrResume
from simulation.fault_injection import Fault
from simulation.schedule import Action
from simulation.stories.story import (
    AFTER_LOST_ANSWERS,
    MIDNIGHT,
    OTHER_KEY,
    TAJ,
    Story,
    many,
    named,
    pair,
    story,
)
from simulation.vendor import OTHERWISE

DAY = 86_400.0
_OTHERWISE = f"both at the Taj {OTHERWISE}"


def elsewhere() -> list[tuple[float, Action]]:
    """The vendor names a host that pictures must not come from."""
    return [(0.0, vendor(output_url="https://elsewhere.example/picture.png", times=None))]


def trouble_with_polls() -> list[tuple[float, Action]]:
    """The vendor answers polls in every wrong way."""
    answers: list[dict[str, Any]] = [
        {"status": 500, "body": {"error": "oh"}},
        {"status": 401, "body": {"error": "who?"}},
        {"status": 200, "text": "<html>"},
        {"status": 429, "body": {"error": "slow"}},
        {"status": 404, "body": {"error": "not found"}},
        {"drop": True},
        {"status": 200, "body": {"status": "DREAMING"}},
    ]
    rules = [vendor(on="status", nth=2 + n, **answer) for n, answer in enumerate(answers)]
    backwards = vendor(on="result", patch={"status": "PROCESSING"})
    return [(0.0, rule) for rule in (*rules, backwards)]


def prompt_file(text: str) -> Drop:
    return Drop("taj/prompt.txt", text.encode())


USUAL: tuple[Story, ...] = (
    story("pair", *pair()),
    story("no prompt", *pair()[:2]),
    story("a prompt at the last moment", *pair()[:2], (19.2, prompt_file("at the last moment"))),
    story("told twice", *[(at, replace(drop, notices=2)) for at, drop in pair()]),
    story("dropped again", *pair(), *pair(at=200.0)),
    story("dropped again meanwhile", *pair(), *pair(at=10.0)),
    story("changed meanwhile", *pair(), (10.0, image("taj/2.png", "another"))),
    story("changed at once", *pair(), (0.3, request(TAJ, prompt="another"))),
    story("changed and changed back", *pair(), (100.0, request(TAJ, prompt="b")), (200.0, pair()[2][1])),
    story("changed as the picture comes", *pair(), (30.0, image("taj/2.png", "another"))),
    story("another prompt as the picture comes", *pair(), (24.55, request(TAJ, prompt="another"))),
    story("changed in form as the picture comes", *pair(), (24.55, request(TAJ, prompt="both", output_format="jpg"))),
    story("made in the other format", *pair(prompt=_OTHERWISE)),
    story(
        "made in the other format, and then in the one that was asked for", *pair(prompt=_OTHERWISE), *pair(at=100.0)
    ),
    story("made in the other format, and overtaken as it comes", *pair(prompt=_OTHERWISE), (24.55, pair()[2][1])),
    story(
        "changed in form, and back as the picture comes",
        *pair()[:2],
        (0.2, request(TAJ, prompt="both", output_format="jpg")),
        (100.0, request(TAJ, prompt="both")),
        (128.79, request(TAJ, prompt="another", output_format="jpg")),
    ),
    story(
        "changed in form, and back as the picture has come",
        *pair(),
        (60.0, request(TAJ, prompt="both at the Taj", output_format="jpg")),
        (90.0, pair()[2][1]),
    ),
    story("changed in form", *pair(), (100.0, request(TAJ, prompt="both", output_format="jpg"))),
    story("changed and changed back at once", *pair(), (5.0, image("taj/2.png", "b")), (9.0, image("taj/2.png"))),
    story(
        "five pairs come while there are no credits",
        *many(5, every=2.0),
        (40.0, account(credits=10.0)),
        account={"credits": 0.01},
    ),
    story(
        "a pair is changed long before the credits come",
        *pair(),
        (8.0, request(TAJ, prompt="another")),
        (140.0, account(credits=10.0)),
        account={"credits": 0.01},
    ),
    story(
        "newcomers while others are in line",
        *many(6, every=0.3),
        *pair("new/", at=88.0, prompt="new"),
        parameters={"RequestsPerMinute": "2"},
        patience=65.0,
    ),
    story(
        "the request is lost, and the operator gives it up",
        (0.0, vendor(drop=True)),
        *pair(),
        (100.0, Decide(TAJ, "give-up")),
        end="FAILED given_up",
    ),
    story("the job fails", (0.0, vendor(fail="blocked", times=None)), *pair(), end="FAILED render_failed"),
    story("dropped again after it failed", (0.0, vendor(fail="blocked")), *pair(), (1000.0, pair()[1][1])),
    story("refused", (0.0, vendor(status=400, body={"error": "no"}, times=None)), *pair(), end="FAILED refused"),
    story("a wrong request, corrected", *pair()[:2], (0.2, request(TAJ, prompt=7)), (100.0, request(TAJ, prompt="x"))),
    story(
        "a wrong request that is told last",
        *pair(),
        (100.0, request(TAJ, prompt=7)),
        (110.0, pair()[1][1]),
        faults=(Fault(4, "late"),),
        end="FAILED invalid_request",
    ),
    story(
        "wrong, corrected, and wrong again",
        *pair()[:2],
        (0.2, request(TAJ, prompt=7)),
        (5.0, request(TAJ, prompt="x")),
        (45.0, request(TAJ, prompt=8)),
        end="FAILED invalid_request",
    ),
    story("a prompt changed as it is looked for", *pair()[:2], (19.5, prompt_file("a")), (20.26, prompt_file("b"))),
    *(
        story(name, (0.0, replace(whole, content=content)), *pair()[1:], end="FAILED invalid_image")
        for whole in [image("taj/1.png")]
        for name, content in (
            ("a photograph has a web page behind it", whole.content + b"<html><script>alert(1)</script>"),
            ("a photograph is cut off", whole.content[:-20]),
        )
    ),
    story("a wrong image", *pair(), (100.0, Drop("taj/1.png", b"text")), end="FAILED invalid_image"),
    story("429", (0.0, vendor(status=429, body={"error": "slow"}, times=2)), *pair(), provokes_429=True, patience=65.0),
    story("no credits", *pair(), (17.0, account(credits=10.0)), account={"credits": 0.01}),
    story(
        "changed while parked",
        *pair(),
        (8.0, request(TAJ, prompt="another")),
        (12.0, account(credits=10.0)),
        account={"credits": 0.01},
        patience=65.0,
    ),
    story("wrong key", *pair(), (13.0, Secret(OTHER_KEY)), account={"keys": (OTHER_KEY,)}, patience=65.0),
    story("key replaced meanwhile", *pair(), (10.0, account(keys=(OTHER_KEY,))), (60.0, Secret(OTHER_KEY))),
    story("outage", (0.0, vendor(status=503, body={"error": "down"}, times=3)), *pair(), patience=AFTER_LOST_ANSWERS),
    story("server errors", (0.0, vendor(status=500, body={"error": "oh"}, times=2)), *pair(), patience=65.0),
    story(
        "nothing but server errors to one request, while others are taken",
        (0.0, vendor(status=500, body={"error": "oh"}, prompt="both at the Taj", times=None)),
        *pair(),
        *pair("other/", at=600.0, prompt="both elsewhere"),
        ends={TAJ: {"FAILED server_error"}},
        patience=AFTER_LOST_ANSWERS,
    ),
    story(
        "server errors to the only request there is, for ever",
        (0.0, vendor(status=500, body={"error": "oh"}, times=None)),
        *pair(),
        end="FAILED server_error",
        patience=AFTER_LOST_ANSWERS,
        rests_within=4 * 86_400.0,
    ),
    story(
        "server errors to the only request there is, for two hours",
        (0.0, vendor(status=500, body={"error": "oh"}, times=5)),
        *pair(),
        patience=AFTER_LOST_ANSWERS,
    ),
    story("in line", *many(3, every=0.3), parameters={"RequestsPerMinute": "2"}, patience=65.0),
    story(
        "spend limit until midnight",
        *many(2, at=MIDNIGHT - 20, every=1.0),
        parameters={"DailySpendLimit": "0.05"},
        patience=65.0,
    ),
    story("a named image", (0.0, image("shared/a.png")), *named()),
    story("a named image comes last", *named(), (30.0, image("shared/a.png"))),
    story("a named image under a name of no part", *named("any.png"), (5.0, image("taj/any.png"))),
    story("a name of no part is explained later", (0.0, image("taj/any.png")), *named("any.png", at=5.0)),
    story(
        "two pairs wait for one image",
        *named(),
        *named(prefix="fort/"),
        (5.0, image("shared/a.png")),
    ),
    story("the picture is late", (0.0, vendor(on="output", status=503, times=3)), *pair()),
    story(
        "the picture cannot be fetched",
        *elsewhere(),
        *pair(),
        end="FAILED delivery",
        patience=8 * DAY,
        rests_within=8 * DAY,
    ),
    story(
        "delivered by another drop",
        (0.0, vendor(on="output", status=503, times=9)),
        *pair(),
        (2000.0, pair()[1][1]),
        patience=600.0,
    ),
    story("the answer is lost", (0.0, vendor(drop=True, accept=True, times=None)), *pair(), end="UNCERTAIN"),
    story("the request is lost", (0.0, vendor(drop=True, times=None)), *pair(), end="UNCERTAIN"),
    *(
        story(
            f"the answer is lost, and the operator says: {what}",
            (0.0, vendor(drop=True, accept=True)),
            *pair(),
            (100.0, Decide(TAJ, what)),
            (700.0, Decide(TAJ, what)),
            end="FAILED given_up" if what == "give-up" else None,
        )
        for what in ("resubmit", "request-id", "give-up")
    ),
    story(
        "the answer is lost, and the operator says one thing and then another",
        (0.0, vendor(drop=True, accept=True)),
        *pair(),
        (50.0, PauseOrResume("pause")),
        (100.0, Decide(TAJ, "resubmit")),
        (200.0, Decide(TAJ, "request-id")),
        (2000.0, PauseOrResume("resume")),
    ),
    story(
        "delivered by the operator",
        (0.0, vendor(on="output", status=503, times=9)),
        *pair(),
        (2000.0, Decide(TAJ, "redeliver")),
        patience=600.0,
    ),
    story("slow", (0.0, vendor(inference=3000.0)), *pair()),
    story(
        "slower than the record's life",
        (0.0, vendor(inference=4000.0, times=None)),
        *pair(),
        end="FAILED expired",
    ),
    story("trouble with polls", *trouble_with_polls(), *pair(), provokes_429=True, patience=200.0),
    story("a large picture", (0.0, vendor(output_bytes=11_000_000)), *pair()),
)
