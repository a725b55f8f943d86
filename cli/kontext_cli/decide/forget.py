"""`kontext forget`: every version of a pair's images, its pictures, its prompt and its record: pictures of people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from rich.markup import escape

from kontext.drops import keys, pairs
from kontext.drops.reads import read_key
from kontext.drops.waiters import Waiters
from kontext.dynamodb import EXISTS, key_of
from kontext.model import ENDED, Status
from kontext.text import escape_line
from kontext_cli import target
from kontext_cli.decide.operate import Operator
from kontext_cli.errors import CommandError
from kontext_cli.read.records import SEPARATORS
from kontext_cli.terminal import print_json, terminal

AT_ONCE = 1000


class Kept(NamedTuple):
    """A version of an object, or a delete marker."""

    bucket: str
    key: str
    version_id: str


class Forgetting:
    """What is kept of one pair. Raises CommandError if there is none, or if it has not ended."""

    def __init__(self, operator: Operator, prefix: str) -> None:
        self.operator = operator
        self.s3 = operator.chosen.client("s3")
        found = (operator.drops.get(prefix + separator) for separator in SEPARATORS)
        pair = next((pair for pair in found if pair), None)
        if pair is None:
            raise CommandError(f"There is no pair {prefix!r} in {operator.chosen.name}.")
        self.pair = pair
        self.renders = operator.renders_of(pair)
        for render in self.renders:
            if render["status"] not in ENDED or render["status"] == Status.UNCERTAIN:
                first = "kontext cancel" if render["status"] == Status.CLAIMED else "kontext status"
                raise CommandError(f"{pair.prefix!r} has a render that is {render['status']}: `{first}` comes first.")
        self.versions = [*self._dropped(), *self._made()]

    @property
    def named_images(self) -> list[str]:
        """The images of it that are objects of their own, or another pair's: others may name them as well."""
        keys_named = {image["key"] for render in self.renders for image in render.get("inputs", ()) if "key" in image}
        return sorted(keys_named - {one.key for one in self.versions})

    def _dropped(self) -> Iterator[Kept]:
        for one in self._listed("InputBucket", self.pair.prefix):
            part = keys.parse(one.key)
            if part and part.prefix == self.pair.prefix:
                yield one

    def _made(self) -> Iterator[Kept]:
        prefix = self.pair.prefix
        made = {
            keys.error_key(prefix),
            *(keys.result_key(prefix, one) for one in keys.RESULT_FORMATS),
            *self.pair.written,
        }
        made |= {
            keys.superseded_key(prefix, one["render_id"], kind) for one in self.renders for kind in keys.RESULT_FORMATS
        }
        for key in sorted(made):
            yield from (one for one in self._listed("OutputBucket", key) if one.key == key)

    def _listed(self, bucket: str, prefix: str) -> Iterator[Kept]:
        name = self.operator.chosen.output(bucket)
        for page in self.s3.get_paginator("list_object_versions").paginate(Bucket=name, Prefix=prefix):
            for one in (*page.get("Versions", ()), *page.get("DeleteMarkers", ())):
                yield Kept(name, one["Key"], one["VersionId"])

    def carry_out(self) -> None:
        """Delete it all: the record last, so that the same command goes on where it was stopped."""
        for bucket in {one.bucket for one in self.versions}:
            of_bucket: list[Any] = [
                {"Key": one.key, "VersionId": one.version_id} for one in self.versions if one.bucket == bucket
            ]
            for start in range(0, len(of_bucket), AT_ONCE):
                some = {"Objects": of_bucket[start : start + AT_ONCE], "Quiet": True}
                if errors := self.s3.delete_objects(Bucket=bucket, Delete=some).get("Errors"):
                    raise CommandError(f"{errors[0]['Key']} could not be deleted: {errors[0].get('Message', '')}")
        self._forget_record()

    def _forget_record(self) -> None:
        table, prefix = self.operator.table, self.pair.prefix
        for key in self.pair.waits_for:
            Waiters(table).forget(key, prefix)
        places = [read_key(key) for key in sorted({one.key for one in self.versions})]
        own = [place for place in places if table.get(place)]
        items = [key_of(item) for item in table.query(pairs.partition(prefix))]
        for place in (*own, *sorted(items, key=lambda key: key == pairs.pair_key(prefix))):
            table.delete(place, EXISTS)


def run(prefix: str, *, delete: bool, stack: str | None, as_json: bool) -> int:
    """Say what is kept of a pair, and with `delete` delete it for good; returns the exit code."""
    return forget(Operator(target.find(stack)), prefix, delete=delete, as_json=as_json)


def forget(operator: Operator, prefix: str, *, delete: bool, as_json: bool) -> int:
    """The same, for a stack that is found."""
    forgetting, console = Forgetting(operator, prefix), terminal(stderr=as_json)
    pair, versions = forgetting.pair.prefix, forgetting.versions
    if delete:
        forgetting.carry_out()
    will = "Deleted" if delete else "Would delete"
    text = (
        f"{will} for good: {len(versions)} versions in both buckets, {len(forgetting.renders)} renders on the record."
    )
    console.print(escape(f"{escape_line(pair)}: {text}"), soft_wrap=True)
    for key in forgetting.named_images:
        console.print(escape(f"Not deleted, as other pairs may name it: {escape_line(key)}"), soft_wrap=True)
    if not delete:
        console.print("Say --delete to do it. Nothing brings it back.")
    if as_json:
        objects = [one._asdict() for one in versions]
        print_json({"prefix": pair, "objects": objects, "named": forgetting.named_images, "deleted": delete})
    return 0
