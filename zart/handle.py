"""What a start gives back: the record of the start, and a handle on the run that it began."""

from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar, cast

from attrs import field, frozen

from zart.codec import Codec
from zart.durations import Duration
from zart.errors import DeserializationError, ExecutionCancelled, ExecutionFailed
from zart.outcome import load_failure
from zart.records import Delivery, Execution
from zart.report import DurableExecutionStatus, report
from zart.status import ExecutionStatus

O = TypeVar("O")  # noqa: E741 # Output; the letter stands beside D elsewhere


class Origin(Protocol):
    """What a handle needs of the client that it came from; each takes the run that the handle is pinned to."""

    async def status(self, execution_id: str, run: int | None = None) -> DurableExecutionStatus:
        """Return a run's record."""
        ...

    async def ended(
        self,
        execution_id: str,
        timeout: Duration,
        poll_interval: Duration | None = None,
        *,
        run: int | None = None,
        started: bool = False,
    ) -> Execution:
        """Return a run once it has ended; with `started` it is known to be there."""
        ...

    async def cancel(self, execution_id: str, *, run: int | None = None) -> bool:
        """Cancel a run."""
        ...

    async def offer_event(
        self, execution_id: str, event_name: str, payload: Any = None, *, event_id: str | None = None, run: int | None = None
    ) -> Delivery:
        """Send an event to a run."""
        ...


@frozen
class ScheduleResult:
    """The record part of a handle: what a start came to, as of the start."""

    execution_id: str
    task_name: str
    run: int
    status: ExecutionStatus
    scheduled_at: datetime


@frozen
class ExecutionHandle(ScheduleResult, Generic[O]):
    """A started execution, pinned to its run."""

    _client: Origin = field(repr=False, eq=False)
    _output: Codec = field(repr=False, eq=False)
    _raises: tuple[type[BaseException], ...] = field(default=(), repr=False, eq=False)

    async def record(self) -> DurableExecutionStatus:
        """Return the run's record as it is now."""
        return await self._client.status(self.execution_id, self.run)

    async def result(self, timeout: Duration) -> O:
        """Wait for the run to end and return its output.

        Raises:
            WaitTimedOut: it has not ended in time; it goes on.
            ExecutionFailed: it failed.
            ExecutionCancelled: it was cancelled.
        """
        going_on = not self.status.is_terminal
        execution = await self._client.ended(self.execution_id, timeout, run=self.run, started=going_on)
        return cast("O", unwrap(report(execution), self._output, self._raises))

    async def cancel(self) -> bool:
        """Cancel the run; return whether this call did it. False when it has ended, whatever later runs do."""
        return await self._client.cancel(self.execution_id, run=self.run)

    async def send(self, event_name: str, payload: Any = None, *, event_id: str | None = None) -> Delivery:
        """Send an event to this run.

        Raises:
            ExecutionFinished: the run has ended, or another has begun.
        """
        return await self._client.offer_event(self.execution_id, event_name, payload, event_id=event_id, run=self.run)


def unwrap(record: DurableExecutionStatus, output: Codec, raises: tuple[type[BaseException], ...] = ()) -> Any:
    """Return the decoded output of a finished execution.

    Raises:
        ExecutionFailed: it failed.
        ExecutionCancelled: it was cancelled.
        DeserializationError: the output is not of the type asked for.
    """
    match record.status:
        case ExecutionStatus.COMPLETED:
            if record.raw_result is None:
                raise DeserializationError(f"execution {record.execution_id!r} completed without a stored result")
            return output.decode(record.raw_result)
        case ExecutionStatus.FAILED:
            raise ExecutionFailed(load_failure(record.raw_result or "", raises), record.execution_id)
        case _:
            raise ExecutionCancelled(record.execution_id)
