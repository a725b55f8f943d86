"""A table of decisions: none is carried out while one is wrong, and each tells what was done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from kontext.dynamodb import Table
from kontext_cli.decide.decisions import Decision
from kontext_cli.decide.operate import Operator
from kontext_cli.decide.resolve import decide, read
from kontext_cli.errors import CommandError, Unfinished
from kontext_cli.target import Target
from tests.unit.cli.decide.conftest import JOB, OTHER_JOB, LaterClock, Segmind, delivered, render_of
from tests.unit.conftest import add_uncertain


@pytest.mark.parametrize(
    ("content", "why"),
    [
        pytest.param(b"\xff\xfe\x00", "cannot be read as a table", id="no text"),
        pytest.param(b"", "holds 0 decisions", id="empty"),
        pytest.param(b"prefix,decision,value\n", "holds 0 decisions", id="a header alone"),
        pytest.param(b'a cat/,"request-id', "cannot be read as a table", id="an open quotation"),
        pytest.param(
            f"a cat/,request-id,{JOB}\nb/,perhaps,\n".encode(), "row 2: the decision is 'perhaps'", id="a decision"
        ),
        pytest.param(
            f"a cat/,request-id,{JOB}\nb/,request-id,\n".encode(), "row 2: request-id needs a value", id="no value"
        ),
        pytest.param(f"a cat/,give-up,{JOB}\n".encode(), "row 1: give-up needs no value", id="a value too many"),
        pytest.param(f"a cat/,request-id,{JOB},x\n".encode(), "row 1: there must be a pair", id="a cell too many"),
        pytest.param(b"a cat/\n", "row 1", id="a cell too few"),
        pytest.param(
            f"a cat/,request-id,{JOB}\na cat/,give-up\n".encode(), "a cat/ stands in it more than once", id="twice"
        ),
        pytest.param(
            f"a cat/,request-id,{JOB}\nb/,request-id,{JOB.upper()}\n".encode(),
            "stands in it more than once",
            id="one job for two",
        ),
        pytest.param(
            f"a cat/,request-id,{JOB}\nb/,give-up,\n".encode(), r"row 2 \(b/\): No render", id="a row that is wrong"
        ),
    ],
)
def test_of_a_table_with_a_fault_nothing_is_carried_out(
    operator: Operator, table: Table, uncertain: str, tmp_path: Path, content: bytes, why: str
) -> None:
    delivered(table, "b/")
    before = render_of(operator.chosen, uncertain)
    (tmp_path / "table.csv").write_bytes(content)

    with pytest.raises(CommandError, match=why):
        decide(operator, read(tmp_path / "table.csv"), as_json=False)

    assert render_of(operator.chosen, uncertain) == before


def test_a_table_is_carried_out_row_by_row_and_says_what_was_done(
    operator: Operator, segmind: Segmind, table: Table, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    segmind.jobs = [JOB, OTHER_JOB]
    for prefix in ("a/", "b/", "c/", "d/"):
        add_uncertain(table, prefix)
    rows = (
        "\ufeffPrefix,decision,value",
        f"a/,request-id,{JOB}",
        f"b/,request-id,{OTHER_JOB}",
        "",
        "c/,give-up",
        "d/,resubmit,",
    )
    (tmp_path / "table.csv").write_text("\r\n".join(rows))

    code = decide(operator, read(tmp_path / "table.csv"), as_json=True)

    said = capsys.readouterr()
    assert code == 0
    assert [(one["prefix"], one["status"]) for one in json.loads(said.out)] == [
        ("a/", "QUEUED"),
        ("b/", "QUEUED"),
        ("c/", "FAILED"),
        ("d/", "CLAIMED"),
    ]
    assert "d/ is sent again for USD 0.05" in said.err
    assert isinstance(operator.clock, LaterClock)
    assert operator.clock.slept == [0.0, operator.throttle.rate.interval]


class SecondTopicAway:
    """An SNS that takes one message, and then no more."""

    def __init__(self, client: Any) -> None:
        self.client, self.left = client, 1

    def publish(self, **asked: Any) -> Any:
        self.left -= 1
        if self.left < 0:
            raise EndpointConnectionError(endpoint_url="https://sns.example")
        return self.client.publish(**asked)


def test_a_table_that_breaks_off_says_which_rows_were_done(target: Target, table: Table) -> None:
    for prefix in ("a/", "b/"):
        add_uncertain(table, prefix)
    sns = SecondTopicAway(target.client("sns"))
    operator = Operator(Target("shop", target.outputs, lambda name: sns if name == "sns" else target.client(name)))

    with pytest.raises(Unfinished, match=r"Done: rows 1 to 1; without them the table may be given again\.") as broken:
        decide(operator, [Decision("a/", "give-up"), Decision("b/", "give-up")], as_json=True)

    assert [one["prefix"] for one in broken.value.document["done"]] == ["a/"]
