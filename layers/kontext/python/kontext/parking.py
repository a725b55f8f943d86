"""How a render waits: a message that comes back. The upload queue carries it, so a crash is a redelivery, and
waiting is free.

A message may be delayed by 900 s at most, so a longer wait is a chain of messages; each is a new one and begins
with no receives. Waits on the way to a later turn, or at a closed gate, are packed together: the hops of ten
thousand renders cost next to nothing. A packed message only ever becomes other messages, so nothing in it can
fail on its own.
"""

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from kontext.pacing import Pace, gate_reopens
from kontext.table import Key

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

MAX_DELAY_SECONDS = 900
PACK = 100
PACK_BYTES = 200_000
"""A message may hold 262,144; a prefix of 1,024 bytes can take six times as many in JSON."""
_EARLY_SECONDS = 1.0
_GATHER_SECONDS = 60


@dataclass(frozen=True)
class Wake:
    """Bring a render back at `due` (unix seconds); without a `render_id`, look at the pair again."""

    prefix: str
    due: float
    render_id: str = ""
    token: str = ""


def wakes_in(body: Any) -> list[Wake]:
    """The waits in a message's body; none in an event of S3.

    Raises:
        TypeError, ValueError, KeyError: they are none of ours.
    """
    found = body.get("wake", ()) if isinstance(body, dict) else ()
    return [Wake(**{**wake, "due": float(wake["due"])}) for wake in found]


def is_due(wakes: Sequence[Wake], now: float) -> bool:
    """Whether a message with these waits is one to work on: a packed one never is."""
    return len(wakes) == 1 and wakes[0].due <= now + _EARLY_SECONDS


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
        ready = is_due(wakes, now)
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

    def send_due(self, key: Key) -> None:
        """Let somebody look at an item of the table that is due. The message is a hint: the item says what to do."""
        self.client.send_message(QueueUrl=self.queue_url, MessageBody=json.dumps({"due": key}), DelaySeconds=0)

    def send(self, wakes: Iterable[Wake], now: float, *, together: bool = False) -> None:
        """Send waits on their way, the near ones each in a message of its own unless they go `together`.

        Raises what boto3 raises; sending them again does no harm.
        """
        for delay, pack in _packed(sorted(wakes, key=lambda wake: wake.due), now, together):
            body = json.dumps({"wake": [asdict(wake) for wake in pack]})
            self.client.send_message(QueueUrl=self.queue_url, MessageBody=body, DelaySeconds=delay)


def _packed(wakes: Sequence[Wake], now: float, together: bool) -> Iterator[tuple[int, list[Wake]]]:
    alone = [] if together else [wake for wake in wakes if wake.due <= now + MAX_DELAY_SECONDS]
    for wake in alone:
        yield _delay(wake, now), [wake]
    for pack in _packs(wakes[len(alone) :]):
        yield _delay(pack[0], now), pack


def _packs(wakes: Sequence[Wake]) -> Iterator[list[Wake]]:
    pack: list[Wake] = []
    room = PACK_BYTES
    for wake in wakes:
        size = len(json.dumps(asdict(wake)))
        if pack and (len(pack) == PACK or size > room):
            yield pack
            pack, room = [], PACK_BYTES
        pack.append(wake)
        room -= size
    if pack:
        yield pack


def _delay(wake: Wake, now: float) -> int:
    if wake.due > now + MAX_DELAY_SECONDS:
        # Only what comes back in one batch can be packed, so all that are on their way meet each full minute.
        return int(MAX_DELAY_SECONDS - (now + MAX_DELAY_SECONDS) % _GATHER_SECONDS)
    # Rounded up: a message that comes too early is sent on at once, over and over, until its second is up.
    return max(0, min(MAX_DELAY_SECONDS, math.ceil(wake.due - now)))
