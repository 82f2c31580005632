"""A storage, a worker and a clock in one hand: a two-day wait is tested in milliseconds."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self

from attrs import evolve

from zart.client import DurableScheduler
from zart.clock import moment
from zart.config import WorkerConfig
from zart.durations import Duration, to_timedelta
from zart.errors import WaitTimedOut
from zart.handler import TaskHandler
from zart.observe import Observer, Strict, observer_of
from zart.records import Execution, Query
from zart.registry import Registry
from zart.scheduler import Storage
from zart.schedulers.memory import InMemoryScheduler
from zart.spawner import ThreadSpawner
from zart.status import ExecutionStatus
from zart.testing.clock import FakeClock
from zart.worker import Worker

_UNCLAIMED = Query((ExecutionStatus.PENDING, ExecutionStatus.WAITING), limit=1000)
UNWIND_TURNS = 25
"""Turns of the loop that a parked or cancelled body has to clean up."""
PATIENCE = 30.0
"""Real seconds that executions may take to come to rest."""


class HarnessStuck(AssertionError):
    """An execution neither ends nor waits for anything that the harness can move."""


class StepNotAwaited(AssertionError):
    """A body has made a step and thrown it away; names the step, which was meant to be awaited."""


class _Listener:
    """Hears of mistakes, and passes the rest on to whoever observes."""

    def __init__(self, observer: Observer) -> None:
        self.step_started = observer.step_started
        self.handed_over = observer.handed_over
        self.mistakes: list[str] = []
        self._known: set[str] = set()

    def never_awaited(self, message: str) -> None:
        if message not in self._known:  # it is made again on every replay
            self._known.add(message)
            self.mistakes.append(message)


class _NoLoops(ThreadSpawner):
    """Gives threads to sync steps but none to the heartbeat: the harness beats by hand, in its own time."""

    def loop(self, name: str, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Start nothing."""


class HarnessClient(DurableScheduler):
    """The client of a harness: while it waits for an execution, it moves the clock on."""

    def __init__(self, harness: "Harness") -> None:
        super().__init__(harness.scheduler, clock=harness.clock)
        self._harness = harness

    async def ended(
        self,
        execution_id: str,
        timeout: Duration,
        poll_interval: Duration | None = None,
        *,
        run: int | None = None,
        started: bool = False,
    ) -> Execution:
        """Let everything happen until the execution ends or the time is up; see `DurableScheduler.ended`."""
        patience = to_timedelta(timeout, "timeout")
        end = self._harness.clock.now() + patience
        while True:
            await self._harness.run_to_idle()
            execution = await self._get(execution_id, run)
            if execution.status.is_terminal:
                return execution
            run = execution.run
            due = await self._harness.next_due()
            if due is None or due > end:
                await self._harness.advance(max(timedelta(0), end - self._harness.clock.now()))
                try:
                    return await super().ended(execution_id, 0, run=run)
                except WaitTimedOut:
                    raise WaitTimedOut(execution_id, patience.total_seconds()) from None
            self._harness.clock.advance(max(timedelta(0), due - self._harness.clock.now()))


