"""The way in from outside an execution: for web servers, scripts and agents."""

import asyncio
from collections.abc import Iterable, Sequence
from copy import copy
from datetime import datetime, timedelta
from typing import Any, NoReturn, Protocol, Self, TypeVar, cast

from attrs import evolve

from zart.clock import Clock, SystemClock, moment
from zart.codec import ANY, Codec, codec_for
from zart.config import PAYLOAD_LIMIT
from zart.durations import Duration, to_timedelta
from zart.errors import ExecutionNotFound, NotSupported, WaitTimedOut
from zart.handle import ExecutionHandle, unwrap
from zart.handler import TaskHandler
from zart.ids import Randomness, SystemRandomness, check_name, check_number
from zart.outgoing import Outgoing, accepted, check_run, delivered
from zart.records import Delivery, Execution, NewExecution, Query, Started
from zart.registry import data_codec, output_codec
from zart.report import DurableExecutionStatus, report, view
from zart.retry import error_types
from zart.scheduler import Bound, Inspector, Scheduler, Transactional
from zart.status import ExecutionStatus
from zart.traceparent import Trace, Traced

D = TypeVar("D")
O = TypeVar("O")  # noqa: E741 # Output; the letter stands beside D

SHORT_WAIT = timedelta(seconds=30)
_FIRST_GAP, _LONGEST_GAP = timedelta(milliseconds=100), timedelta(seconds=1)


class Store(Scheduler, Inspector, Protocol):
    """What the client talks to."""


