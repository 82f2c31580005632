"""The client of the HTTP API: what `DurableScheduler` offers, without the database at hand.

It needs the extra `client`. Calls that the server, or the way to it, could not answer are repeated a few times; each carries a
key, so that a lost answer does not start or send anything twice.
"""

from collections.abc import AsyncGenerator, Iterable
from datetime import datetime
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, cast

import httpx2
import msgspec
from attrs import field, frozen

from zart.client import SHORT_WAIT
from zart.clock import Clock, SystemClock, pause
from zart.codec import ANY, Codec, codec_for
from zart.codec.text import TAG
from zart.durations import Duration, to_timedelta
from zart.errors import NotSupported, WaitTimedOut
from zart.handle import ScheduleResult, unwrap
from zart.handler import TaskHandler
from zart.http import wire
from zart.http.answers import Again, parameters, read, record_of
from zart.http.line import ATTEMPTS, FIRST_PAUSE, Line, unreachable
from zart.ids import Randomness, SystemRandomness, check_name, check_number
from zart.outgoing import event_codec
from zart.records import Delivery
from zart.registry import data_codec, output_codec
from zart.report import DurableExecutionStatus
from zart.retry import error_types
from zart.status import ExecutionStatus
from zart.traceparent import Trace, traceparent

D = TypeVar("D")
O = TypeVar("O")  # noqa: E741 # Output; the letter stands beside D

_LONGEST_GAP = 5.0
_POLL = 30.0
"""Seconds of one long poll: shorter than what proxies have patience for."""


@frozen
class HttpHandle(ScheduleResult, Generic[O]):
    """A started execution, pinned to its run; `repeated` when it had been started before, by whomever."""

    repeated: bool = field(eq=False)
    _client: "HttpScheduler" = field(repr=False, eq=False)
    _output: Codec = field(repr=False, eq=False)
    _raises: tuple[type[BaseException], ...] = field(default=(), repr=False, eq=False)

    async def record(self) -> DurableExecutionStatus:
        """Return the run's record as it is now."""
        return await self._client.status(self.execution_id, self.run)

    async def result(self, timeout: Duration) -> O:
        """Wait for the run to end and return its output; raises as `ExecutionHandle.result` does."""
        record = await self._client.wait(self.execution_id, timeout, run=self.run)
        return cast("O", unwrap(record, self._output, self._raises))

    async def cancel(self) -> bool:
        """Cancel the run; return whether this call did it."""
        return await self._client.cancel(self.execution_id, run=self.run)

    async def send(self, event_name: str, payload: Any = None, *, event_id: str | None = None) -> Delivery:
        """Send an event to this run; raises as `ExecutionHandle.send` does."""
        return await self._client.offer_event(self.execution_id, event_name, payload, event_id=event_id, run=self.run)


