"""What a vendor answers on a bad day: nothing, too late, something else, or what is in no contract."""

from __future__ import annotations

from typing import Any

from simulation.actions import Secret, WellAgain, vendor
from simulation.schedule import Action
from simulation.scheduler import BEGINNING
from simulation.stories.story import AFTER_LOST_ANSWERS, OTHER_KEY, TAJ, Story, many, pair, story
from simulation.world import KEY

FEW, MANY = tuple(many(3, every=1.0)), tuple(many(30, every=0.2))
ALMOST_DONE = 26
"""Seconds from the beginning to just after the job of a pair is done."""
BETWEEN_TRIES = 4000.0
"""Seconds: so long a picture that could not be copied for an hour may wait for its next try: each doubles the wait."""
ONE_A_MINUTE, THE_LAST_LOOK = 65.0, 3600.0
"""Seconds: how seldom a job is polled whose polls tell nothing, and how old it is at the last one."""
_HOUR = 3600.0
A_WINDOW = 60.0
"""Seconds until a rate limit resets, at most."""
_COUNTED = {"count_gets": True, "workers": 100}
_BOTH_KEYS = {"keys": (KEY, OTHER_KEY), "jobs_per_key": True}
_FAILED = {"status": 422, "body": {"status": "FAILED", "error": "The worker was lost."}}
_LEARNING = "the schedule learns from the numbers that the vendor states, and not from what Poll sees"


def always(**rule: Any) -> tuple[float, Action]:
    """From the beginning the vendor meets all such requests so."""
    return 0.0, vendor(**{"times": None, **rule})


def well(at: float) -> tuple[float, Action]:
    return at, WellAgain()


def expired(times: int | None) -> tuple[float, Action]:
    """So many results name a link at which there is nothing."""
    link = "https://images.segmind.com/output/00000000-0000-4000-8000-000000000000.png"
    return 0.0, vendor(on="result", patch={"output": link, "images": []}, times=times)


def refused_poll(nth: int, reset: int) -> tuple[float, Action]:
    """A 429 to a poll, which says when the limit resets: so many seconds after the beginning."""
    headers = {"x-rate-limit-reset-at-utc": str(int(BEGINNING) + reset)}
    return 0.0, vendor(on="status", nth=nth, status=429, body={"error": "slow"}, headers=headers)


POLLS: tuple[Story, ...] = (
    story(
        "404 for two minutes for jobs that run",
        always(on="status", status=404, body={}),
        *FEW,
        well(150),
    ),
    story(
        "404 for two minutes for the status and the result of jobs that run",
        always(on="status", status=404, body={}),
        always(on="result", status=404, body={}),
        *FEW,
        well(150),
        patience=ONE_A_MINUTE,
    ),
    story(
        "the key is replaced while both are valid, and each sees only its own jobs",
        *pair(),
        (5.0, Secret(OTHER_KEY)),
        account=_BOTH_KEYS,
    ),
    story(
        "the key is replaced in a burst, while both are valid and each sees only its own jobs",
        *pair(),
        (100.0, Secret(OTHER_KEY)),
        *[step for n in range(5) for step in pair(f"p{n}/", at=110.0)],
        account=_BOTH_KEYS,
    ),
    *(
        story(
            f"the status stays {what}, and the result would answer",
            always(on="status", **rule),
            *pair(),
            patience=patience,
        )
        for what, rule, patience in (
            ("bad", {"status": 500, "body": {"error": "oh"}}, None),
            ("unknown", {"status": 404, "body": {"error": "not found"}}, None),
            ("PROCESSING", {"status": 200, "body": {"status": "PROCESSING"}}, THE_LAST_LOOK),
        )
    ),
    story(
        "a gateway answers a poll with a 422 of its own",
        (0.0, vendor(on="status", status=422, body={"detail": [{"msg": "Input should be a valid UUID"}]})),
        *pair(),
    ),
    *(
        story(f"{what}, and the picture is there", always(on="status", **rule), *pair())
        for what, rule in (
            ("one status says FAILED", {"times": 1, **_FAILED}),
            ("the status of a job that is done says FAILED", {"when": "COMPLETED", **_FAILED}),
            ("two statuses say PROCESSING as 422", {"times": 2, "status": 422, "body": {"status": "PROCESSING"}}),
            ("the status says that it is done in another word", {"when": "COMPLETED", "patch": {"status": "DONE"}}),
        )
    ),
    story(
        "a poll is refused for one more second",
        refused_poll(2, ALMOST_DONE),
        *pair(),
        provokes_429=True,
    ),
    story(
        "three polls are refused for some seconds",
        *(refused_poll(nth, ALMOST_DONE + 4) for nth in (1, 2, 3)),
        *pair(),
        provokes_429=True,
    ),
    *(
        story(
            f"status requests count against the rate, and {count} pairs come at once",
            *many(count, every=0.2),
            account=_COUNTED,
            missing="only submits are spaced to the rate, and no status requests",
            large=count > 20,
        )
        for count in (20, 60)
    ),
    story(
        "the job ends half a minute before its record does",
        (0.0, vendor(inference=3570.0)),
        *pair(),
    ),
    story(
        "the vendor says QUEUED until the job is done",
        always(on="status", when="PROCESSING", patch={"status": "QUEUED"}),
        *many(12, every=30.0),
        missing=_LEARNING,
    ),
    story(
        "the vendor always states an inference of one minute",
        always(on="result", patch={"metrics": {"inference_time": 60.0}}),
        *many(30, every=60.0),
        missing=_LEARNING,
    ),
    story(
        "the vendor states no numbers, and jobs are faster than usual",
        always(on="result", without=("metrics",)),
        always(inference=8.0),
        *many(4, every=60.0),
        missing=_LEARNING,
    ),
    story("the result is bad for ten minutes", always(on="result", status=500, body={}), *pair(), well(600)),
    story("polls are refused for ten minutes", always(on="status", status=401, body={}), *pair(), well(600)),
)

