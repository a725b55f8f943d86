"""`kontext backfill`: what it finds wrong, what it says that it costs, and what it uploads."""

from __future__ import annotations

import errno
import functools
import hashlib
import io
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from kontext.drops.input_bucket import Limits
from kontext.drops.references import References
from kontext.errors import BadDrop
from kontext.throttle.rate_limiter import WINDOW_SECONDS
from kontext_cli import backfill
from kontext_cli.errors import CommandError, Unfinished
from kontext_cli.plan import Budget, Plan
from kontext_cli.sources import Source, read
from kontext_cli.target import Target

Aws = Callable[[str], Any]
Encoded = Callable[..., bytes]

SETTINGS = {
    "DefaultPrompt": "Bring them together.",
    "MaxInputMegabytes": "50",
    "MaxInputMegapixels": "100",
    "PricePerRender": "0.05",
    "DailySpendLimit": "25",
    "RequestsPerMinute": "50",
}
OUTPUTS = {"InputBucket": "inputs", "OutputBucket": "pictures", "RendersTable": "renders"}
LIMITS = Limits()
REFERENCES = References(("shared/",))
UNREADABLE = Path("/proc/self/mem")


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


def planned(target: Target, source: Source, **settings: str) -> Plan:
    return Plan(target, source, SETTINGS | settings)


def upload(target: Target, source: Source) -> list[str]:
    """The prefixes that were uploaded."""
    return [job.pair.prefix for job in planned(target, source).upload()]


def keys(target: Target) -> list[str]:
    """The keys in the input bucket."""
    return [one["Key"] for one in target.client("s3").list_objects_v2(Bucket="inputs").get("Contents", ())]


HEAD = "name,image 1,image 2,prompt"
ROW = "shop/cat,cat.png,cup.jpg,A cat."


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


def test_a_folder_is_read_by_the_drop_convention(target: Target, drop_folder: Callable[..., Path]) -> None:
    root = drop_folder(
        *("taj/1.png", "taj/2.JPG", "cafe_1.png", "cafe_2.webp", "notes.png", ".hidden/1.png"),
        taj__prompt_txt="A selfie.",
        cafe_request_json='{"seed": 7}',
    )

    source = read(root, "summer/", LIMITS, REFERENCES)

    assert upload(target, source) == ["summer/cafe_", "summer/taj/"]
    assert source.ignored == ["summer/notes.png"]
    assert source.wrong == []
    assert [upload.key for upload in source.pairs[1].uploads] == [
        *("summer/taj/prompt.txt", "summer/taj/1.png", "summer/taj/2.JPG")
    ]


def test_the_request_is_uploaded_before_the_images(target: Target, drop_folder: Callable[..., Path]) -> None:
    root = drop_folder("a/1.png", "shared/logo.png", a__request_json='{"input_image_2": "/shared/logo.png"}')

    (job,) = planned(target, read(root, "", LIMITS, REFERENCES)).todo

    assert [upload.key for upload in job.uploads] == ["a/request.json", "a/1.png", "shared/logo.png"]


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


def test_what_the_bucket_has_already_completes_a_pair(target: Target, drop_folder: Callable[..., Path]) -> None:
    root = drop_folder("a/1.png", a__request_json='{"input_image_2": "/shared/logo.png"}')
    target.client("s3").put_object(Bucket="inputs", Key="shared/logo.png", Body=b"x")

    assert upload(target, read(root, "", LIMITS, REFERENCES)) == ["a/"]


def test_a_second_run_uploads_nothing(target: Target, table: Callable[..., Path]) -> None:
    source = read(table(HEAD, ROW), "", LIMITS, REFERENCES)
    first = upload(target, source)

    plan = planned(target, source)

    assert first == ["shop/cat/"]
    assert [job.kind for job in plan.jobs] == ["same"]
    assert plan.price == 0.0


