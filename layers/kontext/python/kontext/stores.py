"""What the stack keeps in its table, by subject. Each is made when it is first asked for: most starts need few."""

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from kontext.aws import config
from kontext.clock import Clock
from kontext.dynamodb import Table

if TYPE_CHECKING:
    from kontext.drops.loose import LooseObjects
    from kontext.drops.store import Drops
    from kontext.drops.waiters import Waiters
    from kontext.due import DueIndex
    from kontext.polling.history import PollHistory
    from kontext.renders.claims import Claims
    from kontext.renders.deliveries import Deliveries
    from kontext.renders.jobs import Jobs
    from kontext.renders.store import Renders
    from kontext.renders.submissions import Submissions
    from kontext.throttle.line import Line
    from kontext.throttle.rate_limiter import Rate
    from kontext.throttle.throttle import Throttle


class Stores:
    """The table, by subject, with the settings of the stack, by their names in a function's environment.

    Each property raises KeyError with the variable's name if the function was not given it.
    """

    def __init__(self, environment: Mapping[str, str], clock: Clock | None = None) -> None:
        self.environment = environment
        self.clock = clock or Clock()

    def client(self, service: str) -> Any:
        """A client of an AWS service."""
        import boto3

        return boto3.client(service, config=config(service))  # type: ignore[call-overload]

    @cached_property
    def table(self) -> Table:
        return Table(self.client("dynamodb"), self.environment["RENDERS_TABLE"])

    @cached_property
    def due(self) -> "DueIndex":
        from kontext.due import DueIndex

        return DueIndex(self.table)

    @cached_property
    def drops(self) -> "Drops":
        from kontext.drops.store import Drops

        return Drops(self.table)

    @cached_property
    def loose(self) -> "LooseObjects":
        from kontext.drops.loose import LooseObjects

        return LooseObjects(self.table)

    @cached_property
    def waiters(self) -> "Waiters":
        from kontext.drops.waiters import Waiters

        return Waiters(self.table)

    @cached_property
    def renders(self) -> "Renders":
        from kontext.renders.store import Renders

        price, days = float(self.environment["PRICE_PER_RENDER"]), float(self.environment["RECORD_RETENTION_DAYS"])
        return Renders(self.table, price=price, retention_days=days)

    @cached_property
    def submissions(self) -> "Submissions":
        from kontext.renders.submissions import Submissions

        return Submissions(self.renders, daily_limit=float(self.environment["DAILY_SPEND_LIMIT"]))

    @cached_property
    def jobs(self) -> "Jobs":
        from kontext.renders.jobs import Jobs

        return Jobs(self.renders)

    @cached_property
    def deliveries(self) -> "Deliveries":
        from kontext.renders.deliveries import Deliveries

        return Deliveries(self.renders)

    @cached_property
    def claims(self) -> "Claims":
        from kontext.renders.claims import Claims

        return Claims(self.renders)

    @cached_property
    def poll_history(self) -> "PollHistory":
        from kontext.polling.history import PollHistory

        return PollHistory(self.table, self.clock, poll_cost=float(self.environment["POLL_COST_SECONDS"]))

    @cached_property
    def rate(self) -> "Rate":
        from kontext.throttle.rate_limiter import Rate

        return Rate(float(self.environment["REQUESTS_PER_MINUTE"]))

    @cached_property
    def throttle(self) -> "Throttle":
        from kontext.throttle.throttle import Throttle

        return Throttle(self.table, self.rate)

    @cached_property
    def line(self) -> "Line":
        from kontext.throttle.line import Line

        return Line(self.table, self.rate.interval)
