"""`kontext drop`: put a pair into the input bucket and fetch its result."""

from __future__ import annotations

import shlex
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from kontext.model import Status
from kontext_cli import target
from kontext_cli.drop.client import Drop, DropClient, Errand, Outcome, prepare
from kontext_cli.drop.input_bucket import BESIDE_OTHERS, Refused
from kontext_cli.drop.saving import Destination, other_kind
from kontext_cli.errors import INTERRUPTED, RENDER_FAILED, UNFINISHED, CommandError, Unfinished, explain
from kontext_cli.read.views import RenderView
from kontext_cli.target import Target
from kontext_cli.terminal import Progress, command, print_json, progress


def run(
    images: tuple[Path, Path],
    name: str | None,
    parameters: dict[str, Any],
    *,
    stack: str | None,
    wait: bool,
    seconds: float,
    save_as: str | None,
    as_json: bool,
) -> int:
    """Drop, wait if asked to, save the result; returns the exit code."""
    if save_as is not None and not wait:
        raise CommandError("With --no-wait nothing is saved: leave --output out, or wait.")
    drop = prepare(*images, name, parameters)
    # The place is tried before anything is paid.
    with Destination(save_as, drop.name, images) if wait else nullcontext() as destination:
        return carry_out(target.find(stack), drop, destination, seconds, as_json=as_json)


def carry_out(chosen: Target, drop: Drop, destination: Destination | None, seconds: float, *, as_json: bool) -> int:
    """The same, for a stack that is found, and a place that has been tried; without one nothing is waited for."""
    with progress() as shown:
        trip = Trip(chosen, drop, shown)
        trip.run(destination, seconds)
    if as_json:
        trip.print_summary()
    return RENDER_FAILED if trip.outcome and trip.outcome.error else 0


