"""What a table or a folder of pairs holds, and what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kontext.errors import BadDrop
from kontext.images.image import Limits
from kontext_cli.backfill import command as backfill
from kontext_cli.backfill.sources import read
from kontext_cli.errors import CommandError
from kontext_cli.target import Target
from tests.unit.cli.backfill.pairs import (
    HEAD,
    LIMITS,
    REFERENCES,
    ROW,
    Described,
    planned,
    upload,
)


def stack(target: Target, **clients: Any) -> Target:
    """The stack as the command finds it, some of its clients replaced."""
    chosen = {"cloudformation": Described(), **clients}
    return Target("shop", target.outputs, lambda name: chosen.get(name) or target.client(name))


@pytest.mark.parametrize(
    ("lines", "encoding"),
    [
        pytest.param((HEAD, ROW), "utf-8", id="plain"),
        pytest.param((HEAD, ROW), "utf-8-sig", id="with a byte order mark"),
        pytest.param(("Name;Image_1;INPUT-IMAGE-2;Prompt", ROW.replace(",", ";")), "utf-8", id="semicolons"),
        pytest.param((HEAD, "", ROW, ",,,"), "utf-8", id="empty rows"),
        pytest.param((f"{HEAD},seed", f"{ROW},"), "utf-8", id="an empty cell"),
    ],
)
def test_a_table_is_read_as_spreadsheets_write_it(
    table: Callable[..., Path], lines: tuple[str, ...], encoding: str
) -> None:
    source = read(table(*lines, encoding=encoding), "", LIMITS, REFERENCES)

    (pair,) = source.pairs
    assert source.wrong == []
    assert [upload.key for upload in pair.uploads] == ["shop/cat/request.json", "shop/cat/1.png", "shop/cat/2.jpg"]
    assert pair.parameters == {"prompt": "A cat."}


def test_a_table_may_ask_for_everything_that_a_request_may(table: Callable[..., Path]) -> None:
    head = f"{HEAD},aspect ratio,output format,safety tolerance,seed"
    row = "cat,https://shop.example/cat.png,cup.jpg,„Ein Kätzchen“ 🐈,16:9,jpg,0,-1"

    (pair,) = read(table(head, row), "summer/", LIMITS, REFERENCES).pairs

    assert json.loads(pair.uploads[0].body) == {
        "prompt": "„Ein Kätzchen“ 🐈",
        "input_image_1": "https://shop.example/cat.png",
        "aspect_ratio": "16:9",
        "output_format": "jpg",
        "safety_tolerance": 0,
        "seed": -1,
    }
    assert [upload.key for upload in pair.uploads] == ["summer/cat/request.json", "summer/cat/2.jpg"]


@pytest.mark.parametrize(
    ("row", "why"),
    [
        pytest.param(",cat.png,cup.jpg,", "it has no name", id="no name"),
        pytest.param("a,cat.png,,", "it has no image 2", id="no image"),
        pytest.param("a,cat.png,gone.png,", "gone.png: No such file", id="no such file"),
        pytest.param("a,cat.png,pairs.csv,", "pairs.csv: it is not a PNG", id="not a picture"),
        pytest.param("a,cat.png,.,", "Is a directory", id="a folder"),
        pytest.param("../a,cat.png,cup.jpg,", "steps", id="a name that climbs"),
        pytest.param(f"a,cat.png,cup.jpg,{'p' * 5001}", "prompt is", id="a prompt that is too long"),
        pytest.param("a,cat.png,http://x.example/2.png,", "No such file", id="plain http"),
        pytest.param("a,cat.png,https://10.0.0.1/2.png,", "input_image_2", id="an address of no use to Segmind"),
        pytest.param("a,cat.png,cup.jpg,x,more", "5 cells", id="too many cells"),
        pytest.param("good,cat.png,cup.jpg,", "it has the name of row 2 (good)", id="a name twice"),
    ],
)
def test_a_wrong_row_is_named_and_the_others_are_dropped(
    target: Target, table: Callable[..., Path], row: str, why: str
) -> None:
    source = read(table(HEAD, "good,cat.png,cup.jpg,", row), "", LIMITS, REFERENCES)

    uploaded = upload(target, source)

    (wrong,) = source.wrong
    assert wrong.where.startswith("row 3")
    assert why in wrong.why
    assert uploaded == ["good/"]


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        pytest.param((), "without name, image 1 and image 2", id="empty"),
        pytest.param(("name,image 1",), "without name, image 1 and image 2", id="a column is missing"),
        pytest.param((f"{HEAD},image_1",), "the column 'image_1'", id="a column twice"),
    ],
)
def test_a_table_of_something_else_is_refused(table: Callable[..., Path], lines: tuple[str, ...], why: str) -> None:
    with pytest.raises(CommandError, match=why):
        read(table(*lines), "", LIMITS, REFERENCES)


@pytest.mark.parametrize(
    ("lines", "encoding", "row"),
    [
        pytest.param(("sep=;", HEAD.replace(",", ";"), "a;cat.png;cup.jpg;x"), "utf-8-sig", 3, id="a line for Excel"),
        pytest.param(("", ",,,", HEAD, "a,cat.png,cup.jpg,x"), "utf-8", 4, id="empty rows first"),
        pytest.param(
            (HEAD.replace(",", "\t"), "a\tcat.png\tcup.jpg\tgr\u00f6\u00dfer"), "utf-16", 2, id="Unicode text"
        ),
    ],
)
def test_a_table_is_read_as_excel_writes_it(
    table: Callable[..., Path], lines: tuple[str, ...], encoding: str, row: int
) -> None:
    source = read(table(*lines, encoding=encoding), "", LIMITS, REFERENCES)

    assert [(pair.prefix, pair.where) for pair in source.pairs] == [("a/", f"row {row} (a)")]


@pytest.mark.parametrize("cell", ["16:9", "16:09", "16:09:00", "16x9"])
def test_a_ratio_that_excel_took_for_a_time_is_one(table: Callable[..., Path], cell: str) -> None:
    source = read(table(f"{HEAD},aspect ratio", f"a,cat.png,cup.jpg,x,{cell}"), "", LIMITS, REFERENCES)

    (pair,) = source.pairs
    assert pair.parameters["aspect_ratio"] == "16:9"


def test_a_column_that_means_nothing_is_named_and_the_rest_is_read(
    target: Target, table: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = table(f"{HEAD},colour", "a,cat.png,cup.jpg,x,red")

    backfill.carry_out(stack(target), path, "", upload=False, as_json=False)

    assert "left out: 'colour'; the columns are: name, image 1" in capsys.readouterr().out


def test_a_table_in_another_encoding_is_refused(table: Callable[..., Path]) -> None:
    with pytest.raises(CommandError, match="not UTF-8"):
        read(table(HEAD, "Kätzchen,cat.png,cup.jpg,", encoding="latin-1"), "", LIMITS, REFERENCES)


def test_a_place_in_the_bucket_that_no_key_can_begin_with_is_refused(folder: Path) -> None:
    with pytest.raises(BadDrop, match="steps"):
        read(folder, "summer/../winter", LIMITS, REFERENCES)


def test_a_file_whose_key_would_be_too_long_stays_here(drop_folder: Callable[..., Path]) -> None:
    source = read(drop_folder("a/1.png", "a/2.png"), "/".join(["s" * 220] * 4), LIMITS, REFERENCES)
    longer = read(drop_folder(f"{'d' * 200}/1.png"), "/".join(["s" * 220] * 4), LIMITS, REFERENCES)

    assert source.wrong == []
    assert "longer than a key of S3" in longer.wrong[0].why


def test_what_is_neither_a_folder_nor_a_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="neither a folder nor a table"):
        read(tmp_path / "nothing", "", LIMITS, REFERENCES)


def test_a_picture_that_the_stack_would_reject_stays_here(table: Callable[..., Path]) -> None:
    source = read(table(HEAD, ROW), "", Limits(megapixels=0.00001), REFERENCES)

    assert source.pairs == []
    assert "million are allowed" in source.wrong[0].why


@pytest.mark.parametrize(
    ("pictures", "texts", "why"),
    [
        pytest.param(("a/1.png",), {}, "image 2 is missing", id="half a pair"),
        pytest.param(("a/1.png", "a/1.jpg", "a/2.png"), {}, "two files claim to be image 1", id="an image twice"),
        pytest.param(
            ("a/1.png", "a/2.png"), {"a__request_json": '{"colour": 1}'}, "unknown field", id="a wrong request"
        ),
        pytest.param(("a/1.png", "a/2.png"), {"a__prompt_txt": "{}"}, "prompt.txt", id="a wrong prompt"),
        pytest.param(
            ("a/1.png",),
            {"a__request_json": '{"input_image_2": "/shared/logo.png"}'},
            "names shared/logo.png, which is neither here nor in the bucket",
            id="an image that is nowhere",
        ),
        pytest.param(
            ("a/1.png", "ann/logo.png"),
            {"a__request_json": '{"input_image_2": "/ann/logo.png"}'},
            "a request in a/ may name only what lies in a/ and shared/",
            id="an image of another's folder",
        ),
    ],
)
def test_a_wrong_pair_of_a_folder_is_named(
    target: Target, drop_folder: Callable[..., Path], pictures: tuple[str, ...], texts: dict[str, str], why: str
) -> None:
    plan = planned(target, read(drop_folder(*pictures, **texts), "", LIMITS, REFERENCES))

    (wrong,) = plan.wrong
    assert wrong.where == "a/"
    assert why in wrong.why
    assert plan.todo == []


def test_a_table_that_no_spreadsheet_writes_is_refused_in_words(table: Callable[..., Path]) -> None:
    with pytest.raises(CommandError, match="is no table"):
        read(table(HEAD, f"cat,{'x' * 200_000},cup.jpg,"), "", LIMITS, REFERENCES)