def test_an_interrupted_run_goes_on_where_it_was(target: Target, table: Callable[..., Path]) -> None:
    source = read(table(HEAD, ROW, "dog,cat.png,cup.jpg,"), "", LIMITS, REFERENCES)
    plan = planned(target, source)
    list(plan.bucket.upload(plan.todo[0].pair.prefix, plan.todo[0].uploads[:2]))

    again = planned(target, source)

    assert [[upload.key for upload in job.uploads] for job in again.todo] == [
        *(["shop/cat/2.jpg"], ["dog/1.png", "dog/2.jpg"])
    ]
    assert [job.kind for job in again.jobs] == ["new", "new"]


def test_an_interrupted_pair_with_named_images_goes_on(target: Target, drop_folder: Callable[..., Path]) -> None:
    root = drop_folder("a/x.png", "a/y.png", a__request_json='{"input_image_1": "x.png", "input_image_2": "y.png"}')
    plan = planned(target, read(root, "", LIMITS, REFERENCES))
    list(plan.bucket.upload(plan.todo[0].pair.prefix, plan.todo[0].uploads[:1]))

    again = planned(target, read(root, "", LIMITS, REFERENCES))

    assert [upload.key for job in again.todo for upload in job.uploads] == ["a/x.png", "a/y.png"]
    assert again.wrong == []


def test_another_prompt_for_a_dropped_pair_is_said_to_be_paid_anew(target: Target, table: Callable[..., Path]) -> None:
    upload(target, read(table(HEAD, ROW), "", LIMITS, REFERENCES))

    plan = planned(target, read(table(HEAD, ROW.replace("A cat.", "A dog.")), "", LIMITS, REFERENCES))

    assert [(job.kind, [upload.key for upload in job.uploads]) for job in plan.jobs] == [
        ("changed", ["shop/cat/request.json"])
    ]
    assert plan.price == pytest.approx(0.05)


def test_a_pair_of_which_each_part_would_be_paid_is_refused(target: Target, table: Callable[..., Path]) -> None:
    upload(target, read(table(HEAD, ROW), "", LIMITS, REFERENCES))

    plan = planned(target, read(table(HEAD, "shop/cat,cup.jpg,cat.png,A dog."), "", LIMITS, REFERENCES))

    assert plan.todo == []
    assert plan.wrong[0].where == "row 2 (shop/cat)"
    assert "3 parts of it (request.json, 1.jpg, 2.png) differ" in plan.wrong[0].why
    assert "3 x USD 0.05 = USD 0.15" in plan.wrong[0].why
    assert "give it another name, or change one part at a time (USD 0.05 each)" in plan.wrong[0].why


def test_an_image_under_another_extension_is_another_content(
    target: Target, table: Callable[..., Path], encoded: Encoded
) -> None:
    upload(target, read(table(HEAD, ROW), "", LIMITS, REFERENCES))
    target.client("s3").put_object(Bucket="inputs", Key="shop/cat/1.webp", Body=encoded("WEBP"))

    plan = planned(target, read(table(HEAD, ROW), "", LIMITS, REFERENCES))

    assert [(job.kind, [upload.key for upload in job.uploads]) for job in plan.jobs] == [
        ("changed", ["shop/cat/1.png"])
    ]


class Foreign:
    """An S3 client whose listings tell ETags that are no MD5 sums."""

    def __init__(self, client: Any, etag: str) -> None:
        self.client = client
        self.etag = etag

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)

    def get_paginator(self, operation: str) -> Foreign:
        self.pages = self.client.get_paginator(operation)
        return self

    def paginate(self, **asked: Any) -> Any:
        for page in self.pages.paginate(**asked):
            for one in page.get("Contents", ()):
                one["ETag"] = f'"{self.etag}"'
            yield page


