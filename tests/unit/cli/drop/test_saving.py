"""Where a picture is saved, and what is known of that before anything is paid."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import pytest

from kontext_cli.drop.saving import Destination, free_path, other_kind
from kontext_cli.errors import CommandError


def write(file: BinaryIO) -> None:
    file.write(b"picture")


def save(asked: str | None, name: str = "shop/cat", *inputs: Path) -> Path:
    with Destination(asked, name, inputs) as destination:
        return destination.save(".png", write)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("asked", "saved"),
    [
        pytest.param(None, "shop-cat-2.png", id="nothing said: the current folder, where none is replaced"),
        pytest.param("pictures", "pictures/shop-cat-2.png", id="a folder"),
        pytest.param("new/folder/", "new/folder/shop-cat.png", id="a folder that is not there"),
        pytest.param("new/cat.png", "new/cat.png", id="a file in a folder that is not there"),
        pytest.param("old.png", "old.png", id="a file that is there"),
    ],
)
def test_a_picture_is_saved_where_it_was_asked_for(here: Path, asked: str | None, saved: str) -> None:
    (here / "pictures").mkdir()
    for name in ("shop-cat.png", "pictures/shop-cat.png", "old.png"):
        (here / name).write_bytes(b"older")

    path = save(asked)

    assert path == here / saved
    assert path.read_bytes() == b"picture"
    assert (here / "shop-cat.png").read_bytes() == (here / "pictures/shop-cat.png").read_bytes() == b"older"
    assert list(here.rglob(".kontext-*")) == []


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        pytest.param("file/cat.png", "Not a directory", id="a file in place of its folder"),
        pytest.param(f"{'long' * 100}.png", "File name too long", id="a name that is too long"),
        pytest.param("photograph.png", "would replace the photograph", id="one of the photographs"),
        pytest.param("link.png", "would replace the photograph", id="a link to one of the photographs"),
        pytest.param("", "a picture is saved as a file, or in a folder", id="an empty variable"),
        pytest.param("-", "a picture is saved as a file, or in a folder", id="standard output"),
        pytest.param("/dev/fd/1", "neither a file nor a folder", id="where standard output goes"),
        pytest.param("/dev/null", "neither a file nor a folder", id="a device"),
        pytest.param("/proc/cat.png", "Nothing can be saved", id="a place where nothing can be made"),
    ],
)
def test_a_place_where_nothing_can_be_saved_is_known_before_anything_is_paid(here: Path, asked: str, why: str) -> None:
    for name in ("file", "photograph.png"):
        (here / name).write_bytes(b"x")
    (here / "link.png").symlink_to("photograph.png")
    before = sorted(here.iterdir())

    with pytest.raises(CommandError, match=why), Destination(asked, "cat", [here / "photograph.png"]):
        pytest.fail("there is a place")

    assert sorted(here.iterdir()) == before


def test_a_folder_that_was_made_for_nothing_is_taken_away(here: Path) -> None:
    with Destination("new/folder/cat.png", "cat"):
        assert (here / "new/folder").is_dir()

    assert list(here.iterdir()) == []


def test_a_picture_that_breaks_off_leaves_what_was_there(here: Path) -> None:
    (here / "cat.png").write_bytes(b"older")

    def break_off(file: BinaryIO) -> None:
        file.write(b"pict")
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError), Destination("cat.png", "cat") as destination:
        destination.save(".png", break_off)

    assert [(path.name, path.read_bytes()) for path in here.iterdir()] == [("cat.png", b"older")]


def test_a_link_stays_a_link(here: Path) -> None:
    (here / "real.png").write_bytes(b"older")
    (here / "link.png").symlink_to("real.png")

    save("link.png")

    assert (here / "link.png").is_symlink()
    assert (here / "real.png").read_bytes() == b"picture"


def test_a_replaced_file_keeps_who_may_read_it(here: Path) -> None:
    (here / "cat.png").touch(mode=0o600)

    save("cat.png")

    assert (here / "cat.png").stat().st_mode & 0o777 == 0o600


def test_a_name_that_no_file_may_have_is_cut() -> None:
    path = save(None, "ü" * 450)

    assert path.exists()


def test_a_result_never_replaces_a_file(here: Path) -> None:
    (here / "shop-cat.png").touch()

    assert free_path(Path(), "shop/cat", ".png") == Path("shop-cat-2.png")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        pytest.param("cat.png", "", id="a PNG"),
        pytest.param("cat.JPEG", ", and it is a png", id="a JPEG"),
        pytest.param("cat", "", id="nothing"),
    ],
)
def test_a_file_that_is_called_another_kind_of_picture_than_it_is_is_told(name: str, said: str) -> None:
    assert other_kind(Path(name), ".png") == said
