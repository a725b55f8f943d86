"""What is kept for its owner alone is so from the first byte, whatever the machine's habits are."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from kontext_local import private, stack
from kontext_local.errors import LocalCloudError


@pytest.fixture(autouse=True)
def generous() -> Iterator[None]:
    """A machine that lets everybody read what is made on it."""
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.mark.parametrize("how", ["w", "wb", "a", "ab+"])
def test_a_file_is_its_owners_before_anything_is_in_it(tmp_path: Path, how: str) -> None:
    with private.opened(tmp_path / "file", how):
        assert mode(tmp_path / "file") == 0o600


def test_an_older_file_is_closed_to_others_before_anything_is_added(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")

    with private.opened(tmp_path / "file", "a"):
        assert mode(tmp_path / "file") == 0o600


def test_a_link_that_somebody_has_left_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "file").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(OSError, match="symbolic link"):
        private.opened(tmp_path / "file", "w")


def test_a_lock_that_somebody_has_left_as_a_link_empties_no_other_file(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("dear to its owner")
    (tmp_path / stack.ALIVE).symlink_to(tmp_path / "elsewhere")

    with pytest.raises(OSError, match="symbolic link"):
        stack.hold_alive(tmp_path)
    assert (tmp_path / "elsewhere").read_text() == "dear to its owner"


@pytest.mark.parametrize("exists", [True, False])
def test_a_folder_is_its_owners(tmp_path: Path, exists: bool) -> None:
    if exists:
        (tmp_path / "home").mkdir(0o755)

    assert mode(private.folder(tmp_path / "home")) == 0o700


def test_a_folder_in_which_everybody_may_write_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir(0o777)

    with pytest.raises(LocalCloudError, match="everybody may write in it"):
        private.folder(tmp_path / "shared")
    assert mode(tmp_path / "shared") == 0o777


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    os.chown(tmp_path / "home", 12345, -1)

    with pytest.raises(LocalCloudError, match="belongs to another user"):
        private.folder(tmp_path / "home")
