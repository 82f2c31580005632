"""What passes the storage port, told to whoever watches it."""

from collections.abc import Sequence
from typing import TypeAlias

from attrs import frozen

from zart.observe import Observer
from zart.records import Claim, Commit, Committed, Delivery, Execution, Move, NewExecution, Started
from zart.traceparent import Trace


@frozen(eq=False)
class Holding:
    """An execution that a worker of this process holds."""

    claim: Claim
    worker: str
    since: float
    """When it was claimed, in monotonic seconds."""


Said: TypeAlias = tuple[Holding | None, Commit, Committed]
"""Who spoke, what was said, and what storage answered; who spoke is None for a claim that nobody has seen."""


class Watcher:
    """Told of what passes a watched storage; a subclass overrides what it wants to know.

    Calls come after the fact, from the thread that spoke to storage (the heartbeat has its own). What one raises is logged and
    changes nothing.
    """

    observer: Observer | None = None
    """Also told of every call of a step's function by workers on the storage."""
    trace: Trace | None = None
    """Asked by clients on the storage under which W3C `traceparent` each start is; every claim brings it, see `Claim.trace`."""

    def opened(self) -> None:
        """The storage was opened, on the event loop that works on it."""

    def closed(self) -> None:
        """It is about to be closed."""

    def started(self, new: Sequence[NewExecution], answers: Sequence[Started]) -> None:
        """Executions were started; the task that calls is the starter's."""

    def claimed(self, holdings: Sequence[Holding], seconds: float) -> None:
        """A claim was answered, perhaps with nothing."""

    def committing(self, commits: Sequence[Commit]) -> None:
        """A group is about to be saved; the same one again, if saving it failed."""

    def committed(self, said: Sequence[Said], seconds: float) -> None:
        """A group was saved."""

    def let_go(self, holding: Holding, move: Move | None, seconds: float) -> None:
        """An execution is no longer held, after so many seconds; without a move it was cancelled, or is another worker's."""

    def delivered(self, answers: Sequence[Delivery]) -> None:
        """Events were sent."""

    def cancelled(self, executions: Sequence[Execution]) -> None:
        """Executions were cancelled."""

    def declared_dead(self, worker: str) -> None:
        """A worker of this process has lost its lease, and all that it held."""
