"""When somebody must look at an item again, and who is sent to look."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from botocore.exceptions import ClientError

import sweep
from kontext.drops.pairs import Pair, pair_key
from kontext.drops.store import SETTLE_GRACE_SECONDS, Drops
from kontext.due import (
    DELIVERY_SECONDS,
    LEASE_GRACE_SECONDS,
    LINE,
    POLL_SECONDS,
    SENT,
    SET_DUE,
    SLACK_SECONDS,
    TELL_SECONDS,
    TIMER,
    Due,
    DueIndex,
    DueItem,
    due,
    marks,
)
from kontext.dynamodb import Item, Table
from kontext.hints import Hints
from kontext.model import Render
from kontext.throttle.line import Line
from kontext.throttle.rate_limiter import Rate
from kontext.throttle.throttle import Throttle
from tests.existing import existing

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

    from kontext.connections import Connections

NOW = 1_767_322_800.0
LEASED = {"lease_until": NOW + 130}
FREE = {"lease_until": 0.0}
KEY = {"pk": "pair#taj/", "sk": "pair"}
RATE = Rate(60)


@pytest.mark.parametrize(
    ("render", "expected"),
    [
        pytest.param({"status": "CLAIMED", **LEASED}, Due(TIMER, NOW + 130 + LEASE_GRACE_SECONDS), id="worked on"),
        pytest.param(
            {"status": "CLAIMED", **FREE, "waiting_since": NOW - 9, "line_at": NOW + 60},
            Due(LINE, NOW + 60),
            id="waits in line",
        ),
        pytest.param(
            {"status": "CLAIMED", **FREE, "waiting_since": NOW - 99, "line_at": NOW - 60},
            Due(LINE, NOW - 60),
            id="waits in line, its place is past",
        ),
        pytest.param(
            {"status": "CLAIMED", "lease_until": NOW + 60 - LEASE_GRACE_SECONDS, "line_at": NOW - 60},
            Due(TIMER, NOW + 60),
            id="tried later, was in line before",
        ),
        pytest.param({"status": "SUBMITTING", **LEASED}, Due(TIMER, NOW + 130 + LEASE_GRACE_SECONDS), id="submitting"),
        pytest.param({"status": "QUEUED", **LEASED}, Due(TIMER, NOW + POLL_SECONDS + SLACK_SECONDS), id="queued"),
        pytest.param({"status": "PROCESSING", **LEASED}, Due(TIMER, NOW + POLL_SECONDS + SLACK_SECONDS), id="running"),
        pytest.param({"status": "COMPLETED", **LEASED}, Due(TIMER, NOW + DELIVERY_SECONDS + SLACK_SECONDS), id="paid"),
        *(
            pytest.param({"status": status, **LEASED}, Due(TIMER, NOW + TELL_SECONDS), id=f"{status}, not told")
            for status in ("DELIVERED", "FAILED", "UNCERTAIN")
        ),
        *(
            pytest.param({"status": status, **LEASED, "announced": True}, Due(status, NOW), id=f"{status}, told")
            for status in ("DELIVERED", "FAILED", "UNCERTAIN")
        ),
    ],
)
def test_each_state_says_when_it_is_due(render: Render, expected: Due) -> None:
    assert due(render, NOW) == expected


def test_what_moves_forgets_what_was_sent_for_it() -> None:
    assert marks(Due(TIMER, NOW)) == {
        "due_lane": TIMER,
        "due_at": NOW,
        "dispatched_until": None,
        "dispatches": None,
    }


@pytest.fixture
def index(table: Table) -> DueIndex:
    return DueIndex(table)


def put(table: Table, sk: str, at: float, lane: str = TIMER) -> dict[str, str]:
    key = {"pk": "pair#taj/", "sk": sk}
    table.update(key, f"SET {SET_DUE}", due_lane=lane, due_at=at)
    return key


def test_the_index_holds_what_is_over_in_its_lane_the_oldest_first(table: Table, index: DueIndex) -> None:
    put(table, "later", NOW + 1)
    put(table, "waits", NOW - 9, LINE)
    new, old = put(table, "new", NOW - 1), put(table, "old", NOW - 2)

    assert list(index.over(NOW)) == [DueItem(old, 0), DueItem(new, 0)]


def test_two_sweeps_at_once_send_once(table: Table, index: DueIndex) -> None:
    item = DueItem(put(table, "pair", NOW), 0)

    assert [index.dispatch(item, NOW), index.dispatch(item, NOW)] == [True, False]
    assert list(index.over(NOW + 59)) == [DueItem(item.key, 1, NOW + 60)]


@pytest.mark.parametrize("moved", ["SET #due_at = :later", "REMOVE #due_at, #due_lane"])
def test_nobody_is_sent_to_what_has_moved_since_the_index_was_read(table: Table, index: DueIndex, moved: str) -> None:
    put(table, "pair", NOW)
    (item,) = index.over(NOW)
    later: Item = {"later": NOW + 60} if ":later" in moved else {}
    table.update(KEY, moved, **later)

    assert not index.dispatch(item, NOW)
    assert "dispatches" not in existing(table.get(KEY))


class Via:
    """Sweep's connections; `time` moves by a second with each message."""

    def __init__(self, table: Table, time: float = NOW) -> None:
        self.time = time
        self.clock = self.client = self
        self.due, self.line, self.throttle = DueIndex(table), Line(table, RATE.interval), Throttle(table, RATE)
        self.hints = Hints(cast("SQSClient", self), "url")
        self.sent: list[str] = []
        self.permits: list[float] = []

    def now(self) -> float:
        return self.time

    def send_message(self, *, QueueUrl: str, MessageBody: str, DelaySeconds: int) -> None:  # noqa: N803
        body = json.loads(MessageBody)
        if "permit" in body:
            self.permits.append(self.time + DelaySeconds)
            return
        self.time += 1
        self.sent.append(body["due"]["sk"])

    def context(self, seconds: float) -> Any:
        ends_at = self.time + seconds
        return SimpleNamespace(
            function_name="sweep",
            memory_limit_in_mb=128,
            invoked_function_arn="arn",
            aws_request_id="1",
            get_remaining_time_in_millis=lambda: (ends_at - self.time) * 1000,
        )

    def sweep(self, seconds: float = 50.0) -> list[str]:
        """The items that a sweep sends somebody to."""
        before = len(self.sent)
        answer = sweep.handler({}, self.context(seconds), cast("Connections", self))
        assert answer == {"in_line": self.line.length(), "sent": len(self.sent) - before}
        return self.sent[before:]