@pytest.mark.parametrize("is_same", [pytest.param(True, id="the same"), pytest.param(False, id="of the same size")])
@pytest.mark.parametrize(
    "etag",
    [
        pytest.param(hashlib.md5(b"encrypted").hexdigest(), id="encrypted"),
        pytest.param("0123-2", id="uploaded in parts by another tool"),
    ],
)
def test_a_photograph_whose_etag_tells_nothing_is_the_same_only_if_its_content_is(
    target: Target, table: Callable[..., Path], etag: str, is_same: bool
) -> None:
    source = read(table(HEAD, ROW), "", LIMITS, REFERENCES)
    (photograph,) = [upload for upload in source.pairs[0].uploads if upload.slot == "1"]
    s3 = target.client("s3")
    s3.put_object(Bucket="inputs", Key=photograph.key, Body=photograph.body if is_same else photograph.body[::-1])
    clients = Target("test", target.outputs, lambda name: Foreign(s3, etag) if name == "s3" else target.client(name))

    plan = planned(clients, source)

    assert plan.bucket.holds(photograph) == is_same


def test_without_any_prompt_nothing_can_be_rendered(target: Target, table: Callable[..., Path]) -> None:
    source = read(table(HEAD, "cat,cat.png,cup.jpg,"), "", LIMITS, REFERENCES)

    assert planned(target, source).without_prompt == 1
    assert "no DefaultPrompt" in planned(target, source, DefaultPrompt="").wrong[0].why


@pytest.mark.parametrize(
    ("pictures", "seconds"),
    [
        pytest.param(0, 0, id="none"),
        pytest.param(100, 100 * WINDOW_SECONDS / 50, id="at the pace"),
        pytest.param(400, 400 * WINDOW_SECONDS / 50, id="all that the day still pays for"),
        pytest.param(401, 3600 + WINDOW_SECONDS / 50, id="one more waits for midnight"),
        pytest.param(901, 3600 + 86_400 + WINDOW_SECONDS / 50, id="and a day later"),
    ],
)
def test_the_time_follows_the_pace_and_the_daily_limit(pictures: int, seconds: float) -> None:
    budget = Budget(price=0.05, daily_limit=25, reserved=5, per_minute=50)

    assert budget.seconds(pictures, 82_800.0) == pytest.approx(seconds)


def test_a_limit_below_the_price_never_ends() -> None:
    assert Budget(price=0.05, daily_limit=0.01, reserved=0, per_minute=50).seconds(1, 0.0) is None


class Described:
    """A CloudFormation client that knows one stack."""

    def describe_stacks(self, **asked: str) -> dict[str, Any]:
        given = [{"ParameterKey": name, "ParameterValue": value} for name, value in SETTINGS.items()]
        return {"Stacks": [{**asked, "Parameters": given}]}


class Interrupting:
    """An S3 client whose user presses Ctrl-C at the last of `puts`, or at which something else happens then."""

    def __init__(self, client: Any, puts: int, problem: BaseException | None = None) -> None:
        self.client = client
        self.left = puts
        self.problem = problem or KeyboardInterrupt()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)

    def put_object(self, **asked: Any) -> Any:
        self.left -= 1
        if not self.left:
            raise self.problem
        return self.client.put_object(**asked)


def stack(target: Target, **clients: Any) -> Target:
    """The stack as the command finds it, some of its clients replaced."""
    chosen = {"cloudformation": Described(), **clients}
    return Target("shop", target.outputs, lambda name: chosen.get(name) or target.client(name))


