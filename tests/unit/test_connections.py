"""What the functions hold on to: the links that Segmind is given must work in every region."""

import httpx
import pytest

from connections import Connections


@pytest.mark.parametrize("region", ["us-east-1", "eu-central-1", "ap-east-1"])
def test_a_link_names_the_regional_host_of_its_bucket(monkeypatch: pytest.MonkeyPatch, region: str) -> None:
    # The global host answers a new bucket with a redirect, and the signature is void on the host it leads to.
    monkeypatch.setenv("AWS_DEFAULT_REGION", region)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    inputs = Connections({"INPUT_BUCKET": "drops", "MAX_INPUT_MEGABYTES": "20", "MAX_INPUT_MEGAPIXELS": "50"}).inputs

    link = httpx.URL(inputs.link({"key": "taj/1.png", "version_id": "v1"}))

    assert link.host in (f"drops.s3.{region}.amazonaws.com", "drops.s3.amazonaws.com")
    assert region == "us-east-1" or region in link.host
