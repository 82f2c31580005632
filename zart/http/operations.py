"""What the endpoints do, each the method of its name: plain requests in, plain answers out, whoever asks.

HTTP and agents' tools call the same methods. Errors are Zart's own, or a `Refusal`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from attrs import field, frozen
from msgspec import UNSET

from zart.client import DurableScheduler
from zart.clock import Clock, limited
from zart.codec import ANY
from zart.durations import to_timedelta
from zart.errors import ExecutionNotFound, WaitTimedOut
from zart.http import wire
from zart.http.limits import Limits
from zart.http.refusals import Refusal
from zart.http.schemas import describe_all
from zart.http.views import execution_of, summary_of
from zart.ids import Randomness, check_name
from zart.records import Delivery, Query
from zart.registry import Registry
from zart.report import report
from zart.status import ExecutionStatus
from zart.submission import submit
from zart.telemetry.watched import Watched

T = TypeVar("T")

_READY = "zart-ready"
_STAYS_READY = 1.0


@frozen(kw_only=True)
class Call:
    """A request whose parameters have the declared types."""

    path: Mapping[str, str] = {}
    query: Any = field(factory=wire.Nothing)
    body: Any = None
    event_key: str | None = None
    trace: str | None = None
    """The W3C `traceparent` of who calls."""


@frozen
class Reply:
    """An answer with its status; `about` is the execution it is about."""

    status: int
    answer: wire.Answer
    about: str | None = None


@contextmanager
def refusing() -> Iterator[None]:
    """Turn a value that breaks a rule for names or lengths of time into a refusal.

    Raises:
        Refusal: (invalid_request) it breaks one.
    """
    try:
        yield
    except (ValueError, TypeError) as error:
        message, _, mend = str(error).rpartition("; ")
        raise Refusal("invalid_request", message or mend, mend if message else "") from None


class Operations:
    """Carries out what is asked; it keeps nothing between two calls."""

    def __init__(
        self, client: DurableScheduler, registry: Registry | None, limits: Limits, clock: Clock, randomness: Randomness
    ) -> None:
        self.client = client
        self.clock = clock
        self._registry = registry
        self._limits = limits
        self._randomness = randomness
        self._ready_until = float("-inf")

    async def start(self, call: Call) -> Reply:
        """Start an execution."""
        asked: wire.StartRequest = call.body
        if asked.delay is not None and asked.at is not None:
            raise Refusal("invalid_request", "delay and at exclude each other", "give one of the two")
        with refusing():
            task_name = check_name(asked.task, "task")
            for what in ("idempotency_key", "queue", "start_key"):
                if getattr(asked, what) is not None:
                    check_name(getattr(asked, what), what)
            delay = None if asked.delay is None else to_timedelta(asked.delay, "delay")
        queue = asked.queue
        if self._registry is not None:
            task = self._registry[task_name]
            task.data.decode(ANY.encode(asked.data, "data"), "data")
            queue = queue or task.queue
        found = await submit(
            self._starter(call.trace),
            asked.idempotency_key or str(self._randomness.uuid()),
            task_name,
            asked.data,
            delay=delay,
            at=asked.at,
            queue=queue,
            reuse=asked.reuse,
            start_key=asked.start_key,
        )
        started = wire.Started(
            execution_id=found.start.execution_id,
            task=found.start.task_name,
            status=found.start.status.value,
            run=found.start.run,
            scheduled_at=found.start.scheduled_at,
            repeated=found.repeated,
        )
        return Reply(200 if found.repeated else 201, started, started.execution_id)

    def _starter(self, trace: str | None) -> DurableScheduler:
        """Return a client that starts under the caller's trace, unless this process has a span of its own in it."""
        if trace is None:
            return self.client
        own = self.client.trace
        under = (lambda: trace) if own is None else lambda: own() or trace
        return self.client.traced(under)

    async def status(self, call: Call) -> Reply:
        """Show an execution."""
        execution_id = _id(call)
        record = await self.client.status(execution_id, _run(call))
        return Reply(200, execution_of(record, stored=call.query.stored), execution_id)

    async def wait(self, call: Call) -> Reply:
        """Wait for the end of an execution."""
        execution_id, run = _id(call), _run(call)
        patience = min(call.query.timeout, self._limits.longest_wait)
        try:
            run = (await self.client.ended(execution_id, patience, run=run)).run
        except WaitTimedOut:
            return await self.status_or_end(call)
        record = await self.client.status(execution_id, run)
        return Reply(200, execution_of(record, stored=call.query.stored), execution_id)

    async def wait_unless(self, call: Call, *others: asyncio.Future[Any]) -> Reply | None:
        """Wait for the end of an execution, unless one of the others comes first: then return None. Cancels all others."""
        work = asyncio.ensure_future(self.wait(call))
        try:
            await asyncio.wait([work, *others], return_when=asyncio.FIRST_COMPLETED)
            return work.result() if work.done() else None
        finally:
            for each in (work, *others):
                each.cancel()
            await asyncio.wait([work, *others])

    async def status_or_end(self, call: Call) -> Reply:
        """Show an execution to somebody who waits no longer."""
        record = await self.client.status(_id(call), _run(call))
        status = 200 if record.status.is_terminal else 202
        return Reply(status, execution_of(record, stored=call.query.stored), record.execution_id)

    async def list_executions(self, call: Call) -> Reply:
        """List executions; a page is shorter than asked for when its values are large."""
        asked: wire.ListQuery = call.query
        with refusing():
            tasks = () if asked.task is UNSET else (check_name(asked.task, "task"),)
            after = None if asked.after is UNSET else check_name(asked.after, "after")
        statuses = () if asked.status is UNSET else (ExecutionStatus(asked.status),)
        page = await self.client.scheduler.find(Query(statuses, tasks, asked.limit, asked.offset, after, asked.order == "desc"))
        shown: list[wire.Summary] = []
        size = 0
        for execution in page.executions:
            size += len(execution.payload) + len(execution.result or "")
            if shown and size > self._limits.page:
                break
            shown.append(summary_of(report(execution), stored=asked.stored))
        more = page.more or len(shown) < len(page.executions)
        return Reply(200, wire.Page(executions=tuple(shown), next=shown[-1].execution_id if more else None))

    async def cancel(self, call: Call) -> Reply:
        """Cancel an execution."""
        execution_id, run = _id(call), _run(call)
        cancelled = await self.client.cancel(execution_id, run=run)
        there = await self.client.scheduler.get(execution_id, run)
        if there is None:
            raise ExecutionNotFound(execution_id, run)
        answer = wire.Cancellation(execution_id=execution_id, status=there.status.value, cancelled=cancelled)
        return Reply(200, answer, execution_id)

    async def offer_event(self, call: Call) -> Reply:
        """Send an event."""
        execution_id = _id(call)
        with refusing():
            name = check_name(call.path["name"], "event name")
            event_id = check_name(call.event_key or str(self._randomness.uuid()), "Idempotency-Key")
        delivery = await self.client.offer_event(execution_id, name, call.body, event_id=event_id, run=_run(call))
        recorded = delivery is Delivery.RECORDED
        answer = wire.Delivered(
            execution_id=execution_id, event=name, event_id=event_id, result="recorded" if recorded else "duplicate"
        )
        return Reply(202 if recorded else 200, answer, execution_id)

    async def tasks(self, call: Call) -> Reply:
        """List the tasks."""
        return Reply(200, wire.Tasks(tasks=tuple(wire.Task(**each) for each in describe_all(self._registry))))

    async def health(self, call: Call) -> Reply:
        """Say that the server answers."""
        return Reply(200, wire.Health(status="ok"))

    async def ready(self, call: Call) -> Reply:
        """Say whether the database answers, or has answered a moment ago: anybody may ask, as often as they like.

        Workers of this process count too, if they work on the same watched storage.
        """
        storage = self.client.scheduler
        problem = storage.health.problem() if isinstance(storage, Watched) else None
        if problem is not None:
            raise Refusal("not_ready", problem, "the worker goes on trying; its log says more")
        if self.clock.monotonic() >= self._ready_until:
            await storage.get(_READY)
            self._ready_until = self.clock.monotonic() + _STAYS_READY
        return Reply(200, wire.Health(status="ok"))

    async def within(self, work: Awaitable[T]) -> T:
        """Do something that the database is to have done soon.

        Raises:
            Refusal: (storage_unavailable) it was not.
        """
        try:
            async with limited(self.clock, self._limits.storage_time, "the database took too long"):
                return await work
        except TimeoutError:
            raise Refusal("storage_unavailable", "the database took too long", "try again in a while") from None

    def named(self, name: str) -> "Callable[[Call], Any]":
        """Return the operation of an endpoint's name."""
        found: Callable[[Call], Any] = getattr(self, name)
        return found


def _id(call: Call) -> str:
    with refusing():
        return check_name(call.path["execution_id"], "execution id")


def _run(call: Call) -> int | None:
    run: Any = getattr(call.query, "run", UNSET)
    return None if run is UNSET else int(run)
