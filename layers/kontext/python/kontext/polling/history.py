"""The stack's own schedule: `schedule` on what its renders have taught, kept in one item of the table."""

from typing import ClassVar

from kontext.clock import Clock
from kontext.dynamodb import Key, Table, stack_key
from kontext.model import JobMetrics
from kontext.polling.durations import Durations
from kontext.polling.schedule import DEADLINE, Progress, poll_times, wait_seconds

MAX_MISS_SECONDS = 60.0
"""The longest time between two polls while Segmind gives no answer that can be used."""
_FRESH_SECONDS = 60.0


class PollHistory:
    """When to poll for jobs of this stack.

    `poll_cost`: the seconds of waiting that one poll is worth. `deadline`: the age in seconds of the last poll.
    """

    KEY: ClassVar[Key] = stack_key("sketch")

    def __init__(self, table: Table, clock: Clock, *, poll_cost: float, deadline: float = DEADLINE) -> None:
        self.table = table
        self.clock = clock
        self.poll_cost = poll_cost
        self.deadline = deadline
        self._durations = Durations()
        self._read_at = -_FRESH_SECONDS

    def next_poll(self, progress: Progress) -> float | None:
        """The age in seconds at which to poll next; None after the last poll."""
        ages = poll_times(self.durations(), progress, self.poll_cost, self.deadline)
        return ages[0] if ages else None

    def first_wait(self, age: float) -> int:
        """Whole seconds that the workflow waits before the first Poll of a job of this age."""
        ages = poll_times(self.durations(), Progress(), self.poll_cost, self.deadline)
        return wait_seconds(ages[0] - age)

    def learn(self, render_id: str, at: float, metrics: JobMetrics) -> None:
        """Add a completed render; one write, no read."""
        cell = Durations.cell(render_id, at, metrics.get("queue_time", 0.0), metrics.get("inference_time"))
        if cell:
            name, value = cell
            self.table.update(self.KEY, f"SET #{name} = :cell", cell=value)

    def durations(self) -> Durations:
        """What has been learned, at most a minute old."""
        if self.clock.now() - self._read_at >= _FRESH_SECONDS:
            self._durations = Durations.from_item(self.table.get(self.KEY))
            self._read_at = self.clock.now()
        return self._durations
