"""What a function runs in: its connections while the sandbox is warm, and Lambda's context of one invocation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, ClassVar, cast

from kontext.connections import Connections
from kontext.drops.messages import Record
from kontext.drops.redelivery import Redelivery
from kontext.polling.history import PollHistory
from kontext.polling.schedule import Progress
from kontext.results.output_bucket import OutputBucket, Upload
from simulation.aws import SecretsProvider
from simulation.scheduler import Scheduler
from simulation.template import Spec

if TYPE_CHECKING:
    from simulation.world import World

_KNOWN_BY_HEART = 20_000


class Sandbox(Connections):
    """What a function holds on to while its sandbox is warm."""

    def __init__(self, world: World, function: Spec) -> None:
        super().__init__(function.environment, world.clock, world.transport)
        self._world = world

    def client(self, service: str) -> Any:
        return self._world.client(service)

    @cached_property
    def secrets(self) -> SecretsProvider:
        return SecretsProvider(self.client("secretsmanager"), self.clock)

    @cached_property
    def poll_history(self) -> PollHistory:
        usual = super().poll_history
        return RememberedPollHistory(usual.table, usual.clock, poll_cost=usual.poll_cost, deadline=usual.deadline)

    @cached_property
    def redelivery(self) -> Redelivery:
        usual = super().redelivery
        of_queue = (usual.client, usual.queue_url, usual.dead_letter_url, usual.table, usual.clock)
        return TimedRedelivery(self._world, *of_queue)

    @cached_property
    def outputs(self) -> OutputBucket:
        return OutputsInTurn(self.s3, self.environment["OUTPUT_BUCKET"])


class TimedRedelivery(Redelivery):
    """The messages; the world knows for how long one was worked on."""

    def __init__(self, world: World, *of_queue: Any) -> None:
        super().__init__(*of_queue)
        self._world = world

    def work_through(self, records: Sequence[Record], work: Callable[[Record], None]) -> list[Record]:
        return super().work_through(records, partial(self._timed, work))

    def _timed(self, work: Callable[[Record], None], record: Record) -> None:
        began = self.clock.now()
        try:
            work(record)
        finally:
            self._world.longest_message = max(self._world.longest_message, self.clock.now() - began)


class RememberedPollHistory(PollHistory):
    """The stack's schedule, which is pure: computed once for all runs that have learned and seen the same."""

    _known: ClassVar[dict[Any, Any]] = {}

    def next_poll(self, progress: Progress) -> float | None:
        moment: float | None = self._once("next", progress, partial(super().next_poll, progress))
        return moment

    def first_wait(self, age: float) -> int:
        seconds: int = self._once("first", age, partial(super().first_wait, age))
        return seconds

    def _once(self, what: str, seen: Any, compute: Callable[[], Any]) -> Any:
        key = (what, seen, self.poll_cost, self.deadline, *sorted(self.durations().cells.items()))
        if len(self._known) > _KNOWN_BY_HEART:
            self._known.clear()
        if key not in self._known:
            self._known[key] = compute()
        return self._known[key]


class OutputsInTurn(OutputBucket):
    """The output bucket, written to by one thread: the order of two parts must not be a matter of luck."""

    def upload(self, *given: Any) -> Upload:
        upload = super().upload(*given)
        upload.pool.shutdown()
        upload.pool = cast("ThreadPoolExecutor", InTurn())
        return upload


class InTurn:
    """An executor that does everything at once."""

    def submit(self, work: Callable[..., Any], *given: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(work(*given))
        except Exception as problem:  # noqa: BLE001  whoever asks for the result gets it
            future.set_exception(problem)
        return future

    def shutdown(self, **_: Any) -> None:
        """Nothing is ever under way."""


@dataclass(frozen=True)
class Context:
    """Lambda's context of one invocation."""

    scheduler: Scheduler
    function_name: str
    ends_at: float
    memory_limit_in_mb: int = 512
    invoked_function_arn: str = "arn:aws:lambda:us-east-1:123456789012:function:f"
    aws_request_id: str = "request"

    def get_remaining_time_in_millis(self) -> int:
        return int((self.ends_at - self.scheduler.now) * 1000)
