"""What the vendor has seen and charged: what tests hold the pipeline's own records against."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from kontext_local.segmind.jobs import Job


@dataclass(frozen=True)
class Post:
    """One POST as it arrived.

    `outcome`: `accepted`, `refused`, `unanswered` (dropped or hung, not accepted) or `accepted unanswered`.
    `status` is None where no answer was given, or (synchronous calls) not at once. `names_job`: the job's id can be
    read in what was sent back; `resets`: what a 429 says of its end.
    """

    at: float
    path: str
    prompt: str
    outcome: str
    status: int | None
    request_id: str | None
    names_job: bool = False
    resets: str | None = None


@dataclass(frozen=True)
class Poll:
    """One GET about a job: `kind` is `status` or `result`, `told` the state in the answer, "" if it holds none.

    `scripted`: a rule has answered it.
    """

    at: float
    kind: str
    request_id: str
    status: int | None
    told: str
    scripted: bool
    resets: str | None = None


@dataclass(frozen=True)
class Charge:
    """USD taken for one completed job."""

    at: float
    request_id: str
    amount: float


@dataclass
class Ledger:
    """Grows only.

    `gets` counts requests by kind (`status`, `result`, `credits`, `output`); `polls` are those about jobs.
    """

    posts: list[Post] = field(default_factory=list)
    jobs: dict[str, Job] = field(default_factory=dict)
    charges: list[Charge] = field(default_factory=list)
    gets: Counter[str] = field(default_factory=Counter)
    polls: list[Poll] = field(default_factory=list)
    too_many_requests: int = 0

    @property
    def spent(self) -> float:
        """USD charged so far."""
        return round(sum(charge.amount for charge in self.charges), 6)

    def charge(self, job: Job, amount: float, at: float) -> None:
        """Take the money for a completed job. A second charge for one job is a defect of the emulator."""
        if job.charged:
            raise ValueError(f"{job.request_id} was charged before")
        job.charged = amount
        self.charges.append(Charge(at, job.request_id, amount))

    def as_json(self) -> dict[str, Any]:
        """The whole ledger; times in unix seconds, amounts in USD."""
        return {
            "posts": [asdict(post) for post in self.posts],
            "jobs": [job.as_json() for job in self.jobs.values()],
            "charges": [asdict(charge) for charge in self.charges],
            "gets": dict(self.gets),
            "too_many_requests": self.too_many_requests,
            "spent": self.spent,
        }
