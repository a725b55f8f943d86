"""What people, S3, the operator and the vendor do while the pipeline works."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from kontext_local.segmind import Rule
from simulation.vendor import png

if TYPE_CHECKING:
    from simulation.world import World


@dataclass(frozen=True)
class Drop:
    """Somebody drops an object; S3 tells of it `notices` times.

    `part_bytes`: a large file goes up in parts of this size, which is another one with each tool; `encryption`:
    `AES256`, or `aws:kms`, under which an ETag tells nothing of the content; `more`: what else is asked of S3, by which
    the stack may not be able to read it (`SSEKMSKeyId` of another account, `StorageClass` of an archive).
    """

    key: str
    content: bytes
    metadata: tuple[tuple[str, str], ...] = ()
    notices: int = 1
    part_bytes: int = 0
    encryption: str = "AES256"
    more: tuple[tuple[str, str], ...] = ()
    lasts: ClassVar[bool] = True

    def do(self, world: World) -> None:
        described = (self.part_bytes, self.encryption, dict(self.more))
        told = world.bucket.drop(self.key, self.content, dict(self.metadata), *described)
        world.notify(told, self.notices)

    def __str__(self) -> str:
        shown = self.content.decode() if self.key.endswith((".json", ".txt")) else f"{self.content[41:-28][:80]!r}"
        more = f", told {self.notices} times" * (self.notices > 1) + f", in parts of {self.part_bytes}" * bool(
            self.part_bytes
        )
        return f"drop {self.key}: {shown}{more}" + f", encrypted by {self.encryption}" * (self.encryption != "AES256")


def image(key: str, content: str = "", **metadata: str) -> Drop:
    """A photograph; other `content` makes it another one."""
    return Drop(key, png(f"{key} {content}".encode()), tuple(metadata.items()))


def request(prefix: str, **fields: Any) -> Drop:
    """A request.json."""
    return Drop(f"{prefix}request.json", json.dumps(fields).encode())


@dataclass(frozen=True)
class Account:
    """The account at the vendor changes: `keys`, `credits`, `rate_limit`, `models`, …"""

    changes: tuple[tuple[str, Any], ...]
    lasts: ClassVar[bool] = False

    def do(self, world: World) -> None:
        world.vendor.change(**dict(self.changes))

    def __str__(self) -> str:
        return "the account changes: " + ", ".join(f"{name} = {value!r}" for name, value in self.changes)


def account(**changes: Any) -> Account:
    return Account(tuple(changes.items()))


@dataclass(frozen=True)
class Script:
    """From now on the vendor meets some requests in a way of its own."""

    rule: Rule
    lasts: ClassVar[bool] = False

    def do(self, world: World) -> None:
        world.vendor.script.add(self.rule)

    def __str__(self) -> str:
        return f"the vendor: {self.rule.as_json()}"


def vendor(**rule: Any) -> Script:
    return Script(Rule(**rule))


@dataclass(frozen=True)
class Secret:
    """The operator puts another key into the secret."""

    value: str
    lasts: ClassVar[bool] = False

    def do(self, world: World) -> None:
        world.secrets.put_secret_value(self.value)

    def __str__(self) -> str:
        return f"the secret becomes {self.value}"


Removal = Literal["deleted", "expired", "for good"]


@dataclass(frozen=True)
class Remove:
    """Somebody takes an object of the input bucket away.

    `deleted` hides it behind a delete marker, as `aws s3 rm` does, and `expired` as a lifecycle rule does; `for good`
    removes its newest version, which also undoes a deletion.
    """

    key: str
    how: Removal = "deleted"
    lasts: ClassVar[bool] = True

    def do(self, world: World) -> None:
        match self.how:
            case "deleted":
                world.bucket.remove(self.key)
            case "expired":
                world.bucket.remove(self.key, "LifecycleExpiration:DeleteMarkerCreated")
            case "for good":
                world.bucket.remove_version(self.key)

    def __str__(self) -> str:
        return f"{self.key} is {self.how if self.how != 'for good' else 'removed for good'}"


@dataclass(frozen=True)
class RecordsExpire:
    """The table deletes the records whose time is over."""

    lasts: ClassVar[bool] = True

    def do(self, world: World) -> None:
        world.dynamodb.expire(world.scheduler.now)

    def __str__(self) -> str:
        return "records that are over expire"


@dataclass(frozen=True)
class Deadly:
    """Whoever reads or writes this object takes more memory than a function has, and is killed; so many `times`."""

    key: str
    times: float = float("inf")
    lasts: ClassVar[bool] = True

    def do(self, world: World) -> None:
        world.injector.deadly[self.key] = self.times

    def __str__(self) -> str:
        return f"{self.key} takes more memory than there is, {self.times:g} times"


@dataclass(frozen=True)
class Deploy:
    """The stack is updated with other parameters."""

    parameters: tuple[tuple[str, str], ...]
    lasts: ClassVar[bool] = True

    def do(self, world: World) -> None:
        world.deploy(**dict(self.parameters))

    def __str__(self) -> str:
        return "deployed with " + ", ".join(f"{name}={value}" for name, value in self.parameters)


def deploy(**parameters: str) -> Deploy:
    return Deploy(tuple(parameters.items()))


@dataclass(frozen=True)
class Away:
    """AWS services do not answer for some minutes: they refuse, or `hangs` and let their callers wait. `only`: the one
    operation that they refuse, as when a limit is reached or a permission taken away."""

    services: tuple[str, ...]
    minutes: float
    hangs: bool = False
    only: str = ""
    lasts: ClassVar[bool] = False

    def do(self, world: World) -> None:
        for service in self.services:
            how = "time-out without effect" if self.hangs else "error"
            world.away(service, 60 * self.minutes, how, self.only)

    def __str__(self) -> str:
        what = f"refuses {self.only}" if self.only else "away"
        return f"{' and '.join(self.services)}: {what} for {self.minutes:g} minutes" + (" (hanging)" * self.hangs)


@dataclass(frozen=True)
class Queue:
    """The operator purges the queue, or moves the dead letters back; `lose hints` purges what the stack itself sent."""

    what: Literal["purge", "redrive", "lose hints"]
    lasts: ClassVar[bool] = True

    def do(self, world: World) -> None:
        if self.what == "redrive":
            world.queue.redrive()
        else:
            world.queue.purge(ours_alone=self.what == "lose hints")

    def __str__(self) -> str:
        return f"the queue: {self.what}"


@dataclass(frozen=True)
class Send:
    """Somebody sends the queue a message of his own."""

    body: str
    lasts: ClassVar[bool] = True

    def do(self, world: World) -> None:
        world.queue.send(self.body)

    def __str__(self) -> str:
        return f"a message by hand: {self.body}"


@dataclass(frozen=True)
class Abort:
    """The operator aborts the executions whose name begins so, all of them by default."""

    named: str = ""
    lasts: ClassVar[bool] = True

    def do(self, world: World) -> None:
        world.executions.abort(self.named)

    def __str__(self) -> str:
        return f"executions are aborted: {self.named or 'all'}"


@dataclass(frozen=True)
class TasksUnheard:
    """For some minutes the workflow hears no answer of its functions: its tasks time out, and what they did is done."""

    minutes: float
    lasts: ClassVar[bool] = False

    def do(self, world: World) -> None:
        world.executions.deaf_until = world.scheduler.now + 60 * self.minutes

    def __str__(self) -> str:
        return f"the workflow hears no answer of its functions for {self.minutes:g} minutes"


@dataclass(frozen=True)
class LoseEverything:
    """All processes, all our own messages and all executions end; everybody else is well from now on."""

    lasts: ClassVar[bool] = True

    def do(self, world: World) -> None:
        world.lose_everything()

    def __str__(self) -> str:
        return "all processes, all messages of our own, all executions are gone"


@dataclass(frozen=True)
class WellAgain:
    """The vendor answers everything as it should again."""

    lasts: ClassVar[bool] = False

    def do(self, world: World) -> None:
        world.vendor.script.clear()

    def __str__(self) -> str:
        return "the vendor is well again"
