"""What nobody knows at the time: whether Segmind is well again, whether a request was taken, what one has cost.

A trial finds out, and may be paid.
"""

from __future__ import annotations

from simulation.actions import Away, Secret, WellAgain, request, vendor
from simulation.decisions import Decide
from simulation.schedule import Action
from simulation.stories.story import OTHER_KEY, TAJ, Story, many, pair, story
from simulation.stories.vendor import always, well
from simulation.world import KEY

_HOUR = 3600.0
_HIDDEN = vendor(status=500, body={}, accept=True)
"""A server error, though the job was taken and will be charged."""


def bad(count: int, answer: dict[str, object], end: str) -> Story:
    """Pairs that Segmind always answers so, before others, which it takes."""
    wrong = [step for n in range(count) for step in pair(f"bad/p{n}/", at=float(n), prompt=f"breaks the model {n}")]
    others = [step for n in range(3) for step in pair(f"good{n}/", at=20.0 + n, prompt=f"well {n}")]
    later = pair("later/", at=4 * _HOUR, prompt="well, later")
    ends = {f"bad/p{n}/": {f"FAILED {end}"} for n in range(count)}
    ends |= {prefix: {"DELIVERED"} for prefix in ("good0/", "good1/", "good2/", "later/")}
    return story(
        f"{count} pairs that always fail ({end}) come before others",
        always(prompt="breaks the model", **answer),
        *wrong,
        *others,
        *later,
        ends=ends,
        patience=_HOUR,
    )


def refused_alone(answer: dict[str, object]) -> Story:
    """A pair that Segmind always refuses in words that are about the account, among others, which it takes."""
    others = [step for n in range(6) for step in pair(f"later{n}/", at=(n + 1) * _HOUR, prompt=f"well {n}")]
    return story(
        f"{answer['status']} to one pair alone, among others: {answer['body']}",
        always(prompt="breaks", **answer),
        *pair("bad/", prompt="breaks the account's rules"),
        *pair("good/", at=20.0, prompt="well"),
        *others,
        ends={"bad/": {"FAILED refused"}, "good/": {"DELIVERED"}, "later5/": {"DELIVERED"}},
        patience=_HOUR,
        rests_within=12 * _HOUR,
        large=True,
    )


def flapping(name: str, answer: dict[str, object]) -> Story:
    """The free GET fails at every other time, while POSTs meet a bad end."""
    flap: list[tuple[float, Action]] = [
        (0.0, vendor(on="credits", status=503, body={}, nth=n, times=1)) for n in range(1, 400, 2)
    ]
    three_hours: list[tuple[float, Action]] = [(3 * _HOUR, WellAgain())]
    return story(
        f"{name} for three hours, and the balance can be read every other time",
        always(**answer),
        *flap,
        *many(30, every=1.0),
        *three_hours,
        patience=4 * _HOUR,
        rests_within=86_400.0,
    )


TRIALS: tuple[Story, ...] = (
    bad(12, {"status": 500, "body": {"error": "oh"}}, "server_error"),
    bad(12, {"status": 406, "body": {"error": "flagged"}}, "refused"),
    refused_alone({"status": 403, "body": {"error": "forbidden content"}}),
    refused_alone({"status": 404, "body": {"error": "the image was not found"}}),
    refused_alone({"status": 406, "body": {"error": "Invalid prompt: a credit card"}}),
    # One that was answered by a server error before goes as no trial while others are untried.
    story(
        "500, and then 403 to one pair alone, among sixty",
        (0.0, vendor(prompt="breaks", status=500, body={"error": "oops"})),
        always(prompt="breaks", status=403, body={"error": "forbidden content"}),
        *pair("bad/", prompt="breaks the account's rules"),
        *many(60, "good/", at=20.0, every=10.0),
        *pair("later/", at=3 * _HOUR, prompt="well, later"),
        *pair("latest/", at=6 * _HOUR, prompt="well, at last"),
        ends={"bad/": {"FAILED refused"}},
        patience=_HOUR,
        rests_within=12 * _HOUR,
        large=True,
        fragile={
            "everything lost": "who has stepped aside goes after 45 minutes, though all has become well meanwhile"
        },
    ),
    flapping("answers are lost", {"drop": True, "accept": True}),
    flapping("502 though the job is taken", {"status": 502, "body": {}, "accept": True}),
    story(
        "no workflow may be started for two hours",
        (0.0, Away(("stepfunctions",), 120.0, only="start_execution")),
        *many(30, every=0.5),
        patience=3 * _HOUR,
    ),
    story(
        "no workflow may be started for twenty minutes, and every job fails",
        always(fail="blocked"),
        (0.0, Away(("stepfunctions",), 20.0, only="start_execution")),
        *many(5, every=0.5),
        ends={f"p{n}/": {"FAILED render_failed"} for n in range(5)},
        patience=_HOUR,
    ),
    story(
        "answers are lost for three hours, and Step Functions is away now and then",
        (0.0, vendor(inference=3000.0, times=4)),
        *many(4, every=1.0),
        always(on="status", status=500, body={}),
        (60.0, vendor(drop=True, times=None)),
        *many(30, "x/", at=70.0, every=1.0),
        *((900.0 + 1500.0 * n, Away(("stepfunctions",), 10.0)) for n in range(6)),
        well(3 * _HOUR),
        patience=4 * _HOUR,
        rests_within=2 * 86_400.0,
    ),
    story(
        "after a 503 the balance takes five seconds to read",
        (0.0, vendor(status=503, body={}, times=1)),
        always(on="credits", slow=5.1),
        *pair(),
        *pair("b/", at=30.0, prompt="second"),
        patience=_HOUR,
    ),
    story(
        "the answer breaks off, and the key is replaced while the job runs",
        (0.0, vendor(cut_after=70)),
        *pair(),
        (8.0, Secret(OTHER_KEY)),
        account={"keys": (KEY, OTHER_KEY), "jobs_per_key": True},
    ),
    story(
        "500 though the job is taken, then another prompt",
        (0.0, _HIDDEN),
        *pair(),
        (10.0, request(TAJ, prompt="another")),
        patience=_HOUR,
    ),
    story(
        "500 though the job is taken, then refused",
        (0.0, _HIDDEN),
        (0.0, vendor(status=400, body={"error": "prompt is not allowed"}, nth=2)),
        *pair(),
        patience=_HOUR,
        end="FAILED refused",
    ),
    story(
        "500 though the job is taken, then the job of the next request fails",
        (0.0, _HIDDEN),
        (0.0, vendor(fail="blocked", nth=2)),
        *pair(),
        patience=_HOUR,
        end="FAILED render_failed",
    ),
    story(
        "the answer is lost, a person sends it again, and it is refused",
        (0.0, vendor(drop=True, accept=True)),
        (0.0, vendor(status=400, body={"error": "prompt is not allowed"}, nth=2)),
        *pair(),
        (60.0, Decide(TAJ, "resubmit")),
        ends={TAJ: {"FAILED refused", "DELIVERED"}},  # a command that dies is given once more
    ),
)
