"""What is deployed stays light: the size of what is uploaded, and how much a function loads before its handler."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import cold_start, layer
from kontext_local.project import ROOT

MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def build() -> Path:
    """What `sam build` makes; made once for all tests."""
    return layer.built()


@pytest.fixture(scope="module")
def places(build: Path) -> Iterator[dict[str, str]]:
    with cold_start.places(build) as where:
        yield where


def test_the_layers_are_small(build: Path) -> None:
    sizes = {name: layer.zipped(build / name) for name in layer.ARTIFACTS}

    assert MEGABYTE < sizes["DependenciesLayer"] <= 1.6 * MEGABYTE
    assert sum(sizes.values()) <= 2.2 * MEGABYTE


@pytest.mark.parametrize("function", cold_start.SERVICES)
def test_a_function_loads_little_beside_its_packages(places: dict[str, str], function: str) -> None:
    ours, floor = cold_start.compare(function, places[function], starts=1)

    own = len(list((ROOT / "layers" / "kontext" / "python").rglob("*.py")))

    assert floor.modules > 300  # boto3 and httpx
    assert ours.modules - floor.modules - own <= 60
