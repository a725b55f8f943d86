"""How a render waits: a message that comes back. The upload queue carries it, so a crash is a redelivery, and
waiting is free.

A message may be delayed by 900 s at most, so a longer wait is a chain of messages; each is a new one and begins
with no receives. Waits on the way to a later turn, or at a closed gate, are packed together: the hops of ten
thousand renders cost next to nothing. A packed message only ever becomes other messages, so nothing in it can
fail on its own.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from kontext.errors import KontextError
from kontext.pacing import Pace, gate_reopens

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

MAX_DELAY_SECONDS = 900
PACK = 100
_SEND_BATCH = 10
_EARLY_SECONDS = 1.0


@dataclass(frozen=True)
class Wake:
    """Bring a render back at `due` (unix seconds); without a `render_id`, look at the pair again."""

    prefix: str
    due: float
    render_id: str = ""
    token: str = ""


def wakes_in(body: Any) -> list[Wake]:
    """The waits in a message's body; none in an event of S3."""
    return [Wake(**wake) for wake in body.get("wake", ())] if isinstance(body, dict) else []


def sort_out(
    messages: Sequence[tuple[str, list[Wake]]], pace: Pace, now: float
) -> tuple[set[str], list[tuple[str, list[Wake]]]]:
    """Which of the messages (id, waits) to work on now, and which to send on.

    Only a message with a single wait that is due is worked on, and at a closed gate only the one that may probe.
    """
    work: set[str] = set()
    onward: list[tuple[str, list[Wake]]] = []
    probed = False
    for message_id, wakes in messages:
        ready = len(wakes) == 1 and wakes[0].due <= now + _EARLY_SECONDS
        closed = bool(pace.refused) and bool(wakes[0].render_id) and (now < pace.probe_at or probed)
        if ready and not closed:
            work.add(message_id)
            probed = bool(pace.refused)
            continue
        onward.append((message_id, [_held(wake, pace, now) for wake in wakes] if pace.refused else wakes))
    return work, onward


def _held(wake: Wake, pace: Pace, now: float) -> Wake:
    at = gate_reopens(pace, now) if now < pace.probe_at else now + 3
    return Wake(**{**asdict(wake), "due": max(wake.due, at)}) if wake.render_id else wake


class Parking:
    """The upload queue, as the place where renders wait."""

    def __init__(self, client: "SQSClient", queue_url: str) -> None:
        self.client = client
        self.queue_url = queue_url

    def send(self, wakes: Iterable[Wake], now: float) -> None:
        """Send waits on their way, the near ones each in a message of its own.

        Raises:
            KontextError: the queue did not take all; sending them again does no harm.
        """
        entries = [
            {"Id": str(n), "DelaySeconds": delay, "MessageBody": json.dumps({"wake": [asdict(wake) for wake in pack]})}
            for n, (delay, pack) in enumerate(_packed(sorted(wakes, key=lambda wake: wake.due), now))
        ]
        for some in _batches(entries):
            answer = self.client.send_message_batch(QueueUrl=self.queue_url, Entries=some)
            if answer.get("Failed"):
                raise KontextError(f"the queue refused {len(answer['Failed'])} messages")


def _packed(wakes: Sequence[Wake], now: float) -> Iterable[tuple[int, list[Wake]]]:
    far = [wake for wake in wakes if wake.due > now + MAX_DELAY_SECONDS]
    for wake in wakes[: len(wakes) - len(far)]:
        yield max(0, int(wake.due - now)), [wake]
    for start in range(0, len(far), PACK):
        yield MAX_DELAY_SECONDS, list(far[start : start + PACK])


def _batches(entries: list[Any]) -> Iterable[list[Any]]:
    # A batch is bounded in bytes too; a pack of long prefixes goes alone.
    batch: list[Any] = []
    for entry in entries:
        full = len(batch) == _SEND_BATCH or sum(len(e["MessageBody"]) for e in (*batch, entry)) > 250_000
        if batch and full:
            yield batch
            batch = []
        batch.append(entry)
    if batch:
        yield batch
