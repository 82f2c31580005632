"""An execution whose row somebody else holds comes again after a pause that grows, while all others go on."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from zart import DurableScheduler, InMemoryScheduler, TaskContext, TaskHandler, Worker, WorkerConfig
from zart.ids import SystemRandomness
from zart.journal import Journal
from zart.outbox import Outbox
from zart.records import Commit, Committed, Fate, StepRecord, Token
from zart.status import Phase, StepKind
from zart.testing import FakeClock


class Half(SystemRandomness):
    """Chance that is always one half, so that every pause is three quarters of the longest."""

    def __init__(self) -> None:
        self.random = lambda: 0.5


class Says:
    """An author that says one thing, through an outbox."""

    seen = 0

    def __init__(self, journal: Journal, key: int) -> None:
        self.token = Token(f"x{key}", 1, key, 1)
        self.outbox = Outbox(journal, self, 1)
        self.saved_at: list[int] = []

    @property
    def execution_id(self) -> str:
        return self.token.execution_id

    def lose(self) -> None:
        self.outbox.close()

    def say(self) -> None:
        self.outbox.add(None, StepRecord(0, "s", StepKind.STEP, Phase.OUTCOME))

    def take(self) -> Commit | None:
        return self.outbox.take(self.token, 0)

    def saved(self, commit: Commit, answer: Committed) -> None:
        lines = self.outbox.landed(answer.fate)
        if answer.fate is Fate.BUSY:
            self.outbox.again(lines)
        else:
            self.saved_at += [record.seq for _, record in lines]
            self.outbox.send_rest()


class Locked:
    """Storage in which somebody holds some of the rows."""

    def __init__(self) -> None:
        self.locked: set[int] = set()
        self.fails: set[int] = set()
        self.asked: list[list[int]] = []

    async def commit(self, commits: Sequence[Commit]) -> Sequence[Committed]:
        keys = [each.token.key for each in commits]
        self.asked.append(keys)
        if self.fails & set(keys):
            raise ZeroDivisionError
        return [Committed(Fate.BUSY) if key in self.locked else Committed() for key in keys]

    def times(self, key: int) -> int:
        return sum(key in each for each in self.asked)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def storage() -> Locked:
    return Locked()


@pytest.fixture
async def journal(clock: FakeClock, storage: Locked) -> Any:
    made = Journal(storage, clock, Half(), lambda: 10)  # type: ignore[arg-type] # it only commits
    task = asyncio.create_task(made.run())
    yield made
    task.cancel()
    await asyncio.wait([task])


async def turns() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_the_pause_grows_from_5_ms_to_a_second_and_others_go_on(
    journal: Journal, storage: Locked, clock: FakeClock
) -> None:
    busy, other = Says(journal, 1), Says(journal, 2)
    storage.locked = {1}
    busy.say()
    await turns()
    assert storage.times(1) == 1
    for number, gap in enumerate((5, 10, 20, 40, 80, 160, 320, 640, 1000, 1000, 1000), 1):
        clock.advance(f"{gap * 3 // 4 - 1}ms")
        other.say()
        busy.say()  # goes along with what waits
        await turns()
        assert (storage.times(1), len(other.saved_at)) == (number, number)
        clock.advance("2ms")
        await turns()
        assert storage.times(1) == number + 1
    storage.locked = set()
    clock.advance("1s")
    await turns()
    assert busy.saved_at == list(range(1, 13))
    storage.locked = {1}
    busy.say()
    await turns()
    clock.advance("4ms")  # the first pause again
    await turns()
    assert storage.times(1) == 12 + 3


async def test_all_is_said_only_when_what_was_busy_is_said(journal: Journal, storage: Locked, clock: FakeClock) -> None:
    busy = Says(journal, 1)
    storage.locked = {1}
    busy.say()
    await turns()
    flushed = asyncio.create_task(journal.flushed())
    await turns()
    assert not flushed.done()
    storage.locked = set()
    busy.outbox.hurry()
    await flushed
    assert busy.saved_at == [1]
    assert clock.monotonic() == 0


async def test_who_is_lost_says_nothing_more(journal: Journal, storage: Locked, clock: FakeClock) -> None:
    busy = Says(journal, 1)
    storage.locked = {1}
    busy.say()
    await turns()
    flushed = asyncio.create_task(journal.flushed())
    busy.outbox.close()
    await flushed
    clock.advance("10s")
    await turns()
    assert storage.times(1) == 1


async def test_an_execution_over_which_the_backend_stumbles_does_not_silence_the_others(
    journal: Journal, storage: Locked, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    bad, good = Says(journal, 1), Says(journal, 2)
    storage.fails = {1}
    bad.say()
    good.say()
    await turns()
    assert good.saved_at == [1]
    for _ in range(20):
        clock.advance("100ms")
        good.say()
        await turns()
    assert good.saved_at == list(range(1, 22))
    assert "saving execution x1 failed" in caplog.text
    storage.fails = set()
    clock.advance("5s")
    await turns()
    assert bad.saved_at == [1]


async def test_a_backend_that_forgets_an_answer_holds_up_only_whom_it_forgets(
    journal: Journal, storage: Locked, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    commit = storage.commit

    async def forgets(commits: Sequence[Commit]) -> Sequence[Committed]:
        return [answer for each, answer in zip(commits, await commit(commits), strict=True) if each.token.key != 1]

    storage.commit = forgets  # type: ignore[method-assign] # the point
    forgotten, good = Says(journal, 1), Says(journal, 2)
    forgotten.say()
    good.say()
    await turns()
    assert (good.saved_at, forgotten.saved_at) == ([1], [])
    assert "storage gave 1 answers to 2 commits" in caplog.text


class Between:
    """Holds the row of execution x, in front of a storage."""

    def __init__(self, storage: Any) -> None:
        self._storage = storage
        self.tries = 0
        self.free_after: int | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    async def commit(self, commits: Sequence[Commit]) -> Sequence[Committed]:
        answers = []
        for each in commits:
            held = each.token.execution_id == "x" and (self.free_after is None or self.tries < self.free_after)
            self.tries += held
            answers += [Committed(Fate.BUSY)] if held else await self._storage.commit([each])
        return answers


class Counts(TaskHandler[int, int]):
    """Runs so many steps."""

    async def run(self, ctx: TaskContext, data: int) -> int:
        for number in range(data):
            await ctx.step(f"s{number}", self.one)
        return data

    async def one(self) -> int:
        return 1


async def test_a_worker_does_not_spin_on_a_row_that_somebody_holds() -> None:
    async with InMemoryScheduler() as storage:
        between = Between(storage)
        client = DurableScheduler(storage)
        held = await client.start_for(Counts, "x", 1)
        other = await client.start_for(Counts, "y", 200)
        async with Worker(between, [Counts()], WorkerConfig(poll_interval="50ms")):
            assert await other.result("20s") == 200
            assert between.tries < 40  # it were one for each of the other's 200 steps
            between.free_after = 0
            assert await held.result("20s") == 1


async def test_what_is_busy_when_its_worker_stops_is_saved_all_the_same() -> None:
    async with InMemoryScheduler() as storage:
        between = Between(storage)
        await DurableScheduler(storage).start_for(Counts, "x", 1)
        async with Worker(between, [Counts()], WorkerConfig(poll_interval="50ms", shutdown_timeout=0)) as worker:
            while between.tries < 3:
                await asyncio.sleep(0)
            between.free_after = between.tries + 1
            worker.stop()
        assert [each.name for each in (await storage.history("x")).steps] == ["s0"]
