"""Claims whose reply was lost, and executions that their worker let go without a word: a beat brings them back."""

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

from zart import (
    DurableScheduler,
    InMemoryScheduler,
    Registry,
    StorageUnavailable,
    TaskContext,
    TaskHandler,
    Worker,
    WorkerConfig,
)
from zart.clock import SECOND
from zart.heartbeat import Heartbeat
from zart.records import BeatReply, Claim, Commit, Committed, Demand, Fate, WorkerBeat
from zart.scheduler import Storage
from zart.testing import FakeClock

PATIENT = WorkerConfig(lease="10m", heartbeat_interval="50ms", poll_interval="50ms")
"""So long a lease that nothing comes back by it."""


class Counts(TaskHandler[None, int]):
    """Returns how many times its step was begun."""

    def __init__(self) -> None:
        self.starts = 0

    async def run(self, ctx: TaskContext, data: None) -> int:
        return await ctx.step("counts", self.count)

    async def count(self) -> int:
        self.starts += 1
        return self.starts


class Between:
    """Stands between a worker and its storage."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)


class LosesReplies(Between):
    """Loses the reply to the first claim that brings something."""

    lost = 0

    async def claim(self, demand: Demand) -> Sequence[Claim]:
        claims = await self._storage.claim(demand)
        if claims and not self.lost:
            self.lost = len(claims)
            raise StorageUnavailable("the reply was lost")
        return claims


async def test_what_a_lost_reply_brought_runs_after_a_beat_and_no_crash_counts(storage: Storage) -> None:
    counts = Counts()
    client = DurableScheduler(storage)
    handles = [await client.start_for(counts, f"x{number}", None) for number in range(3)]
    between = LosesReplies(storage)
    async with Worker(between, [counts], PATIENT):
        results = [await handle.result("20s") for handle in handles]
    assert (between.lost, sorted(results)) == (3, [1, 2, 3])
    for handle in handles:
        execution = await storage.get(handle.execution_id)
        assert execution is not None
        assert (execution.crashes, execution.fence) == (0, 3)


class HoldsReplies(Between):
    """Holds back the reply to the first claim that brings something, until three beats have come."""

    def __init__(self, storage: Storage) -> None:
        super().__init__(storage)
        self.beats: list[WorkerBeat] = []
        self._loop = asyncio.get_running_loop()
        self._beaten = asyncio.Event()
        self._wanted: int | None = None
        self._lock = threading.Lock()

    async def claim(self, demand: Demand) -> Sequence[Claim]:
        claims = await self._storage.claim(demand)
        if claims and self._wanted is None:
            with self._lock:
                self.beats.clear()
                self._wanted = 3
            await self._beaten.wait()
        return claims

    async def beat(self, beat: WorkerBeat) -> BeatReply:
        reply = await self._storage.beat(beat)
        with self._lock:
            self.beats.append(beat)
            if len(self.beats) == self._wanted:
                self._loop.call_soon_threadsafe(self._beaten.set)
        return reply


async def test_while_a_claim_is_in_flight_nothing_is_handed_back(storage: Storage) -> None:
    counts = Counts()
    client = DurableScheduler(storage)
    between = HoldsReplies(storage)
    async with Worker(between, [counts], PATIENT):
        handle = await client.start_for(counts, "x", None)
        assert await handle.result("20s") == 1
    # The first may have begun its look before the claim was made.
    assert [beat.held_at for beat in between.beats[1:3]] == [None, None]
    execution = await storage.get("x")
    assert execution is not None
    assert execution.fence == 1


class Refuses(Between):
    """Refuses whatever is said, as long as it likes."""

    refused = 0

    async def commit(self, commits: Sequence[Commit]) -> Sequence[Committed]:
        if self.refused < 3:  # the outcome, the failure in its place, and that it is set aside
            self.refused += len(commits)
            return [Committed(fate=Fate.REFUSED, reason="no room")] * len(commits)
        return await self._storage.commit(commits)


async def test_an_execution_that_cannot_even_be_set_aside_runs_again(storage: Storage) -> None:
    counts = Counts()
    client = DurableScheduler(storage)
    between = Refuses(storage)
    async with Worker(between, [counts], PATIENT):
        handle = await client.start_for(counts, "x", None)
        assert await handle.result("20s") == 2
    execution = await storage.get("x")
    assert execution is not None
    assert (between.refused, execution.crashes) == (3, 0)


class Looks(Registry):
    """Asks a worker what it holds while it takes a claim in."""

    worker: Worker
    seen: bool | None = None

    def __getitem__(self, name: str) -> Any:
        _, self.seen = self.worker._held()
        return super().__getitem__(name)


async def test_a_claim_is_in_flight_until_all_of_it_is_in_the_books() -> None:
    looks = Looks([Counts()])
    async with InMemoryScheduler() as storage:
        looks.worker = Worker(storage, looks, PATIENT)
        assert looks.worker._held() == ([], True)
        await looks.worker.join()
        await DurableScheduler(storage).start("x", "Counts", None)
        assert await looks.worker.claim_due() == 1
        held, is_all = looks.worker._held()
        assert (looks.seen, is_all, [each.token.execution_id for each in held]) == (False, True, ["x"])
        looks.worker.abandon()


async def test_held_at_is_the_time_that_storage_told_before_the_look() -> None:
    clock = FakeClock()
    beats: list[WorkerBeat] = []

    class Scheduler:
        async def beat(self, beat: WorkerBeat) -> BeatReply:
            beats.append(beat)
            return BeatReply(alive=len(beats) != 3, now=len(beats) * SECOND)

    def held() -> tuple[Sequence[Any], bool]:
        heartbeat._told = 100 * SECOND if looked_long else heartbeat._told  # another beat was answered meanwhile
        return (), True

    looked_long = False
    beat = WorkerBeat("w", 15 * SECOND, ("default",), ("t",))
    heartbeat = Heartbeat(Scheduler(), clock, beat, held)  # type: ignore[arg-type] # a beat is all that it says
    await heartbeat.once(register=True)
    clock.advance("5s")
    await heartbeat.once()
    await heartbeat.once()  # which is not alive: its time is not that of a worker that holds anything
    looked_long = True
    await heartbeat.once()
    assert [each.held_at for each in beats] == [None, SECOND, 2 * SECOND, 2 * SECOND]
