"""What a worker may expect, so that one that has just looked and found nothing need not look again before it waits."""

from collections.abc import Iterable
from typing import Any, Self

from attrs import define

from zart.clock import Instant
from zart.records import Demand

Due = tuple[Instant, str | None, str | None]
"""When something is due, and of which queue and task, None if that is not known."""


@define
class Outlook:
    """When the next execution is due for one worker, as far as is known; None: nothing is."""

    queues: tuple[str, ...]
    tasks: frozenset[str]
    suspects: bool
    """Whether executions that may kill their workers were looked for, too."""
    due_at: Instant | None

    @classmethod
    def of(cls, demand: Demand, due_at: Instant | None, *more: Any) -> Self:
        """Return what was found for a demand; `more` is what a subclass adds."""
        return cls(demand.queues, frozenset(demand.tasks), demand.suspects > 0, due_at, *more)

    def fits(self, demand: Demand) -> bool:
        """Whether it was found for such a demand."""
        wanted = (demand.queues, frozenset(demand.tasks), demand.suspects > 0)
        return (self.queues, self.tasks, self.suspects) == wanted

    def hear(self, news: Iterable[Due]) -> None:
        """Take note of what has become due, or will."""
        for due_at, queue, task in news:
            fits = queue is None or (queue in self.queues and task in self.tasks)
            if fits and (self.due_at is None or due_at < self.due_at):
                self.due_at = due_at
