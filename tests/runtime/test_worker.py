"""Workers in real time, with their own threads: leases, stalls, graceful stops, idleness."""

import asyncio
import logging
import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest
from attrs import evolve

from zart import (
    DurableScheduler,
    ExecutionStatus,
    InMemoryScheduler,
    StepTimedOut,
    TaskContext,
    TaskHandler,
    Worker,
    WorkerConfig,
)
from zart.errors import WorkerNotAlive
from zart.records import BeatReply, Claim, Commit, Committed, Demand, WorkerBeat
from zart.scheduler import Storage
from zart.testing import FakeClock, Harness

QUICK = WorkerConfig(lease="1.5s", heartbeat_interval="100ms", poll_interval="100ms", shutdown_timeout="100ms")


class Blocks(TaskHandler[None, int]):
    """Blocks the event loop for longer than a lease, as only a mistake does."""

    def __init__(self) -> None:
        self.starts = 0

    async def run(self, ctx: TaskContext, data: None) -> int:
        return await ctx.step("blocks", self.block)

    async def block(self) -> int:
        self.starts += 1
        time.sleep(4)  # noqa: ASYNC251 # the point of the test
        return self.starts


async def test_a_blocking_step_keeps_its_lease_and_is_named(storage: Storage, caplog: pytest.LogCaptureFixture) -> None:
    blocks = Blocks()
    client = DurableScheduler(storage)
    caplog.set_level(logging.WARNING, "zart.heartbeat")
    async with Worker(storage, [blocks], QUICK):
        handle = await client.start_for(blocks, "blocked", None)
        assert await handle.result("20s") == 1
    assert blocks.starts == 1
    warning = next(record.getMessage() for record in caplog.records if record.name == "zart.heartbeat")
    assert "blocked/blocks" in warning
    assert "block" in warning


class Hangs(TaskHandler[str, str]):
    """A step that never returns, on the loop or in a thread."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.release = threading.Event()

    async def run(self, ctx: TaskContext, data: str) -> str:
        try:
            await ctx.step("hangs", self.hang_async if data == "async" else self.hang_sync, timeout="200ms")
        except StepTimedOut as error:
            return error.step
        return "returned"

    async def hang_async(self) -> None:
        while True:
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                if self.release.is_set():
                    raise

    def hang_sync(self) -> None:
        self.release.wait()


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_a_step_that_never_returns_times_out(storage: Storage, kind: str) -> None:
    hangs = Hangs()
    client = DurableScheduler(storage)
    async with Worker(storage, [hangs], QUICK):
        handle = await client.start_for(hangs, "x", kind)
        assert await handle.result("20s") == "hangs"
        hangs.release.set()
        for task in asyncio.all_tasks():
            if task.get_name() == "x/hangs":
                task.cancel()


class Waits(TaskHandler[None, int]):
    """Holds its slot until it is let go, by whichever worker runs it."""

    def __init__(self) -> None:
        self.starts = 0
        self.started = asyncio.Event()
        self.cleaned = asyncio.Event()

    async def run(self, ctx: TaskContext, data: None) -> int:
        try:
            return await ctx.step("works", self.work)
        finally:
            self.cleaned.set()

    async def work(self) -> int:
        self.starts += 1
        self.started.set()
        if self.starts == 1:
            await asyncio.get_running_loop().create_future()
        return self.starts


async def test_a_graceful_stop_hands_back_at_once(storage: Storage) -> None:
    waits = Waits()
    client = DurableScheduler(storage)
    patient = WorkerConfig(lease="10m", poll_interval="100ms", shutdown_timeout="100ms")
    async with Worker(storage, [waits], patient):
        handle = await client.start_for(waits, "x", None)
        await waits.started.wait()
    assert waits.cleaned.is_set()
    assert (await handle.record()).status is ExecutionStatus.PENDING
    async with Worker(storage, [waits], patient):
        assert await handle.result("20s") == 2
    execution = await storage.get("x")
    assert execution is not None
    assert execution.crashes == 0


async def test_cancel_reaches_a_running_body(storage: Storage) -> None:
    waits = Waits()
    client = DurableScheduler(storage)
    async with Worker(storage, [waits], QUICK) as worker:
        handle = await client.start_for(waits, "x", None)
        await waits.started.wait()
        assert await handle.cancel()
        await waits.cleaned.wait()
        assert not worker.runs
        assert (await handle.record()).status is ExecutionStatus.CANCELLED


async def test_a_vanished_workers_work_is_taken_over_after_its_lease(storage: Storage) -> None:
    waits = Waits()
    client = DurableScheduler(storage)
    first = Worker(storage, [waits], QUICK)
    await first.__aenter__()
    handle = await client.start_for(waits, "x", None)
    await waits.started.wait()
    first.abandon()
    async with Worker(storage, [waits], QUICK):
        assert await handle.result("20s") == 2
    execution = await storage.get("x")
    assert execution is not None
    assert execution.fence >= 3


class Kills(TaskHandler[None, None]):
    """Brings down every worker that runs it."""

    def __init__(self) -> None:
        self.worker: Worker | None = None
        self.starts = 0
        self.died = asyncio.Event()

    async def run(self, ctx: TaskContext, data: None) -> None:
        await ctx.step("kills", self.kill)

    async def kill(self) -> None:
        self.starts += 1
        assert self.worker is not None
        self.worker.abandon()
        self.died.set()


async def test_a_poison_execution_fails_with_the_list_of_its_workers() -> None:

    clock = FakeClock()
    kills = Kills()
    async with InMemoryScheduler(clock=clock) as storage:
        client = DurableScheduler(storage, clock=clock)
        await client.start_for(kills, "poison", None)
        names = []
        while True:
            clock.advance("20s")
            kills.worker = Worker(storage, [kills], WorkerConfig(max_crashes=3), clock=clock)
            names.append(kills.worker.id)
            await kills.worker.join()
            await kills.worker.beat()
            await kills.worker.claim_due()
            await kills.worker.journal.flushed()
            if (await client.status("poison")).status is ExecutionStatus.FAILED:
                kills.worker.abandon()
                break
            await kills.died.wait()
            kills.died.clear()
        assert kills.starts == 3
        reason = (await client.status("poison")).reason
        assert reason is not None
        assert "crash loop" in reason
        assert all(name in reason for name in names[:3])


class _Counting:
    """Counts the statements of an idle worker."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.beats = 0
        self.claims = 0
        self.enough = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    async def beat(self, beat: WorkerBeat) -> BeatReply:
        self.beats += 1
        if self.beats == 20:
            self._loop.call_soon_threadsafe(self.enough.set)
        return await self._storage.beat(beat)

    async def claim(self, demand: Demand) -> Sequence[Claim]:
        self.claims += 1
        return await self._storage.claim(demand)