class Harness:
    """An in-memory scheduler with a movable clock, a worker of the given handlers, and a client.

    `storage` makes another storage out of the harness's clock. Time stands still until `advance` moves it; everything that is
    due then happens at its exact time. Waiting with the client's methods moves it too. What a step's function waits for itself,
    with `asyncio.sleep` or on a socket, takes its real time: pass such lengths to the handler, and none in a test.

    Example:
        async with Harness([Onboarding()]) as h:
            handle = await h.client.start_for(Onboarding, "o-1", OnboardingData("a@b.c"))
            await h.advance("48h")
            assert (await handle.record()).status == "failed"
    """

    def __init__(
        self,
        handlers: Registry | Iterable[TaskHandler[Any, Any]],
        *,
        start: datetime | None = None,
        config: WorkerConfig | None = None,
        storage: Callable[[FakeClock], Storage] = lambda clock: InMemoryScheduler(clock=clock),
        observer: Observer | None = None,
    ) -> None:
        self.clock: FakeClock = FakeClock(start)
        self.registry: Registry = handlers if isinstance(handlers, Registry) else Registry(handlers)
        # At once: in its standing time a body would otherwise never leave memory.
        self.config: WorkerConfig = evolve(config or WorkerConfig(), park_after=0)
        self.scheduler: Storage = storage(self.clock)
        self.client: HarnessClient = HarnessClient(self)
        self._listener = _Listener(observer or observer_of(self.scheduler))
        self._observer = observer if isinstance(observer, Strict) else self._listener
        self.worker: Worker = self._new_worker()

    async def __aenter__(self) -> Self:
        """Open the storage and start the worker."""
        await self.scheduler.migrate()
        await self.scheduler.__aenter__()
        await self.worker.join()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the worker and close the storage."""
        await self.kill()
        await self.scheduler.__aexit__(kind, error, trace)

    async def run_to_idle(self) -> None:
        """Let everything happen that can happen without time passing.

        Raises:
            HarnessStuck: an execution has neither ended nor come to wait after 30 real seconds.
            StepNotAwaited: a body has made a step and thrown it away.
        """
        end = asyncio.get_running_loop().time() + PATIENCE
        while True:
            await asyncio.sleep(0)  # storage in memory never makes way for anything else
            await self.worker.beat()
            claimed = await self.worker.claim_due()
            await self._come_to_rest(end)
            if self._listener.mistakes:
                raise StepNotAwaited(self._listener.mistakes.pop())
            if not claimed:
                return

    async def advance(self, duration: Duration) -> None:
        """Move the clock, stopping at everything that is due on the way; raises as `run_to_idle` does."""
        target = self.clock.now() + to_timedelta(duration)
        await self.run_to_idle()
        while (due := await self.next_due()) is not None and due <= target:
            self.clock.advance(max(timedelta(0), due - self.clock.now()))
            await self.run_to_idle()
        self.clock.advance(target - self.clock.now())
        await self.run_to_idle()

    async def next_due(self) -> datetime | None:
        """Return when the next thing happens by itself, if anything does."""
        dues = [due for run in self.worker.runs if (due := run.next_due()) is not None]
        query = _UNCLAIMED
        while True:
            page = await self.scheduler.find(query)
            dues += [execution.due_at for execution in page.executions if execution.due_at is not None]
            if not page.more:
                return moment(min(dues)) if dues else None
            query = evolve(query, after=page.executions[-1].id)

    async def kill(self) -> None:
        """End the worker as `kill -9` would: nothing more is written, nothing handed back."""
        self.worker.abandon()
        await self._turn_loop()

    async def restart(self) -> None:
        """Start another worker, and let the killed one's lease run out."""
        self.worker = self._new_worker()
        self.clock.advance(self.config.lease + timedelta(seconds=1))
        await self.worker.join()
        await self.worker.beat()

    def _new_worker(self) -> Worker:
        return Worker(self.scheduler, self.registry, self.config, clock=self.clock, spawner=_NoLoops(), observer=self._observer)

    async def _come_to_rest(self, end: float) -> None:
        loop = asyncio.get_running_loop()
        while restless := [run for run in self.worker.runs if not run.is_idle]:
            await self._turn_loop()
            if loop.time() > end:
                names = ", ".join(run.info.execution_id for run in restless)
                raise HarnessStuck(f"after {PATIENCE:g} s these still run something that is no durable wait: {names}")
        await self.worker.journal.flushed()
        for _ in range(UNWIND_TURNS):
            if not self.worker.unwinding:
                return
            await asyncio.sleep(0)

    async def _turn_loop(self) -> None:
        """Give the loop some turns, then the processor: a step may wait for a thread or a socket."""
        self.worker.journal.hurry()  # time stands still, and with it the pause of whoever met a locked row
        for _ in range(30):
            await asyncio.sleep(0)
            if all(run.is_idle for run in self.worker.runs):
                return
        await asyncio.sleep(0.001)