class Trip:
    """One drop from the first object to the saved picture; wherever it ends, it says what is paid."""

    def __init__(self, chosen: Target, drop: Drop, shown: Progress) -> None:
        self.stack = chosen.name
        self.drop = drop
        self.shown = shown
        self.client = DropClient(chosen)
        self.errand: Errand | None = None
        self.outcome: Outcome | None = None
        self.file: Path | None = None
        self.is_overtaken = False
        """Whether somebody else has dropped under the same name meanwhile."""

    def run(self, destination: Destination | None, seconds: float) -> None:
        """Drop and fetch. Raises Unfinished, saying what is paid, if that ends early."""
        try:
            self._run(destination, seconds)
        except KeyboardInterrupt as pressed:
            raise self._unfinished("Interrupted.", INTERRUPTED) from pressed
        except Exception as broken:
            why = explain(broken)
            if why is None:  # a bug of ours, which is shown; but not without the words
                self.shown.step(self.what_is_paid())
                raise
            if isinstance(broken, Refused):
                why, self.is_overtaken = broken.priced(self.client.price), self.errand is not None
            if self._has_begun or (self.errand and _may_have_arrived(broken)):
                raise self._unfinished(why if why.endswith(".") else f"{why}.") from broken
            raise CommandError(f"Nothing has been dropped: {why}") from broken

    def _run(self, destination: Destination | None, seconds: float) -> None:
        before = self.client.error_mark(self.drop)
        self.errand = self.client.errand(self.drop)
        self.errand.upload()
        self._tell_upload()
        if destination is None:
            self.shown.step(f"`{self._hint('status')}` shows what becomes of it")
            return
        self.outcome = self._wait(self.errand, before, seconds)
        self._tell_outcome(self.outcome)
        if key := self.outcome.key:
            suffix = Path(key).suffix
            self.file = destination.save(suffix, lambda file: self.client.fetch(key, file))
            self.shown.step(f"saved as {self.file}{other_kind(self.file, suffix)}")

    @property
    def _has_begun(self) -> bool:
        return bool(self.errand and (self.errand.uploaded or not self.errand.uploads))

    def _tell_upload(self) -> None:
        images = f"{self.drop.first.name} and {self.drop.second.name}"
        if self.errand and self.errand.uploads:
            self.shown.step(f"dropped {images} as {self.drop.prefix}")
        else:
            self.shown.step(f"{images} are there as {self.drop.prefix} with this content: nothing more is paid")

    def _wait(self, errand: Errand, before: str | None, seconds: float) -> Outcome:
        for seen in self.client.watch(errand, before, seconds):
            if isinstance(seen, Outcome):
                return seen
            self.shown.waiting(waits_for(seen))
        raise CommandError(f"No result after {seconds:.0f} s.")

    def _tell_outcome(self, outcome: Outcome) -> None:
        if outcome.error:
            self.shown.step(f"FAILED ({outcome.error.get('code', 'unknown')}): {outcome.error.get('message', '')}")
            self.shown.step(f"charged: {outcome.error.get('charged', 'unknown')}. {outcome.error.get('remedy', '')}")
        else:
            self.shown.step(f"result: {outcome.key}")

    def _unfinished(self, why: str, exit_code: int = UNFINISHED) -> Unfinished:
        return Unfinished(f"{why} {self.what_is_paid()}", self.summary(), exit_code)

    def what_is_paid(self) -> str:
        """Where the drop has got to, what of it is or may be paid, and how to go on."""
        errand = self.errand
        if errand is None:
            return "Nothing has been dropped."
        price = f"USD {self.client.price:g}"
        if self.outcome and self.outcome.key:
            lies = f"The picture is paid; it was delivered as s3://{self.client.outputs}/{self.outcome.key}"
            return f"{lies}: `{self._hint('fetch')}` saves it."
        if self.outcome:
            return f"{self.drop.prefix} has ended without a picture, as said above."
        if len(errand.uploaded) == len(errand.uploads):
            goes_on = (
                f"{self.drop.prefix} is dropped and goes on by itself: its picture is, or will be, paid ({price})."
            )
            return f"{goes_on} `{self._hint('status')}` follows it, `{self._hint('fetch')}` saves the picture then."
        there = f"{len(errand.uploaded)} of {len(errand.uploads)} parts are dropped as {self.drop.prefix}"
        if self.is_overtaken:
            return f"{there}, {BESIDE_OTHERS} ({price}). `{self._hint('status')}` shows it."
        perhaps = f"and perhaps {errand.uploads[len(errand.uploaded)].name}"
        return (
            f"{there}, {perhaps}. The picture is paid ({price}) once all are there. The same command goes on from "
            f"here with {shlex.quote(f'--name={self.drop.name}')}; `{self._hint('status')}` shows what is there."
        )

    def _hint(self, what: str) -> str:
        return command(what, "--stack", self.stack, name=self.drop.name)

    def print_summary(self) -> None:
        """Print how it stands, for programs. Raises Unfinished, saying what is paid, if that cannot be done."""
        try:
            print_json(self.summary())
        except OSError as full:
            raise self._unfinished(f"{explain(full)}.") from full

    def summary(self) -> dict[str, Any]:
        """How it stands, for `--json`."""
        outcome = self.outcome
        render = outcome.render if outcome else None
        found = {"bucket": self.client.outputs, "key": outcome.key} if outcome and outcome.key else None
        return {
            "name": self.drop.name,
            "prefix": self.drop.prefix,
            "status": self._status(),
            "render_id": render.render_id if render else None,
            "request_id": render.request_id if render else None,
            "result": found and {**found, "file": str(self.file) if self.file else None},
            "error": outcome.error if outcome else None,
        }

    def _status(self) -> str:
        if self.outcome is None:
            return "DROPPED" if self._has_begun else "NOT_DROPPED"
        if self.outcome.key:
            return Status.DELIVERED
        return (
            Status.UNCERTAIN
            if self.outcome.render and self.outcome.render.status == Status.UNCERTAIN
            else Status.FAILED
        )


def waits_for(render: RenderView | None) -> str:
    """What is being waited for."""
    if render is None:
        return "waiting for the pair to be claimed"
    return render.detail if render.parked else render.status


def _may_have_arrived(broken: Exception) -> bool:
    """Whether an upload that failed may have had its effect all the same."""
    if isinstance(broken, ClientError):
        return bool(broken.response["ResponseMetadata"]["HTTPStatusCode"] >= 500)
    return isinstance(broken, BotoCoreError)