def test_a_sweep_sends_for_all_that_is_over_and_the_next_one_for_nothing(table: Table) -> None:
    deps = Via(table)
    for sk in ("a", "b"):
        put(table, sk, NOW - 1)

    assert deps.sweep() == ["a", "b"]
    assert deps.sweep() == []


def test_a_sweep_ends_itself_in_time_and_leaves_the_rest_to_the_next_one(table: Table) -> None:
    deps = Via(table)
    for number in range(9):
        put(table, f"{number}", NOW - 9 + number)

    assert deps.sweep(15) == ["0", "1", "2", "3", "4", "5"]
    assert deps.sweep(15) == ["6", "7", "8"]


@pytest.mark.parametrize(
    ("sk", "last_waits"),
    [
        pytest.param("pair", [900, 900, 900, 900], id="pair"),
        pytest.param("render#1", [960, 1920, 3000, 3000], id="render, which may start an execution each time"),
    ],
)
def test_what_does_not_move_is_sent_for_ever_more_seldom_but_each_hour(
    table: Table, sk: str, last_waits: list[int]
) -> None:
    key, deps, waits = put(table, sk, NOW), Via(table), []
    for _ in range(8):
        began = deps.time
        deps.sweep()
        deps.time = existing(table.get(key))["dispatched_until"]
        waits.append(deps.time - began)

    assert waits == [60, 120, 240, 480, *last_waits]


def measured(capsys: pytest.CaptureFixture[str], name: str) -> list[float]:
    """The values of a metric that were emitted."""
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"_aws"' in line]
    return [value for line in lines for value in line.get(name, ())]


def test_what_ten_looks_did_not_move_is_measured_by_each_sweep_until_it_moves(
    table: Table, index: DueIndex, capsys: pytest.CaptureFixture[str]
) -> None:
    deps = Via(table)
    put(table, "pair", NOW)
    for _ in range(9):
        deps.sweep()
        deps.time = existing(table.get(KEY))["dispatched_until"]
    before = measured(capsys, "Stuck")

    tenth = deps.sweep()
    again = [deps.sweep(), deps.sweep()]
    stuck = [item.is_stuck for item in index.over(deps.time)]
    while_it_stands = measured(capsys, "Stuck")
    table.update(KEY, f"SET {SET_DUE} REMOVE {SENT}", due_lane=TIMER, due_at=NOW)
    deps.sweep()

    assert (tenth, again, stuck) == (["pair"], [[], []], [True])
    assert (before, while_it_stands, measured(capsys, "Stuck")) == ([], [1.0, 1.0], [])


