"""What `kontext doctor` asks of the vendor's account: is the key accepted, what does it hold, do renders go?"""

from __future__ import annotations

from collections.abc import Iterator

from kontext.errors import REASONS, AccountRefused, SegmindError
from kontext.throttle.circuit_breaker import PAUSED
from kontext.throttle.shared_state import is_restored, state_in
from kontext_cli.doctor.checks import Finding, StackInspection
from kontext_cli.read.views import moment, reason_of


def api_key(inspection: StackInspection) -> Iterator[Finding]:
    """Whether Segmind accepts the key, and what the account holds."""
    import httpx

    from kontext.segmind.client import Segmind

    secret_arn = inspection.target.output("SegmindSecretArn")
    secret = inspection.client("secretsmanager").get_secret_value(SecretId=secret_arn)
    key = str(secret.get("SecretString", "")).strip()
    put = f"aws secretsmanager put-secret-value --secret-id {secret_arn} --secret-string"
    remedy = f"Put a valid key there: `{put} KEY`; parked renders then go on by themselves."
    if key in ("", "put-the-api-key-here"):
        yield Finding("API key", "wrong", "the secret holds no API key yet", remedy)
        return
    url, model = inspection.parameters["SegmindUrl"], inspection.parameters["SegmindModel"]
    try:
        with httpx.HTTPTransport() as transport:
            held = Segmind(url, model, lambda _: key, transport).credits()
    except AccountRefused as refused:
        fix = remedy if refused.reason == "bad_key" else REASONS[refused.reason].remedy
        yield Finding("API key", "wrong", f"Segmind refuses it: {refused}", fix)
    except SegmindError as failure:
        says = f"Segmind does not answer at {url}: {failure}"
        yield Finding("API key", "wrong", says, "If it is down, wait: renders go on by themselves. Check SegmindUrl.")
    else:
        yield Finding("API key", "good", "Segmind accepts it")
        yield _credits(inspection, held)


def _credits(inspection: StackInspection, held: float) -> Finding:
    price, low = float(inspection.parameters["PricePerRender"]), float(inspection.parameters["LowCredits"])
    pictures = int(max(0.0, held) / price) if price else 0
    says = f"USD {held:.2f} at Segmind, enough for {pictures} pictures"
    if held < price:
        return Finding("credits", "wrong", says, REASONS["no_credits"].remedy)
    if held < low:
        return Finding("credits", "wrong", f"{says}; LowCredits is {low:g}", "Top the account up at Segmind.")
    return Finding("credits", "good", says)


def circuit_breaker(inspection: StackInspection) -> Iterator[Finding]:
    """Whether renders are let through to Segmind."""
    state = state_in(inspection.table)
    stop = state.stopped
    if is_restored(state, inspection.table.name):
        yield Finding(
            "circuit breaker", "wrong", "the table was restored to an earlier moment: nothing is sent", REMEDY_RESTORED
        )
        return
    reason = stop.reason if stop else None
    if stop is None or reason is None:
        yield Finding("circuit breaker", "good", "renders go to Segmind")
        return
    since = moment(stop.since).strftime("%Y-%m-%d %H:%M:%S UTC")
    known = reason_of(reason)
    says = f"all renders wait since {since} ({reason}). {known.meaning}"
    probe = "" if reason == PAUSED else " The account is looked at every minute, and the first in line goes as a trial."
    yield Finding("circuit breaker", "wrong", says, known.remedy + probe)


REMEDY_RESTORED = (
    "Tell it of what came since by `kontext replay --all --send`, then of what was paid by `kontext reconcile`; "
    "`kontext resume` lets the rest go. docs/operations.md has it step by step."
)
