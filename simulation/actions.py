"""What people, S3, the operator and the vendor do while the pipeline works."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from kontext_cli.errors import CommandError
from kontext_cli.operate import Operator
from kontext_local.segmind import Rule
from simulation.vendor import png

if TYPE_CHECKING:
    from simulation.world import World


@dataclass(frozen=True)
class Drop:
    """Somebody drops an object; S3 tells of it `notices` times."""

    key: str
    content: bytes
    metadata: tuple[tuple[str, str], ...] = ()
    notices: int = 1
    lasts: ClassVar[bool] = True

    def do(self, world: World) -> None:
        world.notify(world.drop(self.key, self.content, dict(self.metadata)), self.notices)

    def __str__(self) -> str:
        shown = self.content.decode() if self.key.endswith((".json", ".txt")) else f"{self.content[41:-28]!r}"
        return f"drop {self.key}: {shown}" + (f", told {self.notices} times" if self.notices > 1 else "")


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
        world.secrets.value = self.value

    def __str__(self) -> str:
        return f"the secret becomes {self.value}"


@dataclass(frozen=True)
class Decide:
    """The operator decides what becomes of a pair's render; who finds nothing to decide is told so."""

    prefix: str
    what: Literal["resubmit", "adopt", "give up", "redeliver"]
    lasts: ClassVar[bool] = True

    def do(self, world: World) -> None:
        world.operate(lambda operator: self._decide(operator, list(world.vendor.ledger.jobs)))

    def _decide(self, operator: Operator, job_ids: list[str]) -> None:
        with contextlib.suppress(CommandError):
            match self.what:
                case "resubmit":
                    operator.resubmit(operator.undecided(self.prefix))
                case "adopt" if job_ids:
                    operator.adopt(operator.undecided(self.prefix), job_ids[-1])
                case "give up":
                    operator.give_up(operator.undecided(self.prefix))
                case "redeliver":
                    operator.deliver_again(operator.paid(self.prefix))

    def __str__(self) -> str:
        return f"the operator about {self.prefix}: {self.what}"


@dataclass(frozen=True)
class Gate:
    """The operator closes the gate, or opens it."""

    what: Literal["pause", "resume"]
    lasts: ClassVar[bool] = False

    def do(self, world: World) -> None:
        world.operate(self._turn)

    def _turn(self, operator: Operator) -> None:
        operator.pacing.look()
        turn = operator.pacing.pause if self.what == "pause" else operator.pacing.accept
        turn(operator.clock.now())

    def __str__(self) -> str:
        return f"the operator: {self.what}"