class HttpScheduler:
    """Starts executions, sends them events, and reads what became of them, through a server's HTTP API.

    Use it with `async with`. Methods are those of `DurableScheduler` and raise the same; a server that cannot be reached is
    `StorageUnavailable`, a token that may not do something `PermissionError`. `reuse` is "never" unless given: the same id,
    task and data are the same start. `trace` says under which W3C `traceparent` something is started; the server is told.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        transport: httpx2.AsyncBaseTransport | None = None,
        timeout: float = 30.0,
        clock: Clock | None = None,
        randomness: Randomness | None = None,
        trace: Trace | None = None,
    ) -> None:
        self.url: str = url.rstrip("/")
        self._clock = clock or SystemClock()
        self._randomness = randomness or SystemRandomness()
        self._trace = trace
        http = httpx2.AsyncClient(
            base_url=self.url,
            headers={} if token is None else {"authorization": f"Bearer {token}"},
            timeout=httpx2.Timeout(timeout, read=timeout + _POLL),
            transport=transport,
        )
        self._line: Line = Line(http, self.url, self._clock, self._randomness)

    def __repr__(self) -> str:
        """Return the server that it talks to."""
        return f"HttpScheduler({self.url!r})"

    async def __aenter__(self) -> Self:
        """Begin."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close all connections."""
        await self._line.close()

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
        reuse: str = "never",
        start_key: str | None = None,
    ) -> HttpHandle[Any]:
        """Start an execution with JSON-like data; it is durable when this returns.

        Raises:
            IdempotencyMismatch: the id belongs to another task or to other data.
            ExecutionAlreadyExists: the id is taken, and `reuse` allows no other run.
            UnknownTask: the server has handlers, and none of this name.
            DeserializationError: the data does not fit the task.
            NotSupported: the data holds what JSON cannot say, such as NaN.
            ValueError: a bad id, name, duration or reuse; both `delay` and `at`.
        """
        return await self._start(execution_id, task_name, ANY, data, delay, at, queue, reuse, start_key, ANY, ())

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
        reuse: str = "never",
        start_key: str | None = None,
    ) -> HttpHandle[O]:
        """Start an execution of a handler, with the handler's own input type; the rest is as for `start`."""
        name, codec, output = task_name or handler.name, data_codec(handler), output_codec(handler)
        raises = error_types(handler.raises, "raises")
        return await self._start(
            execution_id, name, codec, data, delay, at, queue or handler.queue, reuse, start_key, output, raises
        )

    async def start_many(self, items: Iterable[tuple[str, str, Any]]) -> list[HttpHandle[Any]]:
        """Start many executions, given as (execution_id, task_name, data), one after the other; raises as `start` does."""
        return [await self.start(execution_id, task_name, data) for execution_id, task_name, data in items]

    async def _start(
        self,
        execution_id: str,
        task_name: str,
        codec: Codec,
        data: Any,
        delay: Duration | None,
        at: datetime | None,
        queue: str | None,
        reuse: str,
        start_key: str | None,
        output: Codec,
        raises: tuple[type[BaseException], ...],
    ) -> HttpHandle[Any]:
        body = {
            "task": check_name(task_name, "task name"),
            "data": _raw(codec, data, f"the data of execution {execution_id!r}"),
            "idempotency_key": check_name(execution_id, "execution id"),
            "delay": None if delay is None else to_timedelta(delay, "delay").total_seconds(),
            "at": at,
            "queue": queue,
            "reuse": reuse,
            "start_key": str(self._randomness.uuid()) if start_key is None else start_key,
        }
        trace = None if self._trace is None else traceparent(self._trace())
        _, answer = await self._line.call("start", execution_id, content=msgspec.json.encode(body), trace=trace)
        started = read(answer, wire.Started)
        status = ExecutionStatus(started.status)
        at = started.scheduled_at
        return HttpHandle(execution_id, started.task, started.run, status, at, started.repeated, self, output, raises)

    # ---- reading ----------------------------------------------------------------------------------------------------

    async def status(self, execution_id: str, run: int | None = None) -> DurableExecutionStatus:
        """Return an execution's record with its steps and what it waits for; the current run's, or that of `run`.

        Raises:
            ExecutionNotFound: no such execution or run.
            ValueError: a bad id, or a `run` that is no number from 1.
        """
        _, answer = await self._line.call("status", check_name(execution_id, "execution id"), _run(run))
        return record_of(read(answer, wire.Execution))

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
        check_number(limit, "limit")
        wanted = None if status is None else ExecutionStatus(status).value
        found: list[wire.Summary] = []
        while len(found) < limit:
            page_limit = min(limit - len(found), wire.LARGEST_PAGE)
            query = parameters(status=wanted, task=task_name, limit=page_limit, offset=offset, after=after, order=order)
            _, answer = await self._line.call("list_executions", "", query=query)
            page = read(answer, wire.Page)
            found += page.executions
            if page.next is None:
                break
            after, offset = page.next, 0
        if not steps:
            return [record_of(each) for each in found]
        return [await self.status(each.execution_id, each.run) for each in found]

    async def wait(
        self, execution_id: str, timeout: Duration, poll_interval: Duration | None = None, *, run: int | None = None
    ) -> DurableExecutionStatus:
        """Return the record once the run has ended; it stays with the run that it first saw. The server does the polling.

        Raises:
            WaitTimedOut: it has not ended in time; it goes on.
            ExecutionNotFound: no such execution or run.
        """
        check_name(execution_id, "execution id")
        patience = to_timedelta(timeout, "timeout").total_seconds()
        end = self._clock.monotonic() + patience
        while True:
            left = max(0.0, end - self._clock.monotonic())
            query = parameters(timeout=min(left, _POLL), stored=True)
            status, answer = await self._line.call("wait", execution_id, _run(run), query=query)
            record = record_of(read(answer, wire.Execution))
            run = record.run
            if status == httpx2.codes.OK:
                return record
            if not left:
                raise WaitTimedOut(execution_id, patience)

    async def wait_completion(
        self, execution_id: str, output_type: Any, timeout: Duration, poll_interval: Duration | None = None
    ) -> Any:
        """Return the output, decoded as `output_type`; raises as `DurableScheduler.wait_completion` does."""
        return unwrap(await self.wait(execution_id, timeout), codec_for(output_type))

    async def wait_completion_with_timeout(self, execution_id: str, output_type: Any, timeout: Duration) -> Any:
        """Do the same as `wait_completion`, for at most 30 seconds."""
        return await self.wait_completion(execution_id, output_type, min(to_timedelta(timeout, "timeout"), SHORT_WAIT))

    async def wait_for(self, handler: TaskHandler[D, O] | type[TaskHandler[D, O]], execution_id: str, timeout: Duration) -> O:
        """Return the output as the handler types it; raises as `wait_completion` does."""
        record = await self.wait(execution_id, timeout)
        return cast("O", unwrap(record, output_codec(handler), error_types(handler.raises, "raises")))

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
        handle = await self.start_for(handler, execution_id, data, task_name=task_name)
        return await handle.result(timeout)

    async def tasks(self) -> list[wire.Task]:
        """Return the tasks that the server knows, with the JSON Schemas of their inputs and outputs."""
        _, answer = await self._line.call("tasks", "")
        return list(read(answer, wire.Tasks).tasks)

    # ---- acting -----------------------------------------------------------------------------------------------------

    async def cancel(self, execution_id: str, *, run: int | None = None) -> bool:
        """Cancel an execution; return whether this call did it.

        False when it had ended, or when the answer to an earlier try of this call was lost.

        Raises:
            ExecutionNotFound: no such execution or run.
        """
        _, answer = await self._line.call("cancel", check_name(execution_id, "execution id"), _run(run))
        return read(answer, wire.Cancellation).cancelled

    async def offer_event(
        self, execution_id: str, event_name: str, payload: Any = None, *, event_id: str | None = None, run: int | None = None
    ) -> Delivery:
        """Put an event into the execution's mailbox; the same `event_id` twice is one event.

        Raises:
            ExecutionNotFound: no such execution.
            ExecutionFinished: it has ended, or `run` is not its current run.
            PayloadTooLarge: the payload is too large to save.
            NotSupported: it holds what JSON cannot say, such as NaN.
        """
        check_name(execution_id, "execution id")
        what = f"the payload of event {check_name(event_name, 'event name')!r}"
        content = bytes(_raw(event_codec(payload), payload, what))
        key = str(self._randomness.uuid()) if event_id is None else check_name(event_id, "event_id")
        _, answer = await self._line.call("offer_event", execution_id, _run(run), name=event_name, content=content, key=key)
        return Delivery(read(answer, wire.Delivered).result)

    # ---- following --------------------------------------------------------------------------------------------------

    async def follow(
        self, execution_id: str, *, run: int | None = None, after: str | None = None
    ) -> AsyncGenerator[tuple[str, wire.Turn | wire.Execution], None]:
        """Yield each line of the history and at last the ended execution, each with the id to go on `after`.

        A connection that breaks is made again, and nothing is left out or told twice.

        Raises:
            ExecutionNotFound: no such execution or run.
            StorageUnavailable: the server stays away.
        """
        check_name(execution_id, "execution id")
        failures = 0
        while True:
            try:
                async for each in self._line.events(execution_id, _run(run), after):
                    failures = 0
                    after = each["id"]
                    if each["event"] == "end":
                        yield after, read(each["data"].encode(), wire.Execution)
                        return
                    yield after, read(each["data"].encode(), wire.Turn)
                failures += 1
            except (httpx2.TransportError, Again) as error:
                failures += 1
                if failures >= ATTEMPTS:
                    raise unreachable(self.url, error) from error
            await pause(self._clock, min(FIRST_PAUSE * failures, _LONGEST_GAP))


def _run(run: int | None) -> dict[str, str]:
    return {} if run is None else {"run": str(check_number(run, "run"))}


def _raw(codec: Codec, value: Any, what: str) -> msgspec.Raw:
    text, _ = codec.through(value, what)
    if TAG in text:
        raise NotSupported(f"{what} holds what JSON cannot say, such as NaN or a very long integer; send it as text")
    return msgspec.Raw(text.encode())
