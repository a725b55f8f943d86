"""The stack's own schedule: `schedule` on what its renders have taught, kept in one item of the table."""

from typing import ClassVar

from kontext.clock import Clock
from kontext.dynamodb import Key, Table
from kontext.model import JobMetrics
from kontext.polling.schedule import DEADLINE, Progress, looks, split
from kontext.polling.sketch import Sketch

MAX_MISS_SECONDS = 60.0
"""The longest time between two looks while Segmind gives no answer that can be used."""
_FRESH_SECONDS = 60.0


class Learning:
    """When to look at jobs of this stack.

    `look_cost`: the seconds of waiting that one look is worth. `deadline`: the age in seconds of the last look.
    """

    KEY: ClassVar[Key] = {"pk": "stack", "sk": "sketch"}

    def __init__(self, table: Table, clock: Clock, *, look_cost: float, deadline: float = DEADLINE) -> None:
        self.table = table
        self.clock = clock
        self.look_cost = look_cost
        self.deadline = deadline
        self._sketch = Sketch()
        self._read_at = -_FRESH_SECONDS

    def next_look(self, progress: Progress) -> float | None:
        """The age in seconds at which to look next; None after the last look."""
        ages = looks(self.sketch(), progress, self.look_cost, self.deadline)
        return ages[0] if ages else None

    def first_wait(self, age: float) -> int:
        """Whole seconds that the workflow waits before the first Poll of a job of this age."""
        ages = looks(self.sketch(), Progress(), self.look_cost, self.deadline)
        return split(ages, min(age, ages[0])).wait_seconds

    def learn(self, render_id: str, at: float, metrics: JobMetrics) -> None:
        """Add a completed render; one write, no read."""
        cell = Sketch.cell(render_id, at, metrics.get("queue_time", 0.0), metrics.get("inference_time"))
        if cell:
            name, value = cell
            self.table.update(self.KEY, f"SET #{name} = :cell", cell=value)

    def sketch(self) -> Sketch:
        """What has been learned, at most a minute old."""
        if self.clock.now() - self._read_at >= _FRESH_SECONDS:
            self._sketch = Sketch.from_item(self.table.get(self.KEY))
            self._read_at = self.clock.now()
        return self._sketch
