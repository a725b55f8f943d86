"""What it costs to look at a stack on the embedded cloud, in requests as they are sent: the same for many pairs as for
a hundred. `KONTEXT_MANY` sets how many are many: a thousand in `make test`."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import pytest
from boto3.dynamodb.types import TypeSerializer

from kontext.dynamodb import Item
from kontext.model import Status
from kontext_cli.decide.operate import Operator, deliver
from kontext_cli.target import Target
from kontext_local import cloud
from simulation.template import Template
from tests.many_pairs import LOOKS, NOW, pair, throttle

FEW, MANY = 100, int(os.environ.get("KONTEXT_MANY", "1000"))
PAID: Item = {
    "output_url": "https://x.example/1",
    "request_id": "q",
    "revision": 1,
    "history": [{"at": "", "what": "claimed"}],
    "submitted_at": NOW,
}


class Described:
    """A CloudFormation client that knows one stack, with the template's own parameters."""

    def describe_stacks(self, **asked: str) -> dict[str, Any]:
        known = Template().parameters.items()
        return {"Stacks": [{**asked, "Parameters": [{"ParameterKey": k, "ParameterValue": v} for k, v in known]}]}


class Shop:
    """A stack that is a table on the embedded cloud. `requests`: those to its table, by operation, as they are sent."""

    def __init__(self, running: cloud.Cloud, table: str, workflow: str) -> None:
        self.requests: Counter[str] = Counter()
        self.dynamodb: Any = running.account.new_client("dynamodb")
        self.dynamodb.meta.events.register("before-send.dynamodb", self._count)
        self.dynamodb.create_table(TableName=table, **Template().table)
        self.table = table
        known = {"dynamodb": self.dynamodb, "cloudformation": Described()}
        outputs = {"RendersTable": table, "RenderWorkflowArn": workflow, "UploadQueueUrl": "", "RenderTopicArn": ""}
        outputs |= {"EventSource": ""}
        self.target = Target("shop", outputs, lambda service: known.get(service) or running.client(service))

    def _count(self, event_name: str, **_: Any) -> None:
        self.requests[event_name.rpartition(".")[2]] += 1

    def fill(self, items: Iterable[Item]) -> None:
        serialize = TypeSerializer().serialize
        puts = ({"PutRequest": {"Item": {name: serialize(value) for name, value in item.items()}}} for item in items)
        while some := list(islice(puts, 25)):
            answer = self.dynamodb.batch_write_item(RequestItems={self.table: some})
            assert not answer["UnprocessedItems"]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[cloud.Cloud]:
    with cloud.start(tmp_path_factory.mktemp("cloud") / "cloud.log") as started:
        yield started


@pytest.fixture(scope="module")
def workflow(running: cloud.Cloud) -> str:
    """A state machine that ends at once."""
    trust = {"Effect": "Allow", "Principal": {"Service": "states.amazonaws.com"}, "Action": "sts:AssumeRole"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    role = running.client("iam").create_role(RoleName="states", AssumeRolePolicyDocument=policy)["Role"]["Arn"]
    definition = json.dumps({"StartAt": "End", "States": {"End": {"Type": "Succeed"}}})
    states: Any = running.client("stepfunctions")
    return str(states.create_state_machine(name="end", definition=definition, roleArn=role)["stateMachineArn"])


@pytest.fixture(scope="module")
def shops(running: cloud.Cloud, workflow: str) -> dict[int, Shop]:
    """A stack of few pairs and one of many, of all kinds in turn."""
    made = {count: Shop(running, f"renders-{count}", workflow) for count in (FEW, MANY)}
    for count, shop in made.items():
        shop.fill([throttle()])
        shop.fill(item for number in range(count) for item in pair(number))
    return made


@pytest.mark.parametrize("look", LOOKS)
def test_a_look_takes_as_many_requests_at_many_pairs_as_at_a_hundred(shops: dict[int, Shop], look: str) -> None:
    asked = {}
    for count, shop in shops.items():
        shop.requests.clear()
        LOOKS[look](shop.target)
        asked[count] = dict(shop.requests)

    print(f"{look}: {asked[FEW]} for {FEW} pairs, {asked[MANY]} for {MANY:,}")
    assert asked[MANY] == asked[FEW]


def test_what_is_paid_is_delivered_again_with_as_many_requests_however_many_pairs_were_delivered(
    running: cloud.Cloud, workflow: str, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = {}
    for count in (FEW, MANY):
        shop = Shop(running, f"paid-{count}", workflow)
        shop.fill(item for number in range(FEW) for item in (paid(number) if number < 3 else pair(number)))
        shop.fill(item for number in range(FEW, count) for item in pair(20 * number))  # each was delivered
        shop.requests.clear()
        deliver(Operator(shop.target), None, as_json=True)
        asked[count] = dict(shop.requests)
        assert len(json.loads(capsys.readouterr().out)) == 3

    print(f"redeliver --all: {asked[FEW]} for {FEW} pairs, {asked[MANY]} for {MANY:,}")
    assert asked[MANY] == asked[FEW]


def paid(number: int) -> list[Item]:
    """A pair whose picture is paid, and was not delivered."""
    dropped, render = pair(number)
    return [dropped, render | PAID | {"status": Status.COMPLETED, "due_lane": "timer"}]
