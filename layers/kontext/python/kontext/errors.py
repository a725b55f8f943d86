"""What can go wrong, named for what the caller can do about it.

KontextError
├── BadDrop               the drop is wrong: tell the one who dropped it
├── SegmindError
│   ├── RequestRefused    this request is wrong: repeating it will not help
│   ├── AccountRefused    every request fails until the account is put right: park
│   ├── RateLimited       wait until `reset_at`
│   ├── Unavailable       known not to be accepted: try again
│   ├── Doubtful
│   │   ├── ServerError   most likely not accepted, but perhaps it was: try again a few times, the price stays reserved
│   │   └── Ambiguous     the answer never came: it may have been accepted and charged
│   └── RecordGone        Segmind does not know this request id (any more)
└── DeliveryError         the picture is paid and was not copied; `tries` says how often to try again soon
"""

from dataclasses import dataclass

from kontext.model import AccountReason, Charged, ErrorCode, Reason, RenderError


class KontextError(Exception):
    """Base of everything this package raises on purpose."""


class BadDrop(KontextError):
    """A drop that cannot become a render."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code


class SegmindError(KontextError):
    """Base of what `kontext.segmind` raises. `status` is the HTTP status, None where no answer came."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class RequestRefused(SegmindError):
    """This request is wrong."""

    def __init__(self, message: str, status: int | None = None, code: ErrorCode = "refused") -> None:
        super().__init__(message, status)
        self.code = code


class AccountRefused(SegmindError):
    """Nobody can render now. `reason` is a key of `REASONS`: the account's, or how the stack is configured."""

    def __init__(self, message: str, status: int, reason: AccountReason) -> None:
        super().__init__(message, status)
        self.reason = reason


class RateLimited(SegmindError):
    """Too many requests. `reset_at`: unix seconds by Segmind's clock, None where the header was missing or made no
    sense; `answered_at`: how that clock stood, as the answer's `Date` says."""

    def __init__(self, message: str, reset_at: float | None, answered_at: float | None = None) -> None:
        super().__init__(message, 429)
        self.reset_at = reset_at
        self.answered_at = answered_at


class Unavailable(SegmindError):
    """Not accepted, and not our fault: try again."""


SERVER_ERRORS = (500, 502, 503)


class Doubtful(SegmindError):
    """The job may run, and be charged. `candidate_id`: the job that can be read in what came, if any."""

    def __init__(self, message: str, status: int | None = None, candidate_id: str | None = None) -> None:
        super().__init__(message, status)
        self.candidate_id = candidate_id


class ServerError(Doubtful):
    """HTTP 500, 502 or 503: most likely not accepted, but a gateway may have lost the answer of a job that runs."""


class Ambiguous(Doubtful):
    """The answer never came, or made no sense."""


class RecordGone(SegmindError):
    """Segmind answers 404 for the request id: unknown, or older than an hour."""


class DeliveryError(KontextError):
    """The picture could not be copied. `tries`: how often that is worth trying in the next minutes.

    `final`: not at all, only a person can help (a host that is not allowed).
    """

    def __init__(self, message: str, *, final: bool = False, tries: int = 9) -> None:
        super().__init__(message)
        self.final = final
        self.tries = 1 if final else tries


@dataclass(frozen=True)
class Code:
    """What an `error.code` means to the one who reads it."""

    meaning: str
    charged: Charged
    remedy: str


