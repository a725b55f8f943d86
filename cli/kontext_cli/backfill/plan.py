"""What dropping many pairs into a stack would do: which are new, what they cost, and how long they take."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from kontext.clock import day
from kontext.dynamodb import Table
from kontext.renders.ledger import ledger_key
from kontext.throttle.rate_limiter import Rate
from kontext_cli.backfill.sources import Rejection, Source
from kontext_cli.drop.input_bucket import BESIDE_OTHERS, Bucket, PlannedPair, Refused, UploadObject
from kontext_cli.drop.upload import Job, check
from kontext_cli.errors import explain
from kontext_cli.target import Target

DAY_SECONDS = 86_400


@dataclass(frozen=True)
class Budget:
    """What the stack pays for a picture, what it may spend in a UTC day, what of it is reserved, and its pace."""

    price: float
    daily_limit: float
    reserved: float
    per_minute: float

    def seconds(self, pictures: int, now: float) -> float | None:
        """How long until the last of so many pictures is asked for; None if the limit never allows it."""
        a_day, today = (int(room / self.price + 1e-6) for room in (self.daily_limit, self.daily_limit - self.reserved))
        interval = Rate(self.per_minute).interval
        if pictures <= today or not pictures:
            return pictures * interval
        if a_day < 1:
            return None
        days, rest = divmod(pictures - max(0, today) - 1, a_day)
        return DAY_SECONDS - now % DAY_SECONDS + days * DAY_SECONDS + (rest + 1) * interval


class Plan:
    """What is to be done about a source."""

    def __init__(self, target: Target, source: Source, settings: dict[str, str]) -> None:
        self.bucket = Bucket(target)
        self.bucket.load(source.pairs)
        self.wrong, self.ignored = list(source.wrong), source.ignored
        self.unknown_columns = source.unknown_columns
        self.uploaded: list[Job] = []
        self.at: Job | None = None
        """The pair at which `upload` is, or has stopped; and what of it is there."""
        self.uploads_there: list[UploadObject] = []
        self.default_prompt = settings["DefaultPrompt"]
        self.budget = _budget(target, settings)
        self.jobs = list(self._jobs(source.pairs))

    def _jobs(self, planned: list[PlannedPair]) -> Iterator[Job]:
        for pair in planned:
            try:
                yield check(self.bucket, pair, self.default_prompt)
            except Refused as refused:
                self.wrong.append(Rejection(pair.where, refused.priced(self.budget.price)))
            except OSError as problem:
                self.wrong.append(Rejection(pair.where, str(explain(problem))))

    @property
    def todo(self) -> list[Job]:
        """The pairs of which something is to be uploaded."""
        return [job for job in self.jobs if job.uploads]

    @property
    def without_prompt(self) -> int:
        """How many of them would be rendered with the stack's prompt."""
        return sum("prompt" not in job.pair.parameters for job in self.todo)

    @property
    def price(self) -> float:
        """USD for their pictures."""
        return len(self.todo) * self.budget.price

    def upload(self) -> Iterator[Job]:
        """Upload pair by pair; yields each when all of it is there. What cannot be any more becomes `wrong`."""
        for job in self.todo:
            self.at, self.uploads_there = job, []
            try:
                for upload in self.bucket.upload(job.pair.prefix, job.uploads):
                    self.uploads_there.append(upload)
            except (Refused, OSError) as problem:
                there = f"{len(self.uploads_there)} of {len(job.uploads)} parts are there, {BESIDE_OTHERS}"
                why = f"{explain(problem)}; {there}" if self.uploads_there else str(explain(problem))
                self.wrong.append(Rejection(job.pair.where, why))
            else:
                self.uploaded.append(job)
                self.at = None
                yield job
        self.at = None


def _budget(target: Target, settings: dict[str, str]) -> Budget:
    table = Table(target.client("dynamodb"), target.output("RendersTable"))
    reserved = (table.get(ledger_key(day(datetime.now(UTC).timestamp()))) or {}).get("reserved", 0.0)
    named = ("PricePerRender", "DailySpendLimit", "RequestsPerMinute")
    price, limit, per_minute = (float(settings[name]) for name in named)
    return Budget(price, limit, float(reserved), per_minute)
