"""A folder of photographs, and tables and drops in it."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from kontext_cli.target import Target
from tests.aws import Aws
from tests.unit.cli.backfill.pairs import OUTPUTS, Encoded


@pytest.fixture
def target(aws: Aws, renders_table: str) -> Target:
    aws("s3").create_bucket(Bucket="inputs")
    return Target("test", OUTPUTS | {"RendersTable": renders_table}, functools.cache(aws))


@pytest.fixture
def folder(tmp_path: Path, encoded: Encoded) -> Path:
    """Two photographs, as `cat.png` and `cup.jpg`."""
    (tmp_path / "cat.png").write_bytes(encoded("PNG"))
    (tmp_path / "cup.jpg").write_bytes(encoded("JPEG"))
    return tmp_path


@pytest.fixture
def table(folder: Path) -> Callable[..., Path]:
    """Writes a table into the folder: `table("name,image 1,…", "cat,cat.png,…")`."""

    def write(*lines: str, encoding: str = "utf-8") -> Path:
        path = folder / "pairs.csv"
        path.write_bytes("\n".join(lines).encode(encoding))
        return path

    return write


@pytest.fixture
def drop_folder(folder: Path) -> Callable[..., Path]:
    """Makes a folder of drops: file names, the pictures among them filled, with `texts` beside them."""

    def make(*pictures: str, **texts: str) -> Path:
        root = folder / "drops"
        for name in pictures:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(folder / "cat.png", root / name)
        for name, text in texts.items():
            file = root / name.replace("__", "/").replace("_json", ".json").replace("_txt", ".txt")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return root

    return make