async def test_an_idle_worker_says_no_more_than_its_beats_and_polls(storage: Storage) -> None:
    counting = _Counting(storage)
    client = DurableScheduler(storage)
    waits = EventWaits()
    config = WorkerConfig(heartbeat_interval="100ms", poll_interval="100ms", park_after="10ms")
    async with Worker(counting, [waits], config) as worker:  # type: ignore[arg-type] # stands in for the storage
        for number in range(50):
            await client.start_for(waits, f"x{number}", None)
        while any([(await client.status(f"x{number}")).status is not ExecutionStatus.WAITING for number in range(50)]):
            await storage.wait(["x49"], QUICK.poll_interval)
        assert not worker.runs
        counting.beats = counting.claims = 0
        await counting.enough.wait()
        assert counting.claims <= counting.beats + 2


class Faulty(InMemoryScheduler):
    """Meets a fault of its own in one beat: that by hand, that which registers again, or the last."""

    def __init__(self, which: str) -> None:
        super().__init__()
        self.which = which
        self.told_dead = False
        self.met = asyncio.Event()

    async def claim(self, demand: Demand) -> Sequence[Claim]:
        if self.which == "by hand" and not self.told_dead:
            self.told_dead = True
            raise WorkerNotAlive("its lease has run out")
        return await super().claim(demand)

    async def beat(self, beat: WorkerBeat) -> BeatReply:
        if self.which == "again" and not self.told_dead and not beat.register:
            self.told_dead = True
            return evolve(await super().beat(evolve(beat, leaving=True)), alive=False)
        kind = "leaving" if beat.leaving else "again" if beat.register else "by hand"
        if kind == self.which and not self.met.is_set() and (self.told_dead or beat.leaving):
            self.met.set()
            raise ValueError("a fault of the driver")
        return await super().beat(beat)


