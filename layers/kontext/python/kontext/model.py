"""The nouns: what is known of an object, a pair's part, a render. Records are plain dicts to the table, and typed here.

Times are unix seconds unless they are texts, then ISO 8601 in UTC with milliseconds. Money is in US dollars.
"""

from enum import StrEnum
from typing import Literal, NamedTuple, TypedDict


class Status(StrEnum):
    """Where a render is in its life; `renders.store` draws it."""

    CLAIMED = "CLAIMED"
    SUBMITTING = "SUBMITTING"
    QUEUED = "QUEUED"
    PROCESSING = "PROCESSING"
    COMPLETED = "COMPLETED"
    DELIVERED = "DELIVERED"
    FAILED = "FAILED"
    UNCERTAIN = "UNCERTAIN"


class StatusText(NamedTuple):
    """What people are told of a status: its name on the page, and what it means."""

    label: str
    meaning: str


STATUSES = {
    Status.CLAIMED: StatusText("Claimed", "ours to submit; may be parked with a reason, and goes on when that ends"),
    Status.SUBMITTING: StatusText("Sending", "its request is on its way"),
    Status.QUEUED: StatusText("Queued", "its job waits at Segmind; the workflow runs"),
    Status.PROCESSING: StatusText("Rendering", "a worker of Segmind's has its job; the workflow runs"),
    Status.COMPLETED: StatusText(
        "Delivering", "paid; where the picture is stands on the record before anything is copied"
    ),
    Status.DELIVERED: StatusText("Delivered", "the picture is in the output bucket, the event is published"),
    Status.FAILED: StatusText("Failed", "ended with a code, whether it was charged, and a remedy"),
    Status.UNCERTAIN: StatusText(
        "Uncertain", "the answer to the request never came; never sent again by itself, a person decides"
    ),
}
IN_FLIGHT = (Status.QUEUED, Status.PROCESSING)
ENDED = (Status.DELIVERED, Status.FAILED, Status.UNCERTAIN)

Charged = Literal["no", "yes", "unknown"]
"""Whether Segmind has charged for a render that has no picture."""

AccountReason = Literal["no_credits", "bad_key", "forbidden", "configuration", "unknown_refusal", "spend_limit"]
"""Why Segmind takes no request of an account."""
Reason = Literal[AccountReason, "pace", "rate_limited", "workflow", "outage", "paused"]
"""Why a render waits; `errors.REASONS` says what each means."""

ErrorCode = Literal[
    "unknown_drop", "invalid_request", "invalid_image", "near_miss", "refused", "render_failed", "server_error",
    "expired", "no_result", "delivery_delayed", "delivery", "superseded", "cancelled", "inputs_expired",
    "uncertain", "given_up",
]  # fmt: skip
"""Why there is no picture; `errors.CODES` says what each means."""

Happening = Literal[
    "claimed", "rejected", "parked", "submitting", "accepted", "uncertain", "processing", "restarted",
    "completed", "unlinked", "relinked", "undelivered", "kept", "delivered", "failed", "again",
]  # fmt: skip
"""What the history of a render tells."""


class Parameters(TypedDict, total=False):
    """What is asked of Segmind for a render: `make generated` writes it from `schemas/request.v1.json`."""

    prompt: str
    aspect_ratio: str
    output_format: str
    safety_tolerance: int
    seed: int
    input_image_1: str
    input_image_2: str


IMAGES = ("input_image_1", "input_image_2")
TUNABLE = tuple(name for name in Parameters.__annotations__ if name not in IMAGES)
INTEGERS = tuple(name for name, kind in Parameters.__annotations__.items() if kind is int)
"""The parameters by what they are: every list of them is taken from here."""


class Problem(TypedDict):
    """Why a part cannot be used: a code, and a sentence."""

    code: ErrorCode
    message: str


