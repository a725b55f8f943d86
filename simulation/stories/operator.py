"""What the operator does by mistake: wrong, late, twice, about another pair, or just as things move on."""

from __future__ import annotations

from simulation.actions import Away, Queue, WellAgain, account, deploy, request, vendor
from simulation.decisions import Decide, PauseOrResume
from simulation.fault_injection import Fault
from simulation.stories.story import TAJ, Story, many, pair, story

FORT = "fort/"
_LOST = (0.0, vendor(drop=True, accept=True))
_BOTH_LOST = (0.0, vendor(drop=True, accept=True, times=2))
_ADOPT, _RESUBMIT, _GIVE_UP, _REDELIVER = (
    Decide(TAJ, what) for what in ("request-id", "resubmit", "give-up", "redeliver")
)
_CANCEL, _AGAIN = Decide(TAJ, "cancel"), Decide(TAJ, "again")
_WRONG_DIGIT = Decide(TAJ, "request-id", "a wrong digit")
_OTHERS = Decide(TAJ, "request-id", "another pair's")
_NOT_WHOSE = "Segmind does not say whose a job is: where two answers are lost, the other's id is taken on trust"
_TWICE_LATE = "what takes back an error file that is written late meets a fault as well"
_TAKING_BACK = ("put_object", "publish", "update_item", "get_item", "head_object", "delete_object")
_BOTH = {"submit POST": _NOT_WHOSE}

IDS: tuple[Story, ...] = (
    story(
        "an id with a wrong digit, and the right one later",
        _LOST,
        *pair(),
        (60.0, _WRONG_DIGIT),
        (900.0, _ADOPT),
    ),
    Story(
        "the right id, two hours later",
        story("", _LOST, *pair(), (7200.0, _ADOPT)).schedule,
        {TAJ: {"UNCERTAIN", "DELIVERED"}},
    ),
    story("another pair's id", _LOST, *pair(), *pair(FORT, at=20.0), (100.0, _OTHERS), fragile=_BOTH),
    story(
        "another pair's id, and the right one later",
        _LOST,
        *pair(),
        *pair(FORT, at=20.0),
        (100.0, _OTHERS),
        (300.0, _ADOPT),
        fragile=_BOTH,
    ),
    story(
        "the ids of two pairs are exchanged",
        _BOTH_LOST,
        *pair(),
        *pair(FORT, at=5.0),
        (100.0, _OTHERS),
        (101.0, Decide(FORT, "request-id", "another pair's")),
        missing=_NOT_WHOSE,
    ),
    story(
        "the id of another job of the same pair",
        _LOST,
        *pair(),
        (10.0, request(TAJ, prompt="another")),
        (100.0, Decide(TAJ, "request-id", "another job's")),
        fragile=_BOTH,
    ),
    story(
        "the right id while the vendor knows no job for two minutes",
        _LOST,
        (90.0, vendor(on="status", status=404, body={}, times=None)),
        *pair(),
        (100.0, _ADOPT),
        (250.0, WellAgain()),
    ),
    story("the right id twice at once", _LOST, *pair(), (100.0, _ADOPT), (100.02, _ADOPT)),
    story(
        "the right id, while all is paused",
        _LOST,
        *pair(),
        (50.0, PauseOrResume("pause")),
        (100.0, _ADOPT),
        (700.0, PauseOrResume("resume")),
    ),
)

DECISIONS: tuple[Story, ...] = (
    Story(  # where the request never came to Segmind there is no job to find
        "given up as its job is found",
        story("", _LOST, *pair(), (100.0, _ADOPT), (100.0, _GIVE_UP)).schedule,
        {TAJ: {"DELIVERED", "FAILED given_up"}},
    ),
    story("given up, and its job is found", _LOST, *pair(), (100.0, _GIVE_UP), (200.0, _ADOPT)),
    story(
        "given up, and dropped again",
        _LOST,
        *pair(),
        (700.0, _GIVE_UP),
        (1500.0, pair()[2][1]),
    ),
    story(
        "resubmitted although a newer drop has replaced it",
        _LOST,
        *pair(),
        (100.0, request(TAJ, prompt="another")),
        (700.0, _RESUBMIT),
    ),
    story(
        "resubmitted while all is paused, and replaced before it goes",
        _LOST,
        *pair(),
        (50.0, PauseOrResume("pause")),
        (100.0, _RESUBMIT),
        (200.0, request(TAJ, prompt="another")),
        (600.0, PauseOrResume("resume")),
    ),
    story(
        "its job is found although a newer drop has replaced it",
        _LOST,
        *pair(),
        (100.0, request(TAJ, prompt="another")),
        (700.0, _ADOPT),
    ),
    story("resubmitted twice at once", _LOST, *pair(), (100.0, _RESUBMIT), (100.02, _RESUBMIT)),
    story("resubmitted as its job is found", _LOST, *pair(), (100.0, _ADOPT), (100.02, _RESUBMIT)),
    story(
        "resubmitted while a slow Submit still writes the error file",
        _LOST,
        *pair(),
        (1.0, _RESUBMIT),
        faults=(Fault(0, "stall", "submit put_object"),),
        fragile=dict.fromkeys((f"submit {call}" for call in _TAKING_BACK), _TWICE_LATE),
    ),
)

