"""Group commit, clause by clause: who goes out when, in which groups, and what happens while storage does not answer."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import pytest

from zart.errors import StorageUnavailable
from zart.journal import SMALLEST_CAP, Journal
from zart.records import Commit, Committed, Fate, Token
from zart.testing import FakeClock


class Chance:
    """Randomness that says what a test wants."""

    def __init__(self) -> None:
        self.value = 0.0

    def random(self) -> float:
        return self.value

    def uuid(self) -> UUID:
        raise AssertionError


class Store:
    """The one method that a journal needs of its scheduler."""

    def __init__(self) -> None:
        self.groups: list[list[str]] = []
        self.faults: list[Exception | Callable[[Sequence[Commit]], Sequence[Committed]]] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def commit(self, commits: Sequence[Commit]) -> Sequence[Committed]:
        self.groups.append([each.token.execution_id for each in commits])
        await self.gate.wait()
        if self.faults:
            fault = self.faults.pop(0)
            if isinstance(fault, Exception):
                raise fault
            return fault(commits)
        return [Committed(reason=each.token.execution_id) for each in commits]


class Writer:
    """An author with some words, each to be saved apart."""

    def __init__(self, name: str, words: int = 1) -> None:
        self.name = name
        self.words = words
        self.answers: list[Committed] = []
        self.lost = False

    @property
    def execution_id(self) -> str:
        return self.name

    def lose(self) -> None:
        self.lost = True

    def take(self) -> Commit | None:
        if self.words == 0:
            return None
        self.words -= 1
        return Commit(Token(self.name, 1, 1, 1), [], 0)

    def saved(self, commit: Commit, answer: Committed) -> None:
        assert commit.token.execution_id == self.name
        self.answers.append(answer)


class Desk:
    """A journal that runs, and what it runs on."""

    def __init__(self) -> None:
        self.store, self.clock, self.chance, self.running = Store(), FakeClock(), Chance(), 0
        self.journal = Journal(self.store, self.clock, self.chance, lambda: self.running)  # type: ignore[arg-type]

    async def turn(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)


@asynccontextmanager
async def at_work() -> AsyncIterator[Desk]:
    desk = Desk()
    task = asyncio.create_task(desk.journal.run())
    try:
        yield desk
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def is_flushed(desk: Desk) -> bool:
    waiting = asyncio.create_task(desk.journal.flushed())
    await desk.turn()
    done = waiting.done()
    waiting.cancel()
    return done


async def test_a_journal_with_nothing_to_say_is_flushed_and_silent() -> None:
    async with at_work() as desk:
        assert await is_flushed(desk)
        assert desk.store.groups == []
        assert desk.journal.commits == 0


async def test_while_one_group_is_in_flight_authors_gather_in_their_order() -> None:
    async with at_work() as desk:
        desk.store.gate.clear()
        writers = [Writer(name) for name in "abc"]
        desk.journal.write(writers[0])
        await desk.turn()
        desk.journal.write(writers[1])
        desk.journal.write(writers[2])
        await desk.turn()
        assert desk.store.groups == [["a"]]
        assert not await is_flushed(desk)
        desk.store.gate.set()
        await desk.turn()
        assert desk.store.groups == [["a"], ["b", "c"]]
        assert [[each.reason for each in writer.answers] for writer in writers] == [["a"], ["b"], ["c"]]
        assert await is_flushed(desk)
        assert desk.journal.commits == 2


@pytest.mark.parametrize(("running", "cap"), [(0, 16), (32, 16), (33, 16), (34, 17), (100, 50)])
async def test_a_group_is_capped_at_half_of_the_running_executions_and_at_16_at_least(running: int, cap: int) -> None:
    assert SMALLEST_CAP == 16
    async with at_work() as desk:
        desk.running = running
        for number in range(2 * cap + 1):
            desk.journal.write(Writer(str(number)))
        await desk.turn()
        assert [len(group) for group in desk.store.groups] == [cap, cap, 1]
        assert [name for group in desk.store.groups for name in group] == [str(number) for number in range(2 * cap + 1)]


async def test_who_has_nothing_left_to_say_takes_no_place() -> None:
    async with at_work() as desk:
        for number in range(20):
            desk.journal.write(Writer(str(number), words=0 if number < 10 else 1))
        desk.journal.write(Writer("silent", words=0))
        await desk.turn()
        assert [len(group) for group in desk.store.groups] == [10]
        assert await is_flushed(desk)
        desk.journal.write(Writer("silent", words=0))
        await desk.turn()
        assert len(desk.store.groups) == desk.journal.commits == 1  # no empty group goes out


async def test_storage_that_is_away_is_asked_again_after_growing_pauses() -> None:
    async with at_work() as desk:
        desk.chance.value = 1.0  # the longest of each
        desk.store.faults = [StorageUnavailable("away")] * 9
        writer = Writer("a")
        desk.journal.write(writer)
        await desk.turn()
        for asked, gap in enumerate([0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0], 1):
            assert len(desk.store.groups) == asked
            desk.clock.advance(gap - 0.001)
            await desk.turn()
            assert len(desk.store.groups) == asked, f"sooner than after {gap} s"
            desk.clock.advance(0.001)
            await desk.turn()
        assert desk.store.groups == [["a"]] * 10
        assert [each.fate for each in writer.answers] == [Fate.APPLIED]
        assert desk.journal.commits == 1


@pytest.mark.parametrize(("chance", "gap"), [(0.0, 0.025), (0.5, 0.0375), (1.0, 0.05)])
async def test_pauses_differ_by_half(chance: float, gap: float) -> None:
    async with at_work() as desk:
        desk.chance.value = chance
        desk.store.faults = [StorageUnavailable("away")]
        desk.journal.write(Writer("a"))
        await desk.turn()
        desk.clock.advance(gap - 0.0001)
        await desk.turn()
        assert len(desk.store.groups) == 1
        desk.clock.advance(0.0001)
        await desk.turn()
        assert len(desk.store.groups) == 2


@pytest.mark.parametrize(
    "fault", [ValueError("a fault of the backend"), lambda commits: [Committed()]], ids=["raises", "too few"]
)
async def test_after_a_fault_of_the_backend_each_is_said_alone(fault: Any, caplog: pytest.LogCaptureFixture) -> None:
    async with at_work() as desk:
        desk.store.faults = [fault]
        writers = [Writer("a"), Writer("b")]
        for writer in writers:
            desk.journal.write(writer)
        await desk.turn()
        assert desk.store.groups == [["a", "b"], ["a"], ["b"]]
        assert [[each.reason for each in writer.answers] for writer in writers] == [["a"], ["b"]]


async def test_whoever_cannot_be_said_even_alone_is_busy(caplog: pytest.LogCaptureFixture) -> None:
    async with at_work() as desk:
        desk.store.faults = [ValueError("together"), ValueError("a alone")]
        writers = [Writer("a"), Writer("b")]
        for writer in writers:
            desk.journal.write(writer)
        await desk.turn()
        assert [writer.answers[0].fate for writer in writers] == [Fate.BUSY, Fate.APPLIED]


async def test_an_author_that_does_not_take_its_answer_silences_nobody(caplog: pytest.LogCaptureFixture) -> None:
    class Deaf(Writer):
        def saved(self, commit: Commit, answer: Committed) -> None:
            raise ValueError("not now")

    async with at_work() as desk:
        other = Writer("b")
        desk.journal.write(Deaf("a"))
        desk.journal.write(other)
        await desk.turn()
        assert len(other.answers) == 1
        assert await is_flushed(desk)


@pytest.mark.parametrize("clings", [False, True], ids=["lets go", "cannot even let go"])
async def test_an_author_that_cannot_say_its_words_lets_go_and_silences_nobody(
    caplog: pytest.LogCaptureFixture, clings: bool
) -> None:
    class Mute(Writer):
        def take(self) -> Commit | None:
            raise ValueError("no words")

        def lose(self) -> None:
            super().lose()
            if clings:
                raise ValueError("not that either")

    async with at_work() as desk:
        mute, others = Mute("mute"), [Writer("a"), Writer("b")]
        for each in (others[0], mute, others[1]):
            desk.journal.write(each)
        await desk.turn()
        assert desk.store.groups == [["a", "b"]]
        assert (mute.lost, [len(each.answers) for each in others]) == (True, [1, 1])
        assert "execution mute cannot say what it has to" in caplog.text
        assert await is_flushed(desk)
        desk.journal.write(Writer("c"))
        await desk.turn()
        assert desk.store.groups[1:] == [["c"]]


# ---- what is said later ------------------------------------------------------------------------------------------------


class Patient(Writer):
    """An author whose row is held by somebody else at first: it says its words once more, after a pause."""

    def __init__(self, name: str, desk: Desk, tries: int = 8) -> None:
        super().__init__(name, words=2)
        self.desk = desk
        self.tries = tries

    def saved(self, commit: Commit, answer: Committed) -> None:
        super().saved(commit, answer)
        if len(self.answers) == 1:
            self.desk.journal.write_later(self, self.tries)


async def paused(desk: Desk, names: str) -> list[Patient]:
    """Return authors that have been told to wait."""
    authors = [Patient(name, desk) for name in names]
    for each in authors:
        desk.journal.write(each)
    await desk.turn()
    desk.store.groups.clear()
    return authors


@pytest.mark.parametrize(
    ("tries", "chance", "gap"),
    [
        (0, 1.0, 0.005),
        (0, 0.0, 0.0025),
        (1, 1.0, 0.01),
        (3, 1.0, 0.04),
        (7, 1.0, 0.64),
        (8, 1.0, 1.0),
        (8, 0.0, 0.5),
        (5000, 1.0, 1.0),
    ],
)
async def test_what_was_busy_is_said_again_after_a_gap(tries: int, chance: float, gap: float) -> None:
    async with at_work() as desk:
        desk.chance.value = chance
        desk.journal.write(Patient("a", desk, tries))
        await desk.turn()
        desk.clock.advance(gap - 0.0001)
        assert not await is_flushed(desk)
        assert desk.store.groups == [["a"]]
        desk.clock.advance(0.0001)
        await desk.turn()
        assert desk.store.groups == [["a"], ["a"]]
        assert await is_flushed(desk)


async def test_a_pause_can_be_ended_for_one_and_for_all() -> None:
    async with at_work() as desk:
        authors = await paused(desk, "abc")
        desk.journal.hurry(authors[1])
        desk.journal.hurry(Writer("a stranger"))
        await desk.turn()
        assert desk.store.groups == [["b"]]
        assert not await is_flushed(desk)
        desk.journal.hurry()
        await desk.turn()
        assert desk.store.groups == [["b"], ["a", "c"]]
        desk.clock.advance(10)
        await desk.turn()
        assert len(desk.store.groups) == 2  # their timers are gone
        assert await is_flushed(desk)


async def test_a_pause_that_is_forgotten_says_nothing_and_leaves_the_journal_flushed() -> None:
    async with at_work() as desk:
        one, other = await paused(desk, "ab")
        desk.journal.forget(one)
        desk.journal.forget(Writer("a stranger"))
        assert not await is_flushed(desk)  # the other still waits
        desk.journal.forget(other)
        assert await is_flushed(desk)
        desk.clock.advance(10)
        await desk.turn()
        assert desk.store.groups == []


async def test_what_is_forgotten_while_others_are_written_does_not_make_it_flushed() -> None:
    async with at_work() as desk:
        (one,) = await paused(desk, "a")
        desk.store.gate.clear()
        desk.journal.write(Writer("b"))
        desk.journal.forget(one)
        assert not await is_flushed(desk)
        desk.store.gate.set()
        await desk.turn()
        assert await is_flushed(desk)


async def test_a_journal_that_is_ended_leaves_no_timer_behind() -> None:
    async with at_work() as desk:
        (one,) = await paused(desk, "a")
    desk.clock.advance(10)
    await desk.turn()
    assert one.words == 1
    assert not desk.journal._waiting