class ObjectRead(TypedDict, total=False):
    """What is known of one version of an object: either `problem`, or what was read from it: `parameters`, and for an
    image its `kind`, `width` and `height` (pixels), and the `sha256` of the whole file. `url` alone: an image on the
    web, which nobody has read."""

    key: str
    version_id: str | None
    etag: str
    bytes: int
    written_at: float
    """When S3 wrote it, in whole seconds: this orders the objects of different keys."""
    sha256: str
    problem: Problem
    closed: bool
    """Whether S3 did not give it: that may change, and the version stays the same."""
    parameters: Parameters
    kind: str
    width: int
    height: int
    url: str


class Part(ObjectRead, total=False):
    """What fills a slot of a pair: S3's `sequencer` orders the drops of one key, `at` is the time of the drop."""

    sequencer: str
    at: float


class RenderInput(TypedDict, total=False):
    """An image of a render: a pinned version of an object, or a URL."""

    key: str
    version_id: str
    etag: str
    sha256: str
    url: str


class RenderError(TypedDict):
    """Why a render ended without a picture, as it stands on the record, in the event and in error.json."""

    code: ErrorCode
    message: str
    charged: Charged
    remedy: str


class HistoryEntry(TypedDict, total=False):
    """What happened to a render, and when. What repeats itself is counted: `times`, the last at `last_at`."""

    at: str
    what: Happening
    times: int
    last_at: str
    reason: Literal[Reason, "strange_cost", "other_format", "reopened"]
    status: int | None
    code: ErrorCode
    message: str
    attempt: int
    request_id: str
    candidate_id: str
    generation: int
    cost: float
    stated: float | None
    key: str


class JobMetrics(TypedDict, total=False):
    """What Segmind tells of a completed job: USD, and seconds."""

    cost: float
    remaining_credits: float
    queue_time: float
    inference_time: float
    total_time: float


class Result(TypedDict, total=False):
    """The picture in the output bucket. `superseded`: a newer drop has the pair's result key; `other_format`: it is not
    of the format that was asked for."""

    bucket: str
    key: str
    version_id: str | None
    etag: str
    content_type: str
    bytes: int
    sha256: str
    width: int
    height: int
    superseded: bool
    other_format: bool


class Park(TypedDict, total=False):
    """Why a render waits, since when, and perhaps until when."""

    reason: Reason
    since: float
    until: float


class Undelivered(TypedDict):
    """A paid picture whose delivery was put off `tries` times: the reason at `first`, and the `last` one."""

    tries: int
    first: str
    last: str


class Render(TypedDict, total=False):
    """One render, as far as it has come."""

    prefix: str
    render_id: str
    status: Status
    attempt: int
    drop_id: int
    parameters: Parameters
    inputs: list[RenderInput]
    history: list[HistoryEntry]
    created_at: str
    updated_at: str
    revision: int
    """Counts the writes: whoever read an older one cannot move the render."""
    written_by: str
    lease_until: float
    waiting_since: float
    line_at: float
    """Its place in line, kept until it is accepted."""
    failures: int
    """How many of its requests were answered by a server error, or in words that nobody knows, or became a job that
    failed for want of credits, or were refused for the account's reasons while others were taken."""
    failed_at: float
    """When the last of these answers came."""
    refused_at: float
    """When it was refused last for the account's reasons as a trial: the account seemed to be well. Where it is no
    trial, because it has failed before: the first time."""
    day: str
    reserved: float
    request_id: str
    candidate_id: str
    """A job that a broken answer to the render's request names: Segmind is asked for it before it is believed."""
    submitted_at: float
    submitted_with: str | None
    """The fingerprint of the API key: another one may not know the job."""
    generation: int
    """Counts the executions that were started for it."""
    output_url: str
    answer: str
    """What Segmind said of a completed job whose picture it did not name."""
    metrics: JobMetrics
    cost: float
    completed_at: float
    redelivered_at: float
    """When it was asked to be delivered once more."""
    restore_from: Result
    """The picture as it was delivered before: our own bucket may still hold it."""
    stays_delivered: bool
    """Whether that is what stays if it cannot be delivered once more."""
    undelivered: Undelivered
    delay_announced: bool
    result: Result
    error: RenderError
    announced: bool
    expires_at: int
    due_lane: str
    due_at: float
    dispatched_until: float
    dispatches: int