def test_nothing_is_uploaded_unless_told_to(
    target: Target, table: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = table(HEAD, ROW, "dog,gone.png,cup.jpg,")

    code = backfill.carry_out(stack(target), path, "", upload=False, as_json=True)

    said = capsys.readouterr()
    told = json.loads(said.out)
    assert code == 1
    assert (told["new"], told["price_usd"], told["uploaded"]) == (["shop/cat/"], 0.05, 0)
    assert told["wrong"] == [{"where": "row 3 (dog)", "why": "gone.png: No such file or directory"}]
    assert "Nothing has been uploaded: --upload does it." in said.err
    assert "USD 0.05 (1 picture at USD 0.05)" in said.err
    assert keys(target) == []


def test_after_an_interrupt_the_same_command_goes_on(
    target: Target, table: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = table(HEAD, ROW, ROW.replace("cat,", "dog,", 1))
    pressed = stack(target, s3=Interrupting(target.client("s3"), puts=5))

    stopped = backfill.carry_out(pressed, path, "", upload=True, as_json=False)
    said, there = capsys.readouterr().out, keys(target)
    again = backfill.carry_out(stack(target), path, "", upload=True, as_json=True)

    told = json.loads(capsys.readouterr().out)
    assert (stopped, again) == (130, 0)
    assert there == ["shop/cat/1.png", "shop/cat/2.jpg", "shop/cat/request.json", "shop/dog/request.json"]
    assert "Stopped after 1 of 2 pairs. They go on by themselves, and are, or will be, paid: USD 0.05." in said
    assert "Of shop/dog/ 1 of 3 parts are there, and perhaps 1.png; once all are, it is paid, too (USD 0.05)." in said
    assert "The same command goes on from there" in said
    assert (told["dropped_before"], told["new"], told["uploaded"]) == (["shop/cat/"], ["shop/dog/"], 1)


def test_a_backfill_that_aws_stops_says_what_is_paid(
    target: Target, table: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = table(HEAD, ROW, ROW.replace("cat,", "dog,", 1))
    away = EndpointConnectionError(endpoint_url="https://s3.example")
    gone = stack(target, s3=Interrupting(target.client("s3"), puts=6, problem=away))

    code = backfill.carry_out(gone, path, "", upload=True, as_json=True)

    said = capsys.readouterr()
    assert code == 3
    assert "Stopped after 1 of 2 pairs: AWS could not be reached" in said.err
    assert "are, or will be, paid: USD 0.05." in said.err
    assert "Of shop/dog/ 2 of 3 parts are there, and perhaps 2.jpg; once all are, it is paid, too" in said.err
    assert "could not be reached" in json.loads(said.out)["error"]["message"]


def test_a_file_that_vanishes_before_its_upload_costs_only_its_own_pair(
    target: Target, table: Callable[..., Path], folder: Path
) -> None:
    shutil.copy(folder / "cat.png", folder / "dog.png")
    plan = planned(target, read(table(HEAD, ROW, "dog,dog.png,cup.jpg,A dog."), "", LIMITS, REFERENCES))
    (folder / "cat.png").unlink()

    uploaded = [job.pair.prefix for job in plan.upload()]

    assert uploaded == ["dog/"]
    assert plan.wrong[0].why == f"No such file or directory: {folder / 'cat.png'}"
    assert [key for key in keys(target) if key.startswith("shop/")] == []


def test_a_pair_that_somebody_else_drops_meanwhile_is_not_mixed_with_theirs(
    target: Target, table: Callable[..., Path]
) -> None:
    plan = planned(target, read(table(HEAD, ROW), "", LIMITS, REFERENCES))
    target.client("s3").put_object(Bucket="inputs", Key="shop/cat/request.json", Body=b'{"prompt": "Theirs."}')

    uploaded = list(plan.upload())

    assert uploaded == []
    assert "somebody else has just dropped shop/cat/request.json" in plan.wrong[0].why
    assert keys(target) == ["shop/cat/request.json"]


def test_a_photograph_that_comes_from_elsewhere_during_a_backfill_is_not_completed_to_a_pair(
    target: Target, table: Callable[..., Path]
) -> None:
    plan = planned(target, read(table(HEAD, ROW, "dog,cat.png,cup.jpg,"), "", LIMITS, REFERENCES))
    target.client("s3").put_object(Bucket="inputs", Key="shop/cat/2.webp", Body=b"theirs")

    uploaded = [job.pair.prefix for job in plan.upload()]

    assert uploaded == ["dog/"]
    assert "somebody else has just dropped shop/cat/2.webp" in plan.wrong[0].why
    assert "2 of 3 parts are there" in plan.wrong[0].why


def test_a_photograph_in_the_bucket_that_the_stack_rejects_leaves_the_other_pairs_alone(
    target: Target, table: Callable[..., Path], folder: Path
) -> None:
    cat = (folder / "cat.png").read_bytes()
    rejected = {"aspect-ratio": "99:1"}
    target.client("s3").put_object(Bucket="inputs", Key="shop/cat/1.png", Body=cat, Metadata=rejected)

    plan = planned(target, read(table(HEAD, ROW, "dog,cat.png,cup.jpg,"), "", LIMITS, REFERENCES))

    assert [job.pair.prefix for job in plan.jobs] == ["dog/"]
    assert "shop/cat/1.png is there with metadata that is rejected" in plan.wrong[0].why


def test_a_name_whose_keys_would_be_too_long_is_one_wrong_row(target: Target, table: Callable[..., Path]) -> None:
    source = read(table(HEAD, f"{'x' * 800},cat.png,cup.jpg,", ROW), "y" * 300, LIMITS, REFERENCES)

    assert [pair.prefix for pair in source.pairs] == [f"{'y' * 300}/shop/cat/"]
    assert "is longer than a key of S3" in source.wrong[0].why


def test_an_upload_whose_first_answer_was_lost_is_known_as_our_own(target: Target, table: Callable[..., Path]) -> None:
    plan = planned(target, read(table(HEAD, ROW), "", LIMITS, REFERENCES))
    request = plan.todo[0].uploads[0]
    target.client("s3").put_object(Bucket="inputs", Key=request.key, Body=request.body)

    assert [job.pair.prefix for job in plan.upload()] == ["shop/cat/"]


@pytest.mark.skipif(not UNREADABLE.exists(), reason="a file that nobody can read is needed, root included")
def test_a_request_that_cannot_be_read_leaves_the_other_pairs_alone(
    target: Target, drop_folder: Callable[..., Path]
) -> None:
    root = drop_folder("a/1.png", "a/2.png", "b/1.png", "b/2.png")
    (root / "a/request.json").symlink_to(UNREADABLE)

    source = read(root, "", LIMITS, REFERENCES)

    assert [pair.prefix for pair in source.pairs] == ["b/"]
    assert [(wrong.where, wrong.why) for wrong in source.wrong] == [("a/", "Input/output error")]


def test_a_table_that_no_spreadsheet_writes_is_refused_in_words(table: Callable[..., Path]) -> None:
    with pytest.raises(CommandError, match="is no table"):
        read(table(HEAD, f"cat,{'x' * 200_000},cup.jpg,"), "", LIMITS, REFERENCES)


class ReaderGone(io.StringIO):
    """A standard output whose reader goes while pairs are uploaded."""

    def write(self, text: str) -> int:
        if "uploading" in text:
            raise BrokenPipeError
        return super().write(text)


def test_a_backfill_whose_reader_goes_says_what_is_paid_where_errors_go(
    target: Target, table: Callable[..., Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = table(HEAD, ROW)
    monkeypatch.setattr(sys, "stdout", ReaderGone())

    code = backfill.carry_out(stack(target), path, "", upload=True, as_json=False)

    assert code == 141
    assert "Stopped after 1 of 1 pairs" in capsys.readouterr().err


class Full(io.StringIO):
    """A standard output on a disk that is full."""

    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_backfill_that_can_write_no_json_says_what_was_uploaded(
    target: Target, table: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = table(HEAD, ROW)
    monkeypatch.setattr(sys, "stdout", Full())

    with pytest.raises(Unfinished, match=r"No space left on device\. 1 pair uploaded"):
        backfill.carry_out(stack(target), path, "", upload=True, as_json=True)
