"""The locked packages: every file by its hash, and nothing deployed whose licence asks for more than to be named."""

from __future__ import annotations

import re
from importlib.metadata import distribution
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEPLOYED = ROOT / "layers" / "dependencies" / "requirements.txt"
LOCKS = [DEPLOYED, *sorted((ROOT / "requirements").glob("*.txt"))]
PERMISSIVE = {"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MIT-0", "PSF-2.0"}
UNCHANGED = {"certifi": "MPL-2.0"}
"""The Mozilla licence asks only for the source of changed files, and certifi is deployed as it is."""


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_locked_package_has_a_version_and_the_hashes_of_its_files(lock: Path) -> None:
    packages = re.split(r"^(?=[a-zA-Z])", lock.read_text(), flags=re.MULTILINE)[1:]

    loose = [
        one.splitlines()[0] for one in packages if not re.match(r"\S+==\S+.*\\\n +--hash=sha256:[0-9a-f]{64}", one)
    ]

    assert packages
    assert loose == []


def test_every_lock_has_the_input_that_it_was_made_from() -> None:
    assert [lock for lock in LOCKS if not lock.with_suffix(".in").exists()] == []


@pytest.mark.parametrize("package", re.findall(r"^([\w.-]+)==", DEPLOYED.read_text(), re.MULTILINE))
def test_a_deployed_package_has_a_permissive_licence(package: str) -> None:
    said = distribution(package).metadata

    licence = next((said[name] for name in ("License-Expression", "License") if name in said), None)

    assert licence in PERMISSIVE or UNCHANGED.get(package) == licence
