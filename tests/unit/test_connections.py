"""What the functions hold on to: links that work in every region, and clients that give up while the function lives."""

from typing import Any

import httpx
import pytest

from kontext.aws import config
from kontext.connections import Connections
from kontext.pipeline.post import TIME_FOR_A_SUBMIT
from kontext.segmind.exchange import ANSWER_SECONDS
from simulation.template import Template


@pytest.mark.parametrize("region", ["us-east-1", "eu-central-1", "ap-east-1"])
def test_a_link_names_the_regional_host_of_its_bucket(monkeypatch: pytest.MonkeyPatch, region: str) -> None:
    # The global host answers a new bucket with a redirect, and the signature is void on the host it leads to.
    monkeypatch.setenv("AWS_DEFAULT_REGION", region)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    inputs = Connections({**Template().function("SubmitFunction").environment, "INPUT_BUCKET": "drops"}).inputs

    link = httpx.URL(inputs.presign({"key": "taj/1.png", "version_id": "v1"}))

    assert link.host in (f"drops.s3.{region}.amazonaws.com", "drops.s3.amazonaws.com")
    assert region == "us-east-1" or region in link.host


@pytest.mark.parametrize("service", ["dynamodb", "s3", "secretsmanager", "sns", "sqs", "stepfunctions"])
def test_a_service_that_never_answers_is_given_up_while_the_function_lives(
    monkeypatch: pytest.MonkeyPatch, service: str
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")

    given = Connections({}).client(service).meta.config

    assert waits(given) < min(Template().function(name).timeout for name in ("SubmitFunction", "FinalizeFunction"))


def test_what_remembers_a_paid_job_is_never_cut_off_by_the_end_of_its_function() -> None:
    after_the_answer = sum(waits(config(service)) for service in ("dynamodb", "stepfunctions"))

    assert ANSWER_SECONDS + after_the_answer < TIME_FOR_A_SUBMIT < Template().function("SubmitFunction").timeout


def waits(given: Any) -> float:
    """The most seconds that a client asks and waits: its pauses between the tries double, from a second on."""
    tries = given.retries["total_max_attempts"]
    return float(tries * (given.connect_timeout + given.read_timeout) + sum(2**n for n in range(tries - 1)))