CODES: dict[ErrorCode, Code] = {
    "unknown_drop": Code(
        "The name of the object fits no rule of the drop convention.",
        "no",
        "Name the two images 1 and 2 (for example taj/1.png and taj/2.jpg), or name them in a request.json.",
    ),
    "invalid_request": Code(
        "request.json, prompt.txt or the images' metadata hold something that is not allowed.",
        "no",
        "Correct what the message names and drop that file again.",
    ),
    "invalid_image": Code(
        "One of the two images is not a picture that can be used.",
        "no",
        "Drop a PNG, JPEG or WebP picture under the same name.",
    ),
    "near_miss": Code(
        "Something that was probably meant for this pair lies beside it under another name, so that nothing is paid.",
        "no",
        "Drop it again under the name that the message says; if it is not meant, delete it or drop another prompt.",
    ),
    "refused": Code(
        "Segmind refused this request, perhaps in words about the account while it took others.",
        "no",
        "Correct the request as the message says and drop the pair again.",
    ),
    "render_failed": Code(
        "Segmind ran the job and it failed; blocked content is reported this way too.",
        "no",
        "Change the prompt or the images if the message asks for it, then drop the pair again.",
    ),
    "server_error": Code(
        "Segmind answered this request with a server error every time it was tried: four times while it took others, "
        "or a hundred times.",
        "unknown",
        "Often a parameter value that breaks the model: change the request, or drop the pair again later.",
    ),
    "expired": Code(
        "No result came before Segmind's record of the job ended (one hour).",
        "unknown",
        "If Segmind's console shows the picture, `kontext resolve PREFIX --output-url URL` delivers it for nothing; "
        "else drop the pair again to render it anew.",
    ),
    "no_result": Code(
        "Segmind ran the job and charged for it, and its answer never named the picture.",
        "yes",
        "`kontext explain` shows the answer, and Segmind's support can look the request_id up: `kontext resolve PREFIX "
        "--output-url URL` delivers what is found for nothing; dropping again pays again.",
    ),
    "delivery_delayed": Code(
        "The picture is rendered and paid, and could not be copied to the output bucket yet.",
        "yes",
        "Remove the cause that the message names, if it is yours; it is tried again by itself, for 6.9 days.",
    ),
    "delivery": Code(
        "The picture is rendered and paid, but could not be copied to the output bucket while Segmind kept it, 7 days.",
        "yes",
        "`kontext redeliver` tries once more; dropping the pair again pays again.",
    ),
    "superseded": Code(
        "A newer drop replaced this one before it was sent.",
        "no",
        "Nothing to do: the newer drop has its own result.",
    ),
    "cancelled": Code(
        "The pair was taken back before its request was sent: something of it was deleted, or a person cancelled it.",
        "no",
        "Nothing to do; drop the pair again, or restore what was deleted, to render it after all.",
    ),
    "inputs_expired": Code(
        "The bucket's retention rule deleted an image before the request was sent.",
        "no",
        "Drop the pair again; a longer InputRetentionDays keeps the images of pairs that wait.",
    ),
    "uncertain": Code(
        "The request was sent and the answer never came: it may have been accepted and charged.",
        "unknown",
        "Decide with `kontext resolve`: --request-id if Segmind's console shows the job, else --resubmit or --give-up.",
    ),
    "given_up": Code(
        "An operator decided not to go on with this render.",
        "unknown",
        "Drop the pair again to render it anew; if its job is found after all, `kontext resolve` takes it up again.",
    ),
}


@dataclass(frozen=True)
class ParkReason(Code):
    """Why a render waits, and what ends that; `waits_for`: the same in a word or two."""

    waits_for: str


REASONS: dict[Reason, ParkReason] = {
    "pace": ParkReason(
        "Renders are spaced to the account's rate limit, and this one's turn has not come.",
        "no",
        "Nothing to do; if Segmind allows more, raise the stack's RequestsPerMinute parameter.",
        "its turn",
    ),
    "rate_limited": ParkReason(
        "Segmind answered that there were too many requests.",
        "no",
        "Nothing to do; if it happens often, lower the stack's RequestsPerMinute parameter to what the plan allows.",
        "the rate limit",
    ),
    "no_credits": ParkReason(
        "Segmind's account holds less than a picture costs.",
        "no",
        "Top the account up at Segmind; the renders then go on by themselves.",
        "credits",
    ),
    "bad_key": ParkReason(
        "Segmind does not accept the API key.",
        "no",
        "Put a valid API key into the stack's secret (output SegmindSecretArn); the renders then go on by themselves.",
        "a valid API key",
    ),
    "forbidden": ParkReason(
        "Segmind's account may not use the model.",
        "no",
        "Have the model allowed for the account at Segmind; the renders then go on by themselves.",
        "permission",
    ),
    "configuration": ParkReason(
        "Segmind does not offer the model under the configured name (any more).",
        "no",
        "Set the stack's SegmindModel parameter to a model that exists; the renders then go on by themselves.",
        "the right model",
    ),
    "unknown_refusal": ParkReason(
        "Segmind refuses renders in words that are not known.",
        "no",
        "`kontext explain` tells Segmind's words: put right what they name; the renders then go on by themselves.",
        "an answer that is known",
    ),
    "workflow": ParkReason(
        "AWS Step Functions starts no executions: nothing more is paid until it does.",
        "no",
        "Nothing to do: what is paid is looked after without it, and the renders go on by themselves.",
        "AWS",
    ),
    "spend_limit": ParkReason(
        "A spend limit is reached: the stack's for the day, or the team's at Segmind.",
        "no",
        "Wait for the next day (UTC), or raise the stack's DailySpendLimit parameter, or the team's limit at Segmind.",
        "money",
    ),
    "outage": ParkReason(
        "Segmind cannot be reached, answers with server errors, or its answers are lost.",
        "no",
        "Nothing to do: the renders go on by themselves when Segmind answers again; `kontext resume` tries it at once.",
        "Segmind",
    ),
    "paused": ParkReason(
        "An operator paused the stack.",
        "no",
        "Run `kontext resume` when the renders may go on.",
        "an operator",
    ),
}
"""Why a render may be parked, and what ends it."""


def problem(code: ErrorCode, message: str, charged: Charged | None = None) -> RenderError:
    """The error as it stands on the record, in the event and in error.json."""
    known = CODES[code]
    return {
        "code": code,
        "message": message,
        "charged": charged or known.charged,
        "remedy": known.remedy,
    }