def test_an_item_that_cannot_be_written_to_keeps_no_other_from_being_looked_at(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    deps = Via(table)
    for sk in ("full", "good"):
        put(table, sk, NOW - 1)
    update = table.update

    def refuse(key: Any, *write: Any, **values: Any) -> Any:
        if key["sk"] == "full":
            raise ClientError({"Error": {"Code": "ValidationException", "Message": "too large"}}, "UpdateItem")
        return update(key, *write, **values)

    monkeypatch.setattr(table, "update", refuse)

    assert deps.sweep() == ["good"]


def test_nobody_is_sent_by_name_for_what_waits_in_line_but_permits_are_an_interval_apart(table: Table) -> None:
    deps = Via(table)
    for sk in ("a", "b", "c"):
        put(table, sk, NOW - 1, LINE)

    sent, again = deps.sweep(), deps.sweep()

    assert (sent, again) == ([], [])
    assert deps.permits == [NOW, NOW + 1, NOW + 2]


def test_while_segmind_refuses_somebody_is_sent_to_probe_and_nobody_who_waits_is_let_go(table: Table) -> None:
    deps = Via(table)
    deps.throttle.open_breaker("no_credits", NOW)
    for change in deps.throttle.unannounced():
        deps.throttle.mark_announced(change)
    for sk in ("a", "b"):
        put(table, sk, NOW - 1, LINE)

    sent = deps.sweep()

    assert (sent, deps.permits) == (["throttle"], [])


@pytest.mark.parametrize("refused", [False, True], ids=["", "and Segmind refuses"])
def test_nobody_is_sent_for_what_waits_or_to_probe_while_the_stack_is_paused(table: Table, refused: bool) -> None:
    deps = Via(table)
    deps.throttle.pause(NOW)
    if refused:
        deps.throttle.open_breaker("no_credits", NOW)
    put(table, "a", NOW - 1, LINE)
    for change in deps.throttle.unannounced():
        deps.throttle.mark_announced(change)

    deps.time += 30 * 86_400

    assert (deps.sweep(), deps.permits) == ([], [])


def test_once_nothing_stops_the_line_the_next_sweep_lets_those_who_wait_go(table: Table) -> None:
    deps = Via(table)
    deps.throttle.open_breaker("no_credits", NOW - 7200)
    for sk in ("a", "b"):
        put(table, sk, NOW - 1, LINE)
    deps.throttle.close_breaker(NOW - 100)
    for change in deps.throttle.unannounced():
        deps.throttle.mark_announced(change)

    sent = deps.sweep()

    assert (sent, deps.permits) == ([], [NOW, NOW + 1])


@pytest.mark.parametrize(
    "stop",
    [
        pytest.param(lambda throttle: throttle.open_breaker("no_credits", NOW), id="the breaker"),
        pytest.param(lambda throttle: throttle.pause(NOW), id="a pause"),
    ],
)
def test_a_change_of_the_breaker_or_a_pause_is_due_until_it_is_announced(
    table: Table, stop: Callable[[Throttle], object]
) -> None:
    throttle, index = Throttle(table, RATE), DueIndex(table)
    stop(throttle)
    throttle.close_breaker(NOW + 1)
    unannounced = list(index.over(NOW + 1 + TELL_SECONDS))

    for change in throttle.unannounced():
        throttle.mark_announced(change)

    assert unannounced == [DueItem(Throttle.KEY, 0)]
    assert list(index.over(NOW + 1e6)) == []


def _settling(table: Table, drops: Drops, until: float) -> Pair:
    table.update(KEY, "SET #prefix = :prefix", prefix="taj/")
    drops.settle("taj/", until)
    pair = drops.get("taj/")
    assert pair
    return pair


def test_a_pair_knows_when_it_is_due_and_at_rest_that_it_is_not(table: Table, drops: Drops) -> None:
    pair = _settling(table, drops, NOW + 20)
    drops.rest(pair, NOW + 20 + SETTLE_GRACE_SECONDS)

    assert pair.due_at == NOW + 20 + SETTLE_GRACE_SECONDS
    assert replace(pair, due_at=None) == drops.get("taj/")


def test_a_pair_that_changes_while_somebody_looks_at_it_is_looked_at_again(table: Table, drops: Drops) -> None:
    pair = _settling(table, drops, NOW)
    drops.settle("taj/", NOW + 1)  # a part has come meanwhile

    drops.rest(pair, NOW + 60)

    assert [item.key for item in DueIndex(table).over(NOW + 60)] == [pair_key("taj/")]


def test_a_pair_that_waits_for_a_prompt_is_due_until_it_rests(table: Table, drops: Drops) -> None:
    index = DueIndex(table)
    pair = _settling(table, drops, NOW + 20)
    (item,) = index.over(NOW + 51)
    drops.rest(pair, NOW + 30)  # it is not over yet
    still = list(index.over(NOW + 51))

    drops.rest(pair, NOW + 51)

    assert [item.key] == [one.key for one in still] == [pair_key("taj/")]
    assert list(index.over(NOW + 51)) == []