class DurableScheduler:
    """The client: starts executions, sends them events, and reads what became of them.

    It needs no handlers and no worker in its process. Durations are timedeltas, seconds or text. Inputs and events above
    `payload_limit` bytes are refused. `trace` says under which W3C `traceparent` something is started, by default as a watched
    storage does (`zart.telemetry`); it is kept with the execution, whose spans are linked to it.

    Raises:
        TypeError: what is given is no scheduler.
    """

    def __init__(
        self,
        scheduler: Store,
        *,
        payload_limit: int = PAYLOAD_LIMIT,
        clock: Clock | None = None,
        randomness: Randomness | None = None,
        trace: Trace | None = None,
    ) -> None:
        if not isinstance(scheduler, Scheduler):
            raise TypeError(f"the client takes a scheduler, such as connect('sqlite:///zart.db'), not {scheduler!r}")
        self.scheduler = scheduler
        self.trace: Trace | None = trace or (scheduler.trace if isinstance(scheduler, Traced) else None)
        self._outgoing = Outgoing(payload_limit, randomness or SystemRandomness(), self.trace)
        self._clock = clock or SystemClock()

    def traced(self, trace: Trace) -> Self:
        """Return the same client, whose starts go under what `trace` says instead."""
        other = copy(self)
        other.trace = trace
        other._outgoing = evolve(self._outgoing, trace=trace)  # noqa: SLF001 # its own copy
        return other

    # ---- starting ---------------------------------------------------------------------------------------------------

    async def start(
        self,
        execution_id: str,
        task_name: str,
        data: Any = None,
        *,
        delay: Duration | None = None,
        at: datetime | None = None,
        queue: str | None = None,
        reuse: str = "ended",
        start_key: str | None = None,
    ) -> ExecutionHandle[Any]:
        """Start an execution with JSON-like data; it is durable when this returns.

        On an id that has ended, `reuse` decides: "ended" opens a new run, "failed" only after failed or cancelled, "never" not
        at all. A repeated `start_key` is the same start.

        Raises:
            ExecutionAlreadyExists: the id is live, or ended and may not be used again.
            UndeclaredType: the data is not JSON-like; use `start_for`.
            PayloadTooLarge: the data is too large to save.
            ValueError: a bad id, name, duration or reuse; both `delay` and `at`; a naive `at`.
            TypeError: an id or name that is no text, an `at` that is no datetime.
        """
        new = self._outgoing.start(execution_id, task_name, ANY, data, delay, at, queue, reuse, start_key)
        return self._handle(*accepted([new], await self.scheduler.start([new]))[0], ANY)

    async def start_for(
        self,
        handler: TaskHandler[D, O] | type[TaskHandler[D, O]],
        execution_id: str,
        data: D,
        *,
        task_name: str | None = None,
        delay: Duration | None = None,
        at: datetime | None = None,
        queue: str | None = None,
        reuse: str = "ended",
        start_key: str | None = None,
    ) -> ExecutionHandle[O]:
        """Start an execution of a handler, with the handler's own input type; the rest is as for `start`."""
        given, output, raises = _types(handler)
        name, queue = _default(task_name, handler.name), _default(queue, handler.queue)
        new = self._outgoing.start(execution_id, name, given, data, delay, at, queue, reuse, start_key)
        return self._handle(*accepted([new], await self.scheduler.start([new]))[0], output, raises)

    async def start_in(
        self,
        connection: Any,
        execution_id: str,
        task_name: str,
        data: Any = None,
        *,
        delay: Duration | None = None,
        at: datetime | None = None,
        queue: str | None = None,
        reuse: str = "ended",
        start_key: str | None = None,
    ) -> ExecutionHandle[Any]:
        """Do the same as `start` within the caller's transaction: it is durable, and seen by workers, when that commits.

        `connection` is a SQLAlchemy `AsyncConnection` or `AsyncSession` to the database that Zart uses; on PostgreSQL also
        one of asyncpg's. On SQLite the transaction holds the one write lock from then on.

        Raises:
            NotSupported: the storage has no transactions.
            TypeError: the connection is none of these, or one to another database.
        """
        new = self._outgoing.start(execution_id, task_name, ANY, data, delay, at, queue, reuse, start_key)
        return self._handle(*accepted([new], await self._bound(connection).start([new]))[0], ANY)

    async def start_for_in(
        self,
        connection: Any,
        handler: TaskHandler[D, O] | type[TaskHandler[D, O]],
        execution_id: str,
        data: D,
        *,
        task_name: str | None = None,
        delay: Duration | None = None,
        at: datetime | None = None,
        queue: str | None = None,
        reuse: str = "ended",
        start_key: str | None = None,
    ) -> ExecutionHandle[O]:
        """Do the same as `start_for` within the caller's transaction; see `start_in`."""
        given, output, raises = _types(handler)
        name, queue = _default(task_name, handler.name), _default(queue, handler.queue)
        new = self._outgoing.start(execution_id, name, given, data, delay, at, queue, reuse, start_key)
        return self._handle(*accepted([new], await self._bound(connection).start([new]))[0], output, raises)

    def _bound(self, connection: Any) -> Bound:
        if not isinstance(self.scheduler, Transactional):
            raise NotSupported("this storage has no transactions; use a SQL database, such as sqlite:/// or postgresql://")
        return self.scheduler.bind(connection)

    async def start_many(self, items: Iterable[tuple[str, str, Any]]) -> list[ExecutionHandle[Any]]:
        """Start many executions, given as (execution_id, task_name, data), in order; one round trip per thousand.

        Raises:
            ExecutionAlreadyExists: an id is taken. What came before it in the same or an earlier round trip is started, and so
                may be what came after it in the same one.
        """
        handles: list[ExecutionHandle[Any]] = []
        sent: tuple[list[NewExecution], asyncio.Task[Sequence[Started]]] | None = None
        try:
            for batch in self._outgoing.batches(items):
                started = () if sent is None else accepted(sent[0], await sent[1])
                sent = batch, asyncio.get_running_loop().create_task(self.scheduler.start(batch))
                for _ in range(2):  # until it is on its way: storage writes it while the next one is made here
                    await asyncio.sleep(0)
                handles += [self._handle(new, answer, ANY) for new, answer in started]
        except Exception:
            if sent is not None:
                await asyncio.wait([sent[1]])
            raise
        started = () if sent is None else accepted(sent[0], await sent[1])
        return handles + [self._handle(new, answer, ANY) for new, answer in started]

    def _handle(
        self, new: NewExecution, started: Started, output: Codec, raises: tuple[type[BaseException], ...] = ()
    ) -> ExecutionHandle[Any]:
        at = moment(started.scheduled_at)
        return ExecutionHandle(new.id, new.task, started.run, started.status, at, self, output, raises)

    # ---- reading ----------------------------------------------------------------------------------------------------

    async def status(self, execution_id: str, run: int | None = None) -> DurableExecutionStatus:
        """Return an execution's record with its steps and what it waits for; the current run's, or that of `run`.

        Raises:
            ExecutionNotFound: no such execution or run.
            ValueError: a bad id, or a `run` that is no number from 1.
        """
        found = await view(self.scheduler, *_named(execution_id, run))
        return report(*(found or await self._missed(execution_id, run)))

    async def list_executions(
        self,
        *,
        status: ExecutionStatus | str | None = None,
        task_name: str | None = None,
        limit: int = 100,
        offset: int = 0,
        after: str | None = None,
        order: str = "desc",
        steps: bool = False,
    ) -> list[DurableExecutionStatus]:
        """Return executions, newest first; `after` is the `execution_id` of the last one of the page before.

        Raises:
            ValueError: an unknown status or order, or a limit or offset that is no count.
        """
        if order not in ("asc", "desc"):
            raise ValueError(f"order must be 'asc' or 'desc', not {order!r}")
        for what, number, least in (("limit", limit, 1), ("offset", offset, 0)):
            check_number(number, what, least)
        if status is not None and status not in tuple(ExecutionStatus):
            raise ValueError(f"status must be one of {', '.join(ExecutionStatus)}, not {status!r}")
        statuses = () if status is None else (ExecutionStatus(status),)
        tasks = () if task_name is None else (check_name(task_name, "task name"),)
        if after is not None:
            check_name(after, "after")
        page = await self.scheduler.find(Query(statuses, tasks, limit, offset, after, order == "desc"))
        if not steps:
            return [report(execution) for execution in page.executions]
        return [report(each, await self.scheduler.history(each.id, each.run)) for each in page.executions]

    async def wait(
        self, execution_id: str, timeout: Duration, poll_interval: Duration | None = None, *, run: int | None = None
    ) -> DurableExecutionStatus:
        """Return the record once the run has ended; it stays with the run that it first saw.

        Raises:
            WaitTimedOut: it has not ended in time; it goes on.
            ExecutionNotFound: no such execution or run.
        """
        execution = await self.ended(execution_id, timeout, poll_interval, run=run)
        return report(execution, await self.scheduler.history(execution_id, execution.run))

    async def ended(
        self,
        execution_id: str,
        timeout: Duration,
        poll_interval: Duration | None = None,
        *,
        run: int | None = None,
        started: bool = False,
    ) -> Execution:
        """Do as `wait`, without the history; `started` says that the run is there and had not ended."""
        patience = to_timedelta(timeout, "timeout")
        fixed = None if poll_interval is None else to_timedelta(poll_interval, "poll_interval")
        gap = fixed or _FIRST_GAP
        end = self._clock.monotonic() + patience.total_seconds()
        while True:
            if not started:
                execution = await self._get(execution_id, run)
                run = execution.run
                if execution.status.is_terminal:
                    return execution
            left = timedelta(seconds=max(0.0, end - self._clock.monotonic()))
            if not left and not started:
                raise WaitTimedOut(execution_id, patience.total_seconds())
            await self.scheduler.wait([execution_id], min(gap, left))
            started = False
            if fixed is None:
                gap = min(gap * 2, _LONGEST_GAP)

    async def wait_completion(
        self, execution_id: str, output_type: Any, timeout: Duration, poll_interval: Duration | None = None
    ) -> Any:
        """Return the output, decoded as `output_type`.

        Raises:
            WaitTimedOut: it has not ended in time; it goes on.
            ExecutionFailed: it failed.
            ExecutionCancelled: it was cancelled.
            DeserializationError: the output is not of this type.
        """
        output = codec_for(output_type)
        return unwrap(report(await self.ended(execution_id, timeout, poll_interval)), output)

    async def wait_completion_with_timeout(self, execution_id: str, output_type: Any, timeout: Duration) -> Any:
        """Do the same as `wait_completion`, for at most 30 seconds."""
        return await self.wait_completion(execution_id, output_type, min(to_timedelta(timeout, "timeout"), SHORT_WAIT))

    async def wait_for(self, handler: TaskHandler[D, O] | type[TaskHandler[D, O]], execution_id: str, timeout: Duration) -> O:
        """Return the output as the handler types it; raises as `wait_completion` does."""
        _, output, raises = _types(handler)
        return cast("O", unwrap(report(await self.ended(execution_id, timeout)), output, raises))

    async def start_and_wait_for(
        self,
        handler: TaskHandler[D, O] | type[TaskHandler[D, O]],
        execution_id: str,
        data: D,
        timeout: Duration,
        *,
        task_name: str | None = None,
    ) -> O:
        """Start an execution and return its output; raises as `start_for` and `wait_for` do."""
        patience = to_timedelta(timeout, "timeout")  # a bad one must not leave a started execution behind
        handle = await self.start_for(handler, execution_id, data, task_name=task_name)
        return await handle.result(patience)

    async def _get(self, execution_id: str, run: int | None) -> Execution:
        return await self.scheduler.get(*_named(execution_id, run)) or await self._missed(execution_id, run)

    async def _missed(self, execution_id: str, run: int | None) -> NoReturn:
        known = run is not None and await self.scheduler.get(execution_id) is not None
        raise ExecutionNotFound(execution_id, run if known else None)

    # ---- acting -----------------------------------------------------------------------------------------------------

    async def cancel(self, execution_id: str, *, run: int | None = None) -> bool:
        """Cancel an execution: at once when pending or waiting, within two seconds when running.

        Returns whether this call cancelled it; False when it, or the `run` that is meant, had ended.

        Raises:
            ExecutionNotFound: no such execution or run.
        """
        found = await self.scheduler.cancel([check_name(execution_id, "execution id")], check_run(run))
        if execution_id not in found:
            await self._missed(execution_id, run)
        return found[execution_id][1]

    async def offer_event(
        self, execution_id: str, event_name: str, payload: Any = None, *, event_id: str | None = None, run: int | None = None
    ) -> Delivery:
        """Put an event into the execution's mailbox, whether anybody waits for it yet or not; it is durable when this returns.

        The same `event_id` twice is one event. Returns `Delivery.RECORDED` or `Delivery.DUPLICATE`. The payload is JSON-like
        data, or of any type that the codec knows: the wait decodes it.

        Raises:
            ExecutionNotFound: no such execution or run.
            ExecutionFinished: it has ended, or `run` is not its current run.
            PayloadTooLarge: the payload is too large to save.
        """
        event = self._outgoing.event(execution_id, event_name, payload, event_id, run)
        delivery = (await self.scheduler.deliver([event]))[0]
        if delivery is Delivery.UNKNOWN:
            await self._missed(execution_id, run)
        return delivered(event, delivery)

    async def offer_event_in(
        self,
        connection: Any,
        execution_id: str,
        event_name: str,
        payload: Any = None,
        *,
        event_id: str | None = None,
        run: int | None = None,
    ) -> Delivery:
        """Do the same as `offer_event` within the caller's transaction, as `start_in` does for `start`.

        Until that ends, the execution can save nothing: keep it short.

        Raises:
            NotSupported: the storage has no transactions.
            TypeError: no connection to the database that Zart uses.
        """
        event = self._outgoing.event(execution_id, event_name, payload, event_id, run)
        return delivered(event, (await self._bound(connection).deliver([event]))[0])


def _named(execution_id: str, run: int | None) -> tuple[str, int | None]:
    return check_name(execution_id, "execution id"), check_run(run)


def _types(handler: Any) -> tuple[Codec, Codec, tuple[type[BaseException], ...]]:
    """Return what a handler takes, returns and raises."""
    return data_codec(handler), output_codec(handler), error_types(handler.raises, "raises")


def _default(given: str | None, default: str) -> str:
    return default if given is None else given
