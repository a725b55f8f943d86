"""The operator restores the table to an earlier moment, as `docs/operations.md` says, and reconciles it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from kontext_cli.decide.reconcile import Reconciliation

if TYPE_CHECKING:
    from kontext_cli.decide.operate import Operator
    from simulation.dynamodb import DynamoDB
    from simulation.expressions import Item
    from simulation.world import World

TABLE = "RestoredTable"


@dataclass
class Moment:
    """What the table holds at some moment."""

    items: dict[tuple[str, str], Item] | None = None
    lasts: ClassVar[bool] = True

    def do(self, world: World) -> None:
        self.items = _copied(world.dynamodb)

    def __str__(self) -> str:
        return "the moment to which the table is restored later"


@dataclass(frozen=True)
class Restore:
    """The stack is deployed to work on a table that is as it was at that moment."""

    to: Moment
    lasts: ClassVar[bool] = True

    def do(self, world: World) -> None:
        assert self.to.items is not None
        world.deploy(RestoredTable=TABLE)
        world.dynamodb.restore(self.to.items)

    def __str__(self) -> str:
        return "the table is restored, and the stack deployed to work on it"


@dataclass(frozen=True)
class Reconcile:
    """The operator reconciles the table with what is known outside of it."""

    lasts: ClassVar[bool] = True

    def do(self, world: World) -> None:
        world.operate(_reconcile)

    def __str__(self) -> str:
        return "the operator: reconcile"


def _reconcile(operator: Operator) -> None:
    for _ in Reconciliation(operator).run():
        pass


def _copied(table: DynamoDB) -> dict[tuple[str, str], Item]:
    return {place: dict(item) for place, item in table.items.items()}