RESULTS: tuple[Story, ...] = (
    *(
        Story(
            f"the link to the picture is {what}",
            story("", (0.0, vendor(output_shape=shape)), *pair()).schedule,
            {TAJ: {end}},
            patience=THE_LAST_LOOK if end == "FAILED no_result" else None,
        )
        for what, shape, end in (
            ("deeper than usual", "deep", "DELIVERED"),
            ("followed by a blank", "blank", "DELIVERED"),
            ("relative", "relative", "FAILED no_result"),
            ("not there", "none", "FAILED no_result"),
        )
    ),
    story(
        "of two links the second leads to an allowed host",
        (0.0, vendor(output_shape="several")),
        *pair(),
    ),
    story("the link to the picture has expired, and another one is named when asked", expired(1), *pair()),
    story("an expired link is named for ten minutes", expired(None), *pair(), well(600), patience=300.0),
    story(
        "a page with status 200 stands in for the picture",
        (0.0, vendor(on="output", status=200, text="<html>Just a moment...", times=2)),
        *pair(),
    ),
    *(
        story(
            f"the file host answers {status} for an hour",
            always(on="output", status=status, body={}),
            *pair(),
            well(3600),
            patience=BETWEEN_TRIES,
        )
        for status in (403, 404, 503)
    ),
    story(
        "the picture breaks off for half an hour",
        always(on="output", cut_after=40),
        *pair(),
        well(1800),
        patience=BETWEEN_TRIES,
    ),
    story(
        "the picture breaks off six times", (0.0, vendor(on="output", cut_after=40, times=6)), *pair(), patience=130.0
    ),
)

POSTS: tuple[Story, ...] = (
    *(
        story(
            f"{what}, to 30 requests, {effect}",
            always(**rule, accept=accept),
            *MANY,
            well(600),
            patience=AFTER_LOST_ANSWERS,
        )
        for what, rule in (
            ("504", {"status": 504, "body": {}}),
            ("lost answers", {"drop": True}),
            ("answers that never end", {"hang": 60.0}),
            ("a page with status 200", {"status": 200, "text": "<html>"}),
            ("a redirect", {"status": 302, "text": "<html>"}),
        )
        for effect, accept in (("all taken", True), ("none taken", False))
    ),
    story(
        "504 to 60 pairs for an hour, then 502 for an hour, and every job is taken",
        (0.0, vendor(status=504, body={}, accept=True, times=None)),
        *many(60, every=0.2),
        well(_HOUR),
        (_HOUR, vendor(status=502, body={}, accept=True, times=None)),
        well(2 * _HOUR),
        patience=AFTER_LOST_ANSWERS,
        large=True,
    ),
    story(
        "500 for ten minutes to whatever is asked",
        always(status=500, body={}),
        *FEW,
        well(600),
        patience=AFTER_LOST_ANSWERS,
    ),
    story(
        "the answer to the request is slow",
        always(slow=15.0),
        *pair(),
    ),
    *(
        story(
            f"an answer with the job's id {what}",
            (0.0, vendor(**rule)),
            *pair(),
        )
        for what, rule in (("is no JSON", {"into": "{}<!-- gate 7 -->"}), ("breaks off", {"cut_after": 70}))
    ),
    *(
        story(
            f"{status} to every request, with the id of the job that was taken",
            always(status=status, accept=True, into="<html>Bad gateway {} try again", without=("status",)),
            *FEW,
            well(60),
        )
        for status in (500, 502, 503)
    ),
    *(
        story(
            f"{status} with the id of the job that was taken, and {what}",
            (0.0, vendor(status=status, accept=True, into="<html>Bad gateway {} try again", without=("status",))),
            (0.0, vendor(on="status", status=503, body={}, times=times)),
            *FEW,
            end="DELIVERED",
            patience=200.0,
        )
        for status in (500, 502)
        for what, times in (("the first request for it fails", 1), ("the first four requests for it fail", 4))
    ),
    story(
        "502 with an id that only traces the request, and no job can be asked for in an outage of ten minutes",
        always(status=502, text='{"request_id": "00000000-0000-4000-8000-000000000000"}'),
        always(on="status", status=503, body={}),
        *FEW,
        well(600),
        patience=960.0,
    ),
    story(
        "an answer with the job's id breaks off, and no job is known for two minutes",
        (0.0, vendor(cut_after=70)),
        always(on="status", status=404, body={"error": "not found"}),
        *pair(),
        well(110),
        end="DELIVERED",
        patience=200.0,
    ),
    story(
        "an answer with the id of a job that nobody ever knows",
        (0.0, vendor(status=504, text='{"request_id": "00000000-0000-4000-8000-000000000000"}')),
        *pair(),
        end="UNCERTAIN",
    ),
    *(
        story(
            f"the vendor's clock is two minutes {what}",
            *many(9, every=9.0),
            account={"rate_limit": 5, "rate_window": "fixed"},
            vendor_ahead=ahead,
            patience=A_WINDOW,
            provokes_429=True,
        )
        for what, ahead in (("ahead", 120.0), ("behind", -120.0))
    ),
)

VENDOR = (*POLLS, *RESULTS, *POSTS)
