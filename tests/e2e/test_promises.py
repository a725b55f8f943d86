"""The promises about pace, crashes and money, on the real embedded cloud with the real workflow.

`KONTEXT_PAIRS` sets how many pairs the burst has: a few in `make test`, 200 in `make soak`.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import httpx
import pytest
from PIL import Image

from kontext.drops.pairs import pair_key
from kontext.throttle.line import why_parked
from kontext.throttle.shared_state import state_in
from kontext_cli.decide.decisions import Decision
from kontext_cli.decide.resolve import decide
from kontext_local import stack
from kontext_local.stack import LocalStack
from tests.e2e.conftest import Eventually, options, teach
from tests.e2e.customer import Customer

PAIRS = int(os.environ.get("KONTEXT_PAIRS", "6"))
CROWD = 300 if PAIRS >= 100 else 5 * PAIRS
LATE = "shared/late.png"
Stacks = Callable[..., LocalStack]


@pytest.fixture(scope="session")
def photograph(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    picture = tmp_path_factory.mktemp("photograph") / "small.png"
    Image.new("RGB", (96, 64), "teal").save(picture)
    return picture.read_bytes()


@pytest.fixture(scope="session")
def unlimited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """A stack whose limits are never in the way."""
    chosen = options(emulator={"workers": 50}, parameters={"RequestsPerMinute": "3000"})
    with stack.using(tmp_path_factory.mktemp("unlimited"), chosen) as running:
        teach(running)
        yield running


@pytest.fixture
def customer(unlimited: LocalStack, photograph: bytes) -> Iterator[Customer]:
    """One who shares that stack; whatever a test has broken is mended after it."""
    made = Customer(unlimited, photograph)
    queue, sqs = {"QueueUrl": unlimited.outputs["UploadQueueUrl"]}, unlimited.client("sqs")
    seconds = sqs.get_queue_attributes(**queue, AttributeNames=["VisibilityTimeout"])["Attributes"]
    yield made
    sqs.set_queue_attributes(**queue, Attributes=seconds)
    with unlimited.emulator() as emulator:
        emulator.delete("script").raise_for_status()
    made.tell_emulator("settings", {"credits": 100.0, "keys": [made.api_key()]})


def test_a_burst_is_paced_below_the_hard_limit(own_stack: Stacks, photograph: bytes, eventually: Eventually) -> None:
    local = own_stack(
        emulator={"inference": 8.0, "workers": 50, "rate_limit": 120, "rate_window": "sliding"},
        parameters={"RequestsPerMinute": "120", "DailySpendLimit": "1000"},
    )
    customer = Customer(local, photograph)

    names = customer.drop_many(PAIRS)
    eventually(lambda: customer.statuses(names)["DELIVERED"] == PAIRS, "every pair delivered", 240 + PAIRS)

    ledger = customer.ledger()
    posts = [post["at"] for post in ledger["posts"]]
    took, ideal = max(posts) - min(posts), (PAIRS - 1) * 60 / 120
    print(f"{PAIRS} pairs: submitted within {took:.1f} s, the limit allows {ideal:.1f} s")
    assert ledger["too_many_requests"] == 0
    assert len(ledger["charges"]) == PAIRS
    assert customer.dead_letters() == 0
    if PAIRS >= 100:  # the proof has the machine to itself
        assert took <= 1.05 * ideal


@pytest.mark.skipif(PAIRS < 100, reason="it waits for five minutes: `make soak` plays it")
@pytest.mark.timeout(1000)
def test_who_waits_five_minutes_for_credits_goes_on_soon_in_order_and_at_the_full_rate(
    own_stack: Stacks, photograph: bytes, eventually: Eventually
) -> None:
    account = {"inference": 8.0, "workers": 50, "credits": 0.0}
    customer = Customer(own_stack(emulator=account, parameters={"RequestsPerMinute": "120"}), photograph)
    names = [f"waits-{number:03}" for number in range(20)]
    for name in names:
        customer.drop(name)
        eventually(partial(_parked, customer, name), "it is parked")
    changed = names[5]
    customer.drop(changed, prompt="Changed.")
    time.sleep(300)

    customer.tell_emulator("settings", {"credits": 50.0})
    topped_up = time.time()
    eventually(lambda: customer.statuses(names)["DELIVERED"] == len(names), "all delivered")

    jobs = sorted(customer.ledger()["jobs"], key=lambda job: float(job["accepted_at"]))
    went = [next(name for name in names if f"{name}/" in json.dumps(job)) for job in jobs]
    first, last = jobs[0]["accepted_at"], jobs[-1]["accepted_at"]
    print(
        f"the first goes on {first - topped_up:.0f} s after the account was topped up, all within {last - first:.1f} s"
    )
    assert first - topped_up <= 75
    assert last - first <= 1.5 * (len(names) - 1) * 60 / 120
    assert [name for name in went if name != changed] == [name for name in names if name != changed]
    assert len(customer.ledger()["charges"]) == len(names)
    assert "Changed." in json.dumps(jobs[went.index(changed)])


@pytest.mark.timeout(1000)
def test_a_crowd_that_names_one_photograph_is_paid_once_each_when_it_comes_last_and_no_message_takes_long(
    customer: Customer, eventually: Eventually
) -> None:
    before, dead, began = customer.ledger(), customer.dead_letters(), time.time()
    names = [f"crowd-{n:03}" for n in range(CROWD)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: customer.name_one(name, LATE), names))
    eventually(lambda: customer.waiting_for(LATE) == CROWD, "all wait", 600)

    came = time.time()
    customer.s3.put_object(Bucket=customer.local.outputs["InputBucket"], Key=LATE, Body=customer.photograph)
    eventually(lambda: customer.statuses(names)["DELIVERED"] == CROWD, "every pair delivered", 900)

    after, longest = customer.ledger(), customer.longest_message(began)
    submitted = max(post["at"] for post in after["posts"]) - came
    print(f"{CROWD} pairs name one photograph: all submitted {submitted:.0f} s after it came, delivered after ", end="")
    print(f"{time.time() - came:.0f} s, no message worked on for over {longest:.1f} s")
    assert _accepted(after) - _accepted(before) == len(after["charges"]) - len(before["charges"]) == CROWD
    assert customer.dead_letters() == dead
    assert 0 < longest < customer.timeout("Submit")  # the function is never ended by Lambda


@pytest.mark.timeout(1000)
def test_killed_workers_lose_nothing_and_pay_nothing_twice(customer: Customer, eventually: Eventually) -> None:
    count, before = min(50, PAIRS), customer.ledger()
    # One that takes twice as long is under way for certain when the first one is delivered.
    customer.tell_emulator("script", {"on": "submit", "nth": count, "inference": 2.0 * count})
    customer.tell_emulator("script", {"on": "submit", "times": None, "inference": float(count)})
    names = customer.drop_many(count, "killed")
    eventually(lambda: len(customer.ledger()["jobs"]) == len(before["jobs"]) + count, "every pair at Segmind")
    eventually(lambda: customer.workflows("killed") == count, "every workflow started")
    eventually(lambda: customer.statuses(names)["DELIVERED"], "the first one delivered")

    killed = _kill_workers(customer.local)
    assert any("PollFunction" in function for function in killed)
    unfinished = count - customer.statuses(names)["DELIVERED"]
    eventually(lambda: customer.statuses(names)["DELIVERED"] == count, "every pair delivered")

    print(f"{count} pairs: {len(killed)} workers killed with {unfinished} renders unfinished")
    assert unfinished > 0
    assert len(customer.ledger()["charges"]) == len(before["charges"]) + count


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        pytest.param({"credits": 0.0}, {"credits": 50.0}, "no_credits", id="an empty account is topped up"),
        pytest.param({"keys": ["SG_ffffffffffffffff"]}, None, "bad_key", id="a wrong key is replaced"),
    ],
)
def test_a_refused_account_parks_and_resumes_by_itself(
    customer: Customer,
    eventually: Eventually,
    before: dict[str, Any],
    after: dict[str, Any] | None,
    reason: str,
) -> None:
    ledger, dead = customer.ledger(), customer.dead_letters()
    customer.tell_emulator("settings", before)
    names = customer.drop_many(min(20, PAIRS), reason)
    eventually(lambda: all(_parked(customer, name) == reason for name in names), f"all parked for {reason}")
    asked = len(customer.ledger()["posts"]) - len(ledger["posts"])

    if after:
        customer.tell_emulator("settings", after)
    else:
        customer.local.client("secretsmanager").put_secret_value(
            SecretId=customer.local.outputs["SegmindSecretArn"], SecretString=before["keys"][0]
        )
    resumed = time.monotonic()
    eventually(lambda: customer.statuses(names)["DELIVERED"] == len(names), "all delivered")

    took = time.monotonic() - resumed
    print(f"{reason}: {asked} requests while refused, all delivered {took:.0f} s after")
    if PAIRS >= 100:  # the proof has the machine to itself
        assert took <= 75
    assert asked < len(names)  # one probe at a time, not everybody
    assert len(customer.ledger()["charges"]) == len(ledger["charges"]) + len(names)
    assert customer.dead_letters() == dead


def test_a_pair_that_is_deleted_while_it_waits_for_credits_is_not_paid(
    customer: Customer, eventually: Eventually
) -> None:
    before, bucket = customer.ledger(), customer.local.outputs["InputBucket"]
    customer.tell_emulator("settings", {"credits": 0.0})
    names = customer.drop_many(2, "deleted")
    eventually(lambda: all(_parked(customer, name) == "no_credits" for name in names), "both parked")
    for slot in "12":
        customer.s3.delete_object(Bucket=bucket, Key=f"{names[0]}/{slot}.png")

    customer.tell_emulator("settings", {"credits": 50.0})
    customer.sweep()
    eventually(lambda: customer.render(names[1])["status"] == "DELIVERED", "the other one delivered")
    eventually(lambda: customer.render(names[0])["status"] == "FAILED", "the deleted one ended")

    assert customer.render(names[0])["error"]["code"] == "cancelled"
    assert len(customer.ledger()["charges"]) == len(before["charges"]) + 1


@pytest.mark.parametrize("way", ["SNS", "EventBridge", "by hand"])
def test_whoever_tells_of_a_drop_in_another_form_is_understood(
    customer: Customer, eventually: Eventually, way: str
) -> None:
    bucket, dead, name = customer.local.outputs["InputBucket"], customer.dead_letters(), f"told {way}"
    usual = customer.s3.get_bucket_notification_configuration(Bucket=bucket)
    customer.s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={})
    customer.drop(name)
    del usual["ResponseMetadata"]
    customer.s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=usual)

    for slot in "12":
        body = json.dumps(_told(way, bucket, f"{name}/{slot}.png"))
        customer.local.client("sqs").send_message(QueueUrl=customer.local.outputs["UploadQueueUrl"], MessageBody=body)

    eventually(lambda: customer.render(name).get("status") == "DELIVERED", "the pair delivered")
    assert customer.dead_letters() == dead


def _told(way: str, bucket: str, key: str) -> dict[str, Any]:
    """What tells of an object, in the form of some service."""
    if way == "EventBridge":
        detail = {"bucket": {"name": bucket}, "object": {"key": key}, "reason": "PutObject"}
        return {"source": "aws.s3", "detail-type": "Object Created", "time": "2026-11-27T12:00:00Z", "detail": detail}
    told = {"Records": [{"s3": {"bucket": {"name": bucket}, "object": {"key": quote_plus(key)}}}]}
    return (
        told
        if way == "by hand"
        else {"Type": "Notification", "TopicArn": "arn:aws:sns:::drops", "Message": json.dumps(told)}
    )


def test_a_lost_answer_is_never_sent_again_until_a_person_decides(customer: Customer, eventually: Eventually) -> None:
    names, asked = ("again", "adopt", "leave"), len(customer.ledger()["posts"])
    customer.tell_emulator("script", {"on": "submit", "accept": True, "drop": True, "times": 3})
    for name in names:
        customer.drop(name)
    eventually(lambda: customer.statuses(names)["UNCERTAIN"] == 3, "three renders uncertain")
    assert len(customer.ledger()["posts"]) == asked + 3
    said = json.loads(eventually(lambda: customer.output("leave/error.json"), "an error file"))
    assert (said["code"], said["charged"]) == ("uncertain", "unknown")

    job = next(job for job in customer.ledger()["jobs"] if "adopt/" in json.dumps(job))
    decide(customer.operator, [Decision("again/", "resubmit")], as_json=True)
    decide(customer.operator, [Decision("adopt/", "request-id", job["request_id"])], as_json=True)
    decide(customer.operator, [Decision("leave/", "give-up")], as_json=True)
    customer.operator.resume()  # three lost answers are taken for an outage
    eventually(lambda: customer.render("again")["status"] == "DELIVERED", "the resubmitted one delivered")
    eventually(lambda: customer.render("adopt")["status"] == "DELIVERED", "the adopted one delivered")

    assert customer.render("leave")["error"]["code"] == "given_up"
    assert len(customer.ledger()["posts"]) == asked + 4


def test_what_has_lost_its_message_or_its_execution_is_brought_on_and_paid_once(
    customer: Customer, eventually: Eventually
) -> None:
    count, before = min(50, PAIRS // 2), customer.ledger()
    customer.tell_emulator("script", {"on": "submit", "inference": 20.0 + count, "times": count})
    names = customer.drop_many(count, "still")
    eventually(lambda: len(customer.running("still")) == count, "as many executions")
    customer.drop("settling", prompt=None)
    whole = {"part_1", "part_2"}
    eventually(lambda: whole <= (customer.operator.table.get(pair_key("settling/")) or {}).keys(), "a pair that waits")

    customer.local.client("sqs").purge_queue(QueueUrl=customer.local.outputs["UploadQueueUrl"])
    stopped = customer.running("still")
    for execution in stopped:
        customer.local.client("stepfunctions").stop_execution(executionArn=execution)

    def all_delivered() -> bool:
        for name in names:  # a Poll that was under way ends, and is heard
            customer.let_time_pass(name)
        return customer.statuses([*names, "settling"])["DELIVERED"] == count + 1

    eventually(all_delivered, "all delivered")

    after = customer.ledger()
    assert len(stopped) == count
    assert {customer.render(name)["generation"] for name in names} == {2}
    assert _accepted(after) - _accepted(before) == len(after["charges"]) - len(before["charges"]) == count + 1
    assert customer.dead_letters() == 0


def test_a_picture_that_could_not_be_copied_is_redelivered_without_paying(
    customer: Customer, eventually: Eventually
) -> None:
    paid = len(customer.ledger()["charges"])
    customer.tell_emulator("script", {"on": "output", "status": 200, "text": "<html>maintenance</html>", "times": 4})
    customer.drop("late")
    eventually(lambda: "undelivered" in customer.render("late"), "the delivery put off")
    assert customer.render("late")["status"] == "COMPLETED"

    customer.operator.deliver_again(customer.render("late"))
    eventually(lambda: customer.render("late")["status"] == "DELIVERED", "the picture delivered")

    assert len(customer.ledger()["charges"]) == paid + 1
    outputs = customer.s3.list_objects_v2(Bucket=customer.local.outputs["OutputBucket"], Prefix="late/")["Contents"]
    assert [found["Key"] for found in outputs] == ["late/result.png"]


def test_a_message_that_cannot_be_read_ends_as_a_dead_letter_with_its_reason(
    customer: Customer, eventually: Eventually
) -> None:
    sqs, dead = customer.local.client("sqs"), customer.dead_letters()
    sqs.send_message(QueueUrl=customer.local.outputs["UploadQueueUrl"], MessageBody="this is no event")

    eventually(lambda: customer.dead_letters() == dead + 1, "the message dead")
    asked = {"MessageAttributeNames": ["All"], "VisibilityTimeout": 0, "MaxNumberOfMessages": 10}
    letters = sqs.receive_message(QueueUrl=customer.local.outputs["DeadLetterQueueUrl"], **asked)["Messages"]
    (reason,) = [letter["MessageAttributes"]["reason"] for letter in letters if letter["Body"] == "this is no event"]
    assert "no JSON" in reason["StringValue"]


def _accepted(ledger: dict[str, Any]) -> int:
    return sum(post["outcome"] == "accepted" for post in ledger["posts"])


def _parked(customer: Customer, name: str) -> str | None:
    parked = why_parked(render, state_in(customer.operator.table)) if (render := customer.render(name)) else None
    return parked["reason"] if parked else None


def _kill_workers(local: LocalStack) -> list[str]:
    """Kill -9 every Lambda worker of this cloud; returns the names of their functions."""
    port, killed = str(httpx.URL(local.endpoint).port), []
    for process in Path("/proc").glob("[0-9]*"):
        variables = _environment(process)
        function = variables.get("AWS_LAMBDA_FUNCTION_NAME")
        if function and variables.get("GATEWAY_PORT") == port:
            os.kill(int(process.name), signal.SIGKILL)
            killed.append(function)
    return killed


def _environment(process: Path) -> dict[str, str]:
    try:
        text = (process / "environ").read_text(errors="ignore")
    except OSError:
        return {}
    return dict(variable.split("=", 1) for variable in text.split("\0") if "=" in variable)
