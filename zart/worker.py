"""A worker: claims what is due while it has free slots, runs it, and lets go in good order."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from functools import partial
from types import TracebackType
from typing import Any, Self

from zart import signals
from zart.clock import Clock, Instant, SystemClock, limited, pause
from zart.config import WorkerConfig
from zart.errors import SchedulerError, WorkerNotAlive
from zart.handler import TaskHandler
from zart.ids import Randomness, SystemRandomness
from zart.journal import Journal
from zart.membership import Membership
from zart.observe import Observer, observer_of
from zart.pool import TaskPool
from zart.records import SUSPECT, BeatReply, Demand, Held
from zart.registry import Registry
from zart.run import Run
from zart.scheduler import OpenTransaction, Scheduler, Transactional
from zart.spawner import Spawner, ThreadSpawner
from zart.turns import install

logger: logging.Logger = logging.getLogger("zart.worker")

GATHER, GATHER_ROUNDS = 0.01, 5
"""Seconds, and looks in them, that a full worker waits for a quarter of its slots before it claims again."""
GRACE = 0.6
"""Seconds that storage has for each of a stop's last words; with the unwinding they stay below two."""
UNWIND, _UNWIND_ROUND = 0.7, 0.05
"""Seconds that a cancelled body has to end, and between looks; then it is logged and left, it can write nothing."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0


class Worker:
    """Runs the executions of the handlers given to it; any number of workers share one storage.

    `await worker.run()` works until stopped and, in the main thread, stops on SIGTERM and SIGINT; `async with Worker(...)`
    works beside an application. Stopping lets running bodies finish for `shutdown_timeout`, then hands the rest back at once.

    Raises:
        ValueError: no handler, or two of one name.
        TypeError: something that is no handler.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        handlers: Registry | Iterable[TaskHandler[Any, Any]],
        config: WorkerConfig | None = None,
        *,
        clock: Clock | None = None,
        randomness: Randomness | None = None,
        spawner: Spawner | None = None,
        observer: Observer | None = None,
    ) -> None:
        self.registry: Registry = handlers if isinstance(handlers, Registry) else Registry(handlers)
        if not len(self.registry):
            raise ValueError("a worker needs at least one handler")
        self.config: WorkerConfig = config or WorkerConfig()
        self.loop: asyncio.AbstractEventLoop
        """The one that it runs on, from its start."""
        self.pool: TaskPool
        """Runs the steps' functions, from its start."""
        self.clock: Clock = clock or SystemClock()
        self.randomness: Randomness = randomness or SystemRandomness()
        self.spawner: Spawner = spawner or ThreadSpawner()
        self.observer: Observer = observer or observer_of(scheduler)
        self.scheduler = scheduler
        self.journal: Journal = Journal(scheduler, self.clock, self.randomness, lambda: len(self._runs))
        self.payload_limit: int = self.config.payload_limit
        self.park_after: float = self.config.park_after.total_seconds()
        self.open_transaction: OpenTransaction | None = (
            # So that none outlives the worker's lease and holds up whoever takes over.
            partial(scheduler.transaction, self.config.lease / 3) if isinstance(scheduler, Transactional) else None
        )
        """Opens a transaction of the storage's own database; None where it has none."""
        self.left_behind: int = 0
        """Bodies that did not end when they were cancelled."""
        self.unwinding: set[asyncio.Task[None]] = set()
        """The cancelled bodies that have not ended yet."""
        self._runs: dict[int, Run] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._leaving: set[Run] = set()
        self._slot = asyncio.Event()
        self._slot.set()
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()
        self._membership = Membership(
            scheduler,
            self.config,
            [task.name for task in self.registry],
            clock=self.clock,
            randomness=self.randomness,
            spawner=self.spawner,
            held=self._held,
            told=self._told,
            expelled=self._drop_all,
            spawn=self._spawn,
        )
        # Asked several times a step, so without a frame of its own in between.
        self.now: Callable[[], Instant] = self._membership.time.now
        """Return storage's time, never ahead of it."""
        self.lease_is_fresh: Callable[[], bool] = self._membership.lease_is_fresh
        """Whether step functions may start."""
        self._serving: asyncio.Task[None] | None = None
        self._claiming = False
        self._is_more = False
        """Whether the last claim got all that it asked for, so that there may be more."""
        self._was_full = False

    @property
    def id(self) -> str:
        """The worker's current identity; a new one after it was declared dead."""
        return self._membership.id

    @property
    def runs(self) -> list[Run]:
        """The executions that it holds."""
        return list(self._runs.values())

    # ---- what users call --------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Work until stopped.

        Bodies that do not end when they are cancelled are left behind (`left_behind`): nobody waits for them, not even
        `asyncio.run` at its end, and what they still do is lost.

        Raises:
            SchedulerError: storage could not be reached at the start.
        """
        with signals.handled(self.stop):
            async with self:
                await self._stopping.wait()

    def stop(self) -> None:
        """Begin a graceful stop; the second call makes it a quick one."""
        if self._stopping.is_set():
            self._hurry.set()
        self._stopping.set()

    async def __aenter__(self) -> Self:
        """Register and start working.

        Raises:
            RuntimeError: it works already, or has worked; make another.
        """
        if self._serving is not None:
            raise RuntimeError(f"worker {self.id} has been started before; make a new Worker for every start")
        await self.join()
        self._membership.keep_alive()
        self._serving = self._spawn(self._serve(), "zart-claims")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop gracefully."""
        self._stopping.set()
        try:
            if self._serving is not None:
                if not self._claiming:
                    self._serving.cancel()
                # A claim in flight is let finish: what storage has granted already would be held by nobody.
                await self._within(GRACE, asyncio.wait([self._serving]))
                self._serving.cancel()
            await self._drain()
        finally:
            await self.leave()

    # ---- parts, in the order of a worker's life; the testing kit calls them one by one ------------------------------

    async def join(self) -> None:
        """Register with storage and start saving."""
        self.loop = asyncio.get_running_loop()
        self.pool = TaskPool(self.loop)
        install(self.loop)
        await self._membership.join()
        self._spawn(self.journal.run(), "zart-journal")

    async def claim_due(self) -> int:
        """Claim what is due, up to the free slots, and start it; return how many that were."""
        free = min(self._free_slots(), self.config.claim_batch or self.config.max_concurrent)
        self._claiming, self._is_more = True, False
        try:
            demand = self._demand(free)
            claims = await self.scheduler.claim(demand)
            self._is_more = len(claims) >= free > 0
            tells = logger.isEnabledFor(logging.INFO)
            if demand.worker != self.id:
                return 0  # declared dead meanwhile: what it was given has been taken from it
            for claim in claims:
                self._membership.time.tell(claim.now)
                if (before := self._runs.pop(claim.token.key, None)) is not None:
                    self._leaving.discard(before)  # let go, and claimed again before its last word was answered
                if tells:
                    logger.info("execution %s is running", claim.token.execution_id, extra=claim.tags)
                try:
                    run = self._runs[claim.token.key] = Run(claim, self.registry[claim.task], self, self.config.max_crashes)
                    run.start_safely()
                except Exception:
                    # It must not take the rest of its batch along. No beat tells it to be held, so it is handed out again.
                    logger.exception("execution %s cannot be taken in", claim.token.execution_id, extra=claim.tags)
                    self._runs.pop(claim.token.key, None)
        finally:
            self._claiming = False  # not before all are in the books: a beat in between would give them back
        if not self.has_free_slots():
            self._slot.clear()
            self._was_full = True
        return len(claims)

    async def beat(self) -> None:
        """Give a sign of life by hand."""
        await self._membership.beat()

    def abandon(self) -> None:
        """Vanish as a killed process does: nothing more is written, nothing handed back."""
        self._membership.silence()
        for task in self._tasks:
            task.cancel()
        self._drop_all()
        self.pool.close()

    async def leave(self) -> None:
        """Say goodbye: what is still held becomes due at once."""
        try:
            await self._within(GRACE, self._membership.leave())
        finally:
            self.pool.close()
            for task in self._tasks:
                task.cancel()
            if self._tasks:
                await asyncio.wait(self._tasks)

    # ---- what runs ask for (Host) -----------------------------------------------------------------------------------

    def has_free_slots(self) -> bool:
        """Whether it could run more than it does."""
        return self._free_slots() > 0

    def leaving(self, run: Run) -> None:
        """Give its slot to another: what is next is claimed while the run's last word is being saved."""
        if self._runs.get(run.claim.token.key) is run:
            self._leaving.add(run)
            self._slot.set()

    def ended(self, run: Run) -> None:
        """Let go of a run."""
        self._leaving.discard(run)
        if self._runs.get(run.claim.token.key) is run:
            del self._runs[run.claim.token.key]
            self._slot.set()
        if run.remains():
            unwinding = self._spawn(self._unwind(run), "zart-unwind")
            self.unwinding.add(unwinding)
            unwinding.add_done_callback(self.unwinding.discard)

    # ---- inside -----------------------------------------------------------------------------------------------------

    def _free_slots(self) -> int:
        # As many again may be leaving, and no more: where storage saves slower than it hands out, work must not pile up here.
        most = self.config.max_concurrent
        return most - max(len(self._runs) - len(self._leaving), len(self._runs) - most)

    def _told(self, reply: BeatReply) -> None:
        """Act on what a beat has brought."""
        for token in reply.lost:
            if (run := self._runs.get(token.key)) is not None and run.claim.token == token:
                run.lose()
        for key, mail in reply.mail.items():
            if key in self._runs:
                self._runs[key].deliver(mail)
        for run in list(self._runs.values()):
            run.lease_renewed()

    def _drop_all(self) -> None:
        for run in list(self._runs.values()):
            run.lose()

    def _held(self) -> tuple[list[Held], bool]:
        """Return what it holds, and whether that is all."""
        # Called from the heartbeat's thread. First whether a claim is in flight: what it brings may come after the look. One C
        # call copies the dictionary's values, so it cannot change underneath.
        is_all = not self._claiming
        return [Held(run.claim.token, run.seen) for run in tuple(self._runs.values())], is_all

    def _demand(self, limit: int) -> Demand:
        suspects = sum(run.claim.crashes >= SUSPECT for run in self._runs.values())
        timeouts = {task.name: task.timeout for task in self.registry}
        return Demand(self.id, self.config.queues, timeouts, limit, max(0, 1 - suspects))

    async def _serve(self) -> None:
        gap = _FIRST_PAUSE
        while not self._stopping.is_set():
            await self._slot.wait()
            beats = False
            try:
                await self.claim_due()
                if self._is_more:
                    await self._gather_slots()
                elif not self._stopping.is_set():
                    await self._wait()
                gap = _FIRST_PAUSE
                continue
            except WorkerNotAlive:
                beats = True  # perhaps the lease has only run out: a beat renews it, or tells that it is too late
            except SchedulerError as error:
                logger.warning("claiming failed, trying again in %.1f s: %s", gap, error)
            except Exception:
                # A fault in the backend or the engine must not end the worker: what it holds would be lost with it.
                logger.exception("claiming failed, trying again in %.1f s", gap)
            await pause(self.clock, gap)
            if beats:
                await self._beat_quietly()
            gap = min(gap * 2, _LONGEST_PAUSE)

    async def _wait(self) -> None:
        """Wait for a hint, at most until the next poll."""
        # Never sooner, and not always alike: polls of many workers must not fall into step.
        poll = self.config.poll_interval * (1 + self.randomness.random() / 4)
        began = self.clock.monotonic()
        await self.scheduler.wait(self._demand(1), poll)
        if self._runs and self.clock.monotonic() - began < self.config.poll_interval.total_seconds():
            # The hint may be about what it holds, mail or a cancel: those come with a beat.
            await self._beat_quietly()

    async def _beat_quietly(self) -> None:
        try:
            await self.beat()
        except SchedulerError as error:
            logger.warning("beat failed, the next one comes by itself: %s", error)
        except Exception:
            logger.exception("beat failed, the next one comes by itself")

    async def _gather_slots(self) -> None:
        """While all slots are taken there may be more work than slots: let some come free, and claim for all of them at once.

        A claim for every single slot would cost storage more than the work itself; and a slot loses a few milliseconds at most.
        """
        await self._slot.wait()
        enough = self.config.max_concurrent - self.config.max_concurrent // 4
        rounds = GATHER_ROUNDS if self._was_full else 0
        while rounds and len(self._runs) - len(self._leaving) > enough:
            await pause(self.clock, GATHER / GATHER_ROUNDS)
            rounds -= 1
        self._was_full = False

    async def _drain(self) -> None:
        """Let work finish for a while, then detach what is left and save what is finished of it."""
        patience = self.clock.call_later(self.config.shutdown_timeout.total_seconds(), self._hurry.set)
        while self._runs and not self._hurry.is_set():
            self._slot.clear()
            waits = [asyncio.ensure_future(self._slot.wait()), asyncio.ensure_future(self._hurry.wait())]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for each in waits:
                each.cancel()
        patience.cancel()
        left = list(self._runs.values())
        for run in left:
            run.detach()
        await asyncio.gather(self._within(GRACE, self.journal.flushed()), *(self._unwind(run) for run in left))
        self._runs.clear()

    async def _unwind(self, run: Run) -> None:
        """Cancel a detached body until it has ended, or for a second."""
        for _ in range(int(UNWIND / _UNWIND_ROUND)):
            for task in run.remains():
                task.cancel()
            # A well-behaved body ends within a few turns of the loop; only a stubborn one costs time.
            for _ in range(20):
                await asyncio.sleep(0)
                if not run.remains():
                    return
            await pause(self.clock, _UNWIND_ROUND)
        self.left_behind += 1
        logger.warning(
            "the body of execution %s does not end when cancelled; it is left", run.execution_id, extra=run.claim.tags
        )
        for task in run.remains():
            # Nobody's any more. asyncio.run would wait at its end for every task that it knows, and so for ever.
            asyncio._unregister_task(task)  # noqa: SLF001 # documented, for whoever keeps tasks of his own

    async def _within(self, seconds: float, work: Any) -> None:
        """Await something, but not for long."""
        try:
            async with limited(self.clock, seconds, f"gave up after {seconds:g} s"):
                await work
        except TimeoutError as error:
            logger.warning("%s", error)

    def _spawn(self, work: Any, name: str) -> "asyncio.Task[None]":
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