AGAIN: tuple[Story, ...] = (
    story(
        "delivered again when the vendor has deleted the picture",
        *pair(),
        (2000.0, account(output_seconds=60.0)),
        (2100.0, _REDELIVER),
    ),
    story(
        "delivered again while the file host is away",
        (50.0, vendor(on="output", status=503, times=None)),
        *pair(),
        (100.0, _REDELIVER),
        (1000.0, WellAgain()),
    ),
    story(
        "looked at again after its hour, when the vendor still answers",
        (0.0, vendor(on="status", status=500, times=None, body={})),
        (0.0, vendor(on="result", status=500, times=None, body={})),
        (0.0, account(record_seconds=8000.0)),
        *pair(),
        (4000.0, WellAgain()),
        (4100.0, _REDELIVER),
        patience=4200.0,
    ),
    story("delivered again although it was delivered", *pair(), (100.0, _REDELIVER)),
    story("delivered again twice at once", *pair(), (100.0, _REDELIVER), (100.02, _REDELIVER)),
    story("delivered again while it is delivered", *pair(), (24.7, _REDELIVER)),
    story(
        "delivered again while its delivery is tried again",
        (0.0, vendor(on="output", status=503, times=5)),
        *pair(),
        (40.0, _REDELIVER),
    ),
    story(
        "delivered again while Step Functions is away, and a newer drop replaces it",
        *pair(),
        (60.0, request(TAJ, prompt="another")),
        (69.0, Away(("stepfunctions",), 1.0)),
        (70.0, _REDELIVER),
    ),
    story(
        "the host of the picture is allowed, and it is delivered again",
        (0.0, vendor(output_shape="elsewhere")),
        *pair(),
        (600.0, deploy(ResultHosts="images.segmind.com,pictures.elsewhere.example")),
        (700.0, _REDELIVER),
        patience=700.0,
    ),
)

OTHERS: tuple[Story, ...] = (
    story(
        "paused twice, resumed twice",
        (0.1, PauseOrResume("pause")),
        (0.2, PauseOrResume("pause")),
        *pair(at=1.0),
        (600.0, PauseOrResume("resume")),
        (600.0, PauseOrResume("resume")),
    ),
    story(
        "resumed although the account is empty",
        *many(2, every=0.2),
        (20.0, PauseOrResume("resume")),
        (40.0, account(credits=10.0)),
        account={"credits": 0.01},
        patience=85.0,
    ),
    story(
        "dead letters are moved back twice",
        (0.1, Away(("dynamodb",), 70.0)),
        *pair(at=1.0),
        (4500.0, Queue("redrive")),
        (4500.5, Queue("redrive")),
    ),
)

TAKEN_BACK: tuple[Story, ...] = (
    Story(
        "a pair that waits for credits is cancelled",
        story("", *pair(), (50.0, _CANCEL), (100.0, account(credits=10.0)), account={"credits": 0.01}).schedule,
        {TAJ: {"FAILED cancelled", "DELIVERED"}},
    ),
    story(
        "a pair that waits for credits is cancelled, and dropped again",
        *pair(),
        (50.0, _CANCEL),
        (100.0, account(credits=10.0)),
        (200.0, pair()[2][1]),
        account={"credits": 0.01},
    ),
    story(
        "a pair is cancelled when it is paid already",
        *pair(),
        (10.0, _CANCEL),
        ends={TAJ: {"DELIVERED", "FAILED cancelled"}},  # what goes wrong may hold its request up for so long
    ),
    story("the same once more, for its price", *pair(), (100.0, _AGAIN)),
    story("the same once more, twice at once", *pair(), (100.0, _AGAIN), (100.02, _AGAIN)),
    story("the same once more, while it is made", *pair(), (10.0, _AGAIN)),
)

OPERATOR = (*TAKEN_BACK, *IDS, *DECISIONS, *AGAIN, *OTHERS)
