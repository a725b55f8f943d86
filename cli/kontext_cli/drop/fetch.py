"""`kontext fetch`: save the picture of a pair that was delivered; pays nothing."""

from __future__ import annotations

from pathlib import Path

from kontext.model import Status
from kontext_cli import target
from kontext_cli.drop.client import DropClient
from kontext_cli.drop.saving import Destination, other_kind
from kontext_cli.errors import CommandError
from kontext_cli.explain import the_pair
from kontext_cli.target import Target
from kontext_cli.terminal import print_json, progress


def run(prefix: str, save_as: str | None, *, stack: str | None, as_json: bool) -> int:
    """Save the picture of the pair under a prefix, its last separator left out or not; returns the exit code."""
    return carry_out(target.find(stack), prefix, save_as, as_json=as_json)


def carry_out(chosen: Target, prefix: str, save_as: str | None, *, as_json: bool) -> int:
    """The same, for a stack that is found."""
    client, pair = DropClient(chosen), the_pair(chosen, prefix)
    result = pair.renders[0].result if pair.status == Status.DELIVERED else None
    if result is None:
        why = f" ({pair.detail})" if pair.detail else ""
        raise CommandError(f"There is no picture to fetch: {pair.prefix} is {pair.status}{why}.")
    key = str(result["key"])
    with Destination(save_as, pair.prefix.rstrip("/_-") or "picture") as destination, progress() as shown:
        suffix = Path(key).suffix
        file = destination.save(suffix, lambda opened: client.fetch(key, opened))
        shown.step(f"{key} is saved as {file}{other_kind(file, suffix)}")
    if as_json:
        print_json({"prefix": pair.prefix, "bucket": client.outputs, "key": key, "file": str(file)})
    return 0