@pytest.mark.parametrize(
    ("which", "heartbeat", "said"),
    [("by hand", "5m", "beat failed, the next one comes by itself"), ("again", "50ms", "joining again failed, trying again")],
)
async def test_after_a_fault_in_a_beat_the_worker_goes_on(
    which: str, heartbeat: str, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    config = WorkerConfig(lease="15m", heartbeat_interval=heartbeat, poll_interval="50ms")
    async with Faulty(which) as storage, Worker(storage, [Polite()], config) as worker:
        await storage.met.wait()
        handle = await DurableScheduler(storage).start_for(Polite, "x", None)
        assert await handle.result("20s") == "fine"
        assert said in caplog.text
        assert not worker._membership._rejoining


class Hanging(InMemoryScheduler):
    """Answers claims until one has brought something."""

    def __init__(self) -> None:
        super().__init__()
        self.hangs = asyncio.Event()
        self.goodbyes = 0
        self._has_given = False

    async def claim(self, demand: Demand) -> Sequence[Claim]:
        if self._has_given:
            self.hangs.set()
            await asyncio.Event().wait()
        claims = await super().claim(demand)
        self._has_given = bool(claims)
        return claims

    async def beat(self, beat: WorkerBeat) -> BeatReply:
        self.goodbyes += beat.leaving
        return await super().beat(beat)


async def test_a_worker_whose_task_is_cancelled_while_a_claim_hangs_says_goodbye() -> None:
    waits = EventWaits()
    async with Hanging() as storage:
        client = DurableScheduler(storage)
        await client.start_for(waits, "x", None)
        worker = Worker(storage, [waits], evolve(QUICK, shutdown_timeout=0))

        async def app() -> None:
            async with worker:
                await asyncio.Event().wait()

        working = asyncio.ensure_future(app())
        await storage.hangs.wait()
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await working
        assert storage.goodbyes == 1
        assert not worker._tasks


async def test_a_worker_that_cannot_say_goodbye_leaves_nothing_behind(caplog: pytest.LogCaptureFixture) -> None:
    async with Faulty("leaving") as storage:
        worker = Worker(storage, [Polite()], QUICK)
        async with worker:
            assert worker._tasks
        assert storage.met.is_set()
        assert "could not say goodbye" in caplog.text
        assert not worker._tasks


@pytest.mark.parametrize("part", ["_drain", "leave"])
async def test_whatever_a_stop_stumbles_over_the_worker_ends(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def stumble() -> None:
        raise ValueError("a fault of the engine's own")

    async with InMemoryScheduler() as storage:
        worker = Worker(storage, [Polite()], QUICK)
        monkeypatch.setattr(worker if part == "_drain" else worker._membership, part, stumble)
        with pytest.raises(ValueError, match="engine's own"):
            async with worker:
                assert worker._tasks
        assert not worker._tasks
        worker._membership.silence()


async def test_a_worker_joins_again_whatever_it_stumbles_over_when_it_drops_what_it_holds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with Harness([Polite()]) as h:

        def stumble() -> None:
            raise ValueError("a fault of the engine's own")

        await h.scheduler.beat(evolve(h.worker._membership._heartbeat.beat, leaving=True))
        monkeypatch.setattr(h.worker._membership, "_expelled", stumble)
        with pytest.raises(ValueError, match="engine's own"):
            await h.worker.beat()
        handle = await h.client.start_for(Polite, "x", None)
        assert await handle.result("1s") == "fine"


class Polite(TaskHandler[None, str]):
    async def run(self, ctx: TaskContext, data: None) -> str:
        return "fine"


class EventWaits(TaskHandler[None, None]):
    async def run(self, ctx: TaskContext, data: None) -> None:
        await ctx.wait_for_event("never")


class HoldsCommits(InMemoryScheduler):
    """Saves nothing until it is told to."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock=clock)
        self.go_on = asyncio.Event()

    async def commit(self, commits: Sequence[Commit]) -> Sequence[Committed]:
        await self.go_on.wait()
        return await super().commit(commits)


async def test_the_next_execution_is_claimed_while_the_last_word_of_the_one_before_is_being_saved() -> None:
    class Begins(TaskHandler[str, None]):
        name = "begins"

        async def run(self, ctx: TaskContext, data: str) -> None:
            """End at once."""

    async with Harness([Begins()], config=WorkerConfig(max_concurrent=1), storage=HoldsCommits) as h:
        for number in range(4):
            await h.client.start(f"b-{number}", "begins", "")
        assert await h.worker.claim_due() == 1
        while not h.worker.has_free_slots():
            await asyncio.sleep(0)
        assert await h.worker.claim_due() == 1
        for _ in range(50):
            await asyncio.sleep(0)
        # But no third one: as many again may be leaving, and no more.
        assert not h.worker.has_free_slots()
        assert await h.worker.claim_due() == 0
        h.scheduler.go_on.set()
        await h.run_to_idle()
        assert [(await h.client.status(f"b-{number}")).status for number in range(4)] == ["completed"] * 4
