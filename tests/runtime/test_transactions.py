"""`ctx.transaction`: what a step writes and its checkpoint are one transaction of the storage's own database."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import asyncmy
import pytest
from attrs import define, field
from sqlalchemy import text
from sqlalchemy.dialects.mysql.asyncmy import AsyncAdapt_asyncmy_connection
from sqlalchemy.dialects.postgresql.asyncpg import AsyncAdapt_asyncpg_connection
from sqlalchemy.dialects.sqlite.aiosqlite import AsyncAdapt_aiosqlite_connection
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection

import zart
from tests.runtime.conftest import MakeHarness
from zart import (
    ExecutionFailed,
    InMemoryScheduler,
    NotSupported,
    RetryConfig,
    StepFailed,
    StepTimedOut,
    StorageUnavailable,
    TaskContext,
    TaskHandler,
    UndeclaredType,
    WorkerConfig,
)
from zart.outbox import Outbox
from zart.records import Commit, Committed, Fate, StepRecord, Token
from zart.scheduler import Bound
from zart.schedulers.mysql import MySqlScheduler
from zart.status import Phase, StepKind
from zart.testing import Harness


@pytest.fixture(params=["sqlite", "postgres", "mysql"])
def harness(request: pytest.FixtureRequest, make_harness: Callable[[str], MakeHarness]) -> MakeHarness:
    """Return a function that makes a harness on a storage with transactions."""
    return make_harness(request.param)


Opened = AbstractAsyncContextManager[tuple[Any, Bound]]
Work = Callable[["TaskContext", "Bookings"], Awaitable[Any]]


async def book(connection: AsyncConnection, seat: str) -> str:
    """Write a row of the user's own."""
    await connection.execute(text("INSERT INTO bookings (seat) VALUES (:seat)"), {"seat": seat})
    return f"booked {seat}"


@define(eq=False)
class Bookings(TaskHandler[str, Any]):
    """Does what a test says."""

    name = "bookings"
    work: Work
    calls: list[str] = field(factory=list)

    async def run(self, ctx: TaskContext, data: str) -> Any:
        return await self.work(ctx, self)


async def seats(harness: Harness) -> list[str]:
    """Return what is booked, in order."""
    async with harness.scheduler.transaction(timedelta(seconds=5)) as (connection, _):  # type: ignore[attr-defined] # a SQL backend
        return [row.seat for row in await connection.execute(text("SELECT seat FROM bookings ORDER BY seat"))]


@asynccontextmanager
async def opened(harness: Harness) -> AsyncIterator[Harness]:
    """Enter a harness and make the user's table."""
    async with harness:
        made = ["DROP TABLE IF EXISTS bookings", "CREATE TABLE bookings (seat VARCHAR(40) PRIMARY KEY)"]  # all share a database
        if isinstance(harness.scheduler, MySqlScheduler):  # where a table is made in no transaction
            async with await asyncmy.connect(**harness.scheduler._server.arguments()) as session, session.cursor() as cursor:
                for each in ["SET sql_notes = 0", *made]:
                    await cursor.execute(each)
        else:
            async with harness.scheduler.transaction(timedelta(seconds=5)) as (connection, _):  # type: ignore[attr-defined] # as above
                for each in made:
                    await connection.execute(text(each))
        yield harness


async def outcome(harness: Harness) -> Any:
    await harness.client.start("b-1", "bookings", "")
    return await harness.client.wait_completion_with_timeout("b-1", Any, "1h")


async def test_effect_and_checkpoint_are_committed_together(harness: MakeHarness) -> None:
    async def work(ctx: TaskContext, _: Bookings) -> str:
        return await ctx.transaction("book", book, "12A")

    async with opened(harness(Bookings(work))) as h:
        assert await outcome(h) == "booked 12A"
        assert await seats(h) == ["12A"]
        (step,) = (await h.client.status("b-1")).steps
        assert (step.name, step.kind, step.attempts) == ("book", "step", 1)


async def test_a_replay_neither_calls_nor_writes_again(harness: MakeHarness) -> None:
    async def work(ctx: TaskContext, handler: Bookings) -> str:
        handler.calls.append("body")
        value = await ctx.transaction("book", book, "12A")
        await ctx.wait_for_event("paid")
        return value

    handler = Bookings(work)
    async with opened(harness(handler)) as h:
        await h.client.start("b-1", "bookings", "")
        await h.run_to_idle()
        await h.client.offer_event("b-1", "paid")
        assert await h.client.wait_completion_with_timeout("b-1", Any, "1h") == "booked 12A"
        assert handler.calls == ["body", "body"]
        assert await seats(h) == ["12A"]


async def test_what_a_failed_function_wrote_is_rolled_back_and_its_policy_decides(harness: MakeHarness) -> None:
    async def fails_once(connection: AsyncConnection, handler: Bookings) -> str:
        handler.calls.append("attempt")
        await book(connection, f"12{'AB'[len(handler.calls) - 1]}")
        if len(handler.calls) == 1:
            raise ValueError("no")
        return "yes"

    async def work(ctx: TaskContext, handler: Bookings) -> str:
        return await ctx.transaction("book", fails_once, handler, retry=RetryConfig.fixed(2, "1s"))

    async with opened(harness(Bookings(work))) as h:
        assert await outcome(h) == "yes"
        assert await seats(h) == ["12B"]


async def test_a_declared_error_comes_as_itself_and_nothing_is_written(harness: MakeHarness) -> None:
    async def sold_out(connection: AsyncConnection) -> None:
        await book(connection, "12A")
        raise LookupError("sold out")

    async def work(ctx: TaskContext, _: Bookings) -> str:
        try:
            await ctx.transaction("book", sold_out, raises=LookupError)
        except LookupError as error:
            return str(error)
        return "never"

    async with opened(harness(Bookings(work))) as h:
        assert await outcome(h) == "sold out"
        assert await seats(h) == []


async def test_an_error_of_the_database_over_the_users_statement_is_the_steps_own(harness: MakeHarness) -> None:
    async def twice(connection: AsyncConnection) -> None:
        await book(connection, "12A")
        await book(connection, "12A")

    async def work(ctx: TaskContext, handler: Bookings) -> str:
        try:
            await ctx.transaction("book", twice)
        except StepFailed as error:
            return error.error_type
        return "never"

    async with opened(harness(Bookings(work))) as h:
        assert IntegrityError.__name__ in await outcome(h)
        assert await seats(h) == []


async def test_a_function_that_returns_with_a_cancel_pending_has_failed_and_is_not_repeated(harness: MakeHarness) -> None:
    async def cancels_itself(connection: AsyncConnection, handler: Bookings) -> str:
        handler.calls.append("call")
        await book(connection, "12A")
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        return "returned"

    async def work(ctx: TaskContext, handler: Bookings) -> str:
        try:
            return await ctx.transaction("book", cancels_itself, handler)
        except StepFailed as error:
            return f"{error.error_type} after {len(handler.calls)}"

    async with opened(harness(Bookings(work))) as h:
        assert await outcome(h) == "asyncio.exceptions.CancelledError after 1"
        assert await seats(h) == []


async def test_a_value_that_cannot_be_saved_rolls_back(harness: MakeHarness) -> None:
    async def wrong(connection: AsyncConnection) -> int:
        await book(connection, "12A")
        return "text"  # type: ignore[return-value] # on purpose

    async def work(ctx: TaskContext, _: Bookings) -> str:
        try:
            await ctx.transaction("book", wrong)
        except UndeclaredType as error:
            return str(error)
        return "never"

    async with opened(harness(Bookings(work))) as h:
        assert "int" in await outcome(h)
        assert await seats(h) == []


async def test_a_timeout_rolls_back(harness: MakeHarness) -> None:
    reached = asyncio.Event()

    async def slow(connection: AsyncConnection) -> None:
        await book(connection, "12A")
        reached.set()
        await asyncio.Event().wait()

    async def work(ctx: TaskContext, _: Bookings) -> str:
        try:
            await ctx.transaction("book", slow, timeout="2s")
        except StepTimedOut:
            return "too slow"
        return "never"

    async with opened(harness(Bookings(work))) as h:
        await h.client.start("b-1", "bookings", "")
        async with asyncio.timeout(30):
            driving = asyncio.ensure_future(h.run_to_idle())
            await reached.wait()
            h.clock.advance(timedelta(seconds=2))
            await driving
        assert await h.client.wait_completion_with_timeout("b-1", Any, "1h") == "too slow"
        assert await seats(h) == []


async def test_transactions_and_steps_side_by_side_replay_in_the_order_in_which_they_ran(harness: MakeHarness) -> None:
    async def plain(number: int) -> int:
        for _ in range(number % 3):
            await asyncio.sleep(0)
        return number

    async def work(ctx: TaskContext, handler: Bookings) -> list[str]:
        order: list[str] = []

        async def one(name: str, operation: Awaitable[Any]) -> None:
            await operation
            order.append(name)

        async with asyncio.TaskGroup() as group:
            for number in range(4):
                group.create_task(one(f"t{number}", ctx.transaction(f"t{number}", book, f"seat {number}")))
                group.create_task(one(f"s{number}", ctx.step(f"s{number}", plain, number)))
        handler.calls.append(" ".join(order))
        await ctx.wait_for_event("go")
        return order

    handler = Bookings(work)
    async with opened(harness(handler)) as h:
        await h.client.start("b-1", "bookings", "")
        await h.run_to_idle()
        await h.client.offer_event("b-1", "go")
        order = await h.client.wait_completion_with_timeout("b-1", Any, "1h")
        assert sorted(order) == ["s0", "s1", "s2", "s3", "t0", "t1", "t2", "t3"]
        assert handler.calls == [" ".join(order)] * 2
        assert len(await seats(h)) == 4


class Breaks:
    """Opens transactions whose end is not answered, or not reached."""

    def __init__(self, harness: Harness, *, committed: bool, times: int = 1) -> None:
        self._open = harness.worker.open_transaction
        self._committed = committed
        self._times = times
        harness.worker.open_transaction = self.open

    @asynccontextmanager
    async def open(self) -> AsyncIterator[tuple[Any, Bound]]:
        assert self._open is not None
        if self._times == 0:
            async with self._open() as both:
                yield both
            return
        self._times -= 1
        if self._committed:
            async with self._open() as both:
                yield both
            raise StorageUnavailable("the connection broke after COMMIT")
        async with self._open() as both:
            yield both
            raise StorageUnavailable("the connection broke before COMMIT")


@pytest.mark.parametrize("committed", [True, False])
async def test_when_nobody_knows_whether_it_was_committed_the_next_claim_finds_out(
    harness: MakeHarness, committed: bool
) -> None:
    async def counted(connection: AsyncConnection, handler: Bookings) -> str:
        handler.calls.append("call")
        return await book(connection, "12A")

    async def work(ctx: TaskContext, handler: Bookings) -> str:
        return await ctx.transaction("book", counted, handler)

    handler = Bookings(work)
    async with opened(harness(handler)) as h:
        Breaks(h, committed=committed)
        assert await outcome(h) == "booked 12A"
        assert handler.calls == ["call"] * (1 if committed else 2)
        assert await seats(h) == ["12A"]


ADAPTERS: dict[str, type[Any]] = {
    "sqlite": AsyncAdapt_aiosqlite_connection,
    "postgres": AsyncAdapt_asyncpg_connection,
    "mysql": AsyncAdapt_asyncmy_connection,
}


@pytest.mark.parametrize("committed", [True, False], ids=["committed", "not committed"])
@pytest.mark.parametrize(
    "error", [RuntimeError("another coroutine reads"), EOFError(), SystemExit()], ids=lambda error: type(error).__name__
)
@pytest.mark.parametrize("backend", list(ADAPTERS))
async def test_whatever_goes_wrong_over_commit_says_nothing_about_it(
    make_harness: Callable[[str], MakeHarness],
    monkeypatch: pytest.MonkeyPatch,
    backend: str,
    error: BaseException,
    committed: bool,
) -> None:
    async def counted(connection: AsyncConnection, handler: Bookings) -> str:
        handler.calls.append("call")
        return await book(connection, f"seat {len(handler.calls)}")

    async def work(ctx: TaskContext, handler: Bookings) -> str:
        return await ctx.transaction("book", counted, handler, retry=RetryConfig.fixed(3, 0))

    commit = ADAPTERS[backend].commit

    def confused(self: Any) -> None:
        patched.undo()
        if committed:
            commit(self)
        raise error

    handler = Bookings(work)
    async with opened(make_harness(backend)(handler)) as h:
        with monkeypatch.context() as patched:
            patched.setattr(ADAPTERS[backend], "commit", confused)
            last = 1 if committed else 2
            assert await outcome(h) == f"booked seat {last}"
        assert handler.calls == ["call"] * last
        assert await seats(h) == [f"seat {last}"]
        (step,) = (await h.client.status("b-1")).steps
        assert (step.attempts, step.errors) == (1, ()), "it has not failed"


async def test_what_goes_wrong_after_the_commit_says_nothing_against_it(
    harness: MakeHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def counted(connection: AsyncConnection, handler: Bookings) -> str:
        handler.calls.append("call")
        return await book(connection, f"seat {len(handler.calls)}")

    async def work(ctx: TaskContext, handler: Bookings) -> str:
        return await ctx.transaction("book", counted, handler, retry=RetryConfig.fixed(3, 0))

    close = AsyncConnection.close

    async def confused(self: AsyncConnection) -> None:
        patched.undo()
        await close(self)
        raise RuntimeError("another coroutine reads")

    handler = Bookings(work)
    async with opened(harness(handler)) as h:
        with monkeypatch.context() as patched:
            patched.setattr(AsyncConnection, "close", confused)
            assert await outcome(h) == "booked seat 1"
        assert handler.calls == ["call"]
        assert await seats(h) == ["seat 1"]


async def test_an_outage_when_it_is_opened_is_nobodys_failure(harness: MakeHarness) -> None:
    async def work(ctx: TaskContext, _: Bookings) -> str:
        return await ctx.transaction("book", book, "12A")

    @asynccontextmanager
    async def unavailable() -> AsyncIterator[tuple[Any, Bound]]:
        h.worker.open_transaction = opener
        raise StorageUnavailable("gone for a moment")
        yield

    async with opened(harness(Bookings(work))) as h:
        opener, h.worker.open_transaction = h.worker.open_transaction, unavailable
        assert await outcome(h) == "booked 12A"
        (step,) = (await h.client.status("b-1")).steps
        assert step.attempts == 1


async def test_one_that_is_cancelled_meanwhile_writes_nothing(harness: MakeHarness) -> None:
    class Cancels:
        """Cancels the execution between the function and the checkpoint: as if another process had."""

        def __init__(self, bound: Bound) -> None:
            self.bound = bound

        async def commit(self, commits: list[Commit]) -> list[Committed]:
            return [Committed(Fate.LOST) for _ in commits]

    @asynccontextmanager
    async def lost() -> AsyncIterator[tuple[Any, Bound]]:
        assert opener is not None
        async with opener() as (connection, bound):
            yield connection, Cancels(bound)  # type: ignore[misc] # only `commit` is called

    async def work(ctx: TaskContext, _: Bookings) -> str:
        return await ctx.transaction("book", book, "12A")

    async with opened(harness(Bookings(work))) as h:
        opener, h.worker.open_transaction = h.worker.open_transaction, lost
        await h.client.start("b-1", "bookings", "")
        await h.run_to_idle()
        assert h.worker.runs == []
        assert await seats(h) == []


async def test_a_function_that_is_not_async_is_refused(harness: MakeHarness) -> None:
    def plain(connection: Any) -> None:
        """Not async."""

    async def work(ctx: TaskContext, _: Bookings) -> str:
        with pytest.raises(TypeError, match="must be async"):
            await ctx.transaction("book", plain)  # type: ignore[arg-type] # on purpose
        return "refused"

    async with opened(harness(Bookings(work))) as h:
        assert await outcome(h) == "refused"


async def test_a_storage_without_transactions_says_so() -> None:
    async def work(ctx: TaskContext, _: Bookings) -> None:
        await ctx.transaction("book", book, "12A")

    async with Harness([Bookings(work)], storage=lambda clock: InMemoryScheduler(clock=clock)) as h:
        with pytest.raises(ExecutionFailed, match="needs a SQL database"):
            await outcome(h)
        assert NotSupported.__name__ in str((await h.client.status("b-1")).reason)


class Listens:
    """Speaks within a transaction, and tells when it has begun to save."""

    def __init__(self, bound: Bound, numbered: asyncio.Event) -> None:
        self.bound = bound
        self.numbered = numbered

    async def commit(self, commits: list[Commit]) -> Sequence[Committed]:
        self.numbered.set()
        for _ in range(20):
            await asyncio.sleep(0)
        return await self.bound.commit(commits)


async def test_turns_keep_their_order_when_the_flush_before_is_answered_busy(harness: MakeHarness) -> None:
    numbered = asyncio.Event()

    async def plain() -> None:
        """Settle before the transaction, and be saved after it."""

    async def late() -> None:
        await numbered.wait()

    async def work(ctx: TaskContext, handler: Bookings) -> list[str]:
        order: list[str] = []

        async def one(name: str, operation: Awaitable[Any]) -> None:
            await operation
            order.append(name)

        async with asyncio.TaskGroup() as group:
            group.create_task(one("s0", ctx.step("s0", plain)))
            group.create_task(one("t0", ctx.transaction("t0", book, "12A")))
            group.create_task(one("s1", ctx.step("s1", late)))
        handler.calls.append(" ".join(order))
        await ctx.wait_for_event("go")
        return order

    @asynccontextmanager
    async def listened() -> AsyncIterator[tuple[Any, Bound]]:
        assert opener is not None
        async with opener() as (connection, bound):
            yield connection, Listens(bound, numbered)  # type: ignore[misc] # only `commit` is called

    async def busy_once(commits: Sequence[Commit]) -> Sequence[Committed]:
        if not numbered.is_set() and any(step.name == "s0" for commit in commits for step in commit.steps):
            await numbered.wait()
            return [Committed(Fate.BUSY)] * len(commits)
        return await commit(commits)

    handler = Bookings(work)
    async with opened(harness(handler)) as h:
        opener, h.worker.open_transaction = h.worker.open_transaction, listened
        commit, h.scheduler.commit = h.scheduler.commit, busy_once  # type: ignore[method-assign] # as another session would make it
        await h.client.start("b-1", "bookings", "")
        await h.run_to_idle()
        await h.client.offer_event("b-1", "go")
        order = await h.client.wait_completion_with_timeout("b-1", Any, "1h")
        assert handler.calls == ["s0 t0 s1"] * 2
        assert order == ["s0", "t0", "s1"]


async def test_an_attempt_after_a_refused_commit_knows_where_it_belongs(harness: MakeHarness) -> None:
    async def knows(connection: AsyncConnection, handler: Bookings) -> str:
        handler.calls.append(zart.context().execution_id)
        return await book(connection, "12A")

    @asynccontextmanager
    async def refused_once() -> AsyncIterator[tuple[Any, Bound]]:
        assert opener is not None
        async with opener() as both:
            yield both
            if len(handler.calls) == 1:
                raise ValueError("a deferred constraint")

    async def work(ctx: TaskContext, handler: Bookings) -> str:
        return await ctx.transaction("book", knows, handler, retry=RetryConfig.fixed(1, 0))

    handler = Bookings(work)
    async with opened(harness(handler)) as h:
        opener, h.worker.open_transaction = h.worker.open_transaction, refused_once
        assert await outcome(h) == "booked 12A"
        assert handler.calls == ["b-1", "b-1"]
        assert await seats(h) == ["12A"]


async def test_a_commit_that_fails_lets_go_of_sqlites_lock(
    make_harness: Callable[[str], MakeHarness], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(connection: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    async with opened(make_harness("sqlite")(Bookings(lambda ctx, _: ctx.wait_for_event("never")))) as h:
        with monkeypatch.context() as patched:
            patched.setattr(AsyncAdapt_aiosqlite_connection, "commit", fails)
            with pytest.raises((OperationalError, StorageUnavailable)):
                async with h.scheduler.transaction(timedelta(seconds=5)) as (connection, _):  # type: ignore[attr-defined] # as above
                    await book(connection, "12A")
        await h.client.start("b-1", "bookings", "")
        assert await seats(h) == []


def test_only_an_outcome_on_its_way_is_too_late_to_take_back() -> None:
    journal = SimpleNamespace(write=lambda _: None)
    outbox = Outbox(journal, SimpleNamespace(), 1)  # type: ignore[arg-type] # all that it needs
    wait: Any = object()
    token = Token("b-1", 1, 1, 1)
    outbox.add(wait, StepRecord(0, "paid", StepKind.EVENT, Phase.OPENED, True, None, 0, None, None, at=1))
    outbox.take(token, 0)
    assert not outbox.has_sent(wait)
    outbox.landed()
    outbox.add(wait, StepRecord(0, "paid", StepKind.EVENT, Phase.OUTCOME, True, None, 0, None, 1, at=2))
    outbox.take(token, 0)
    assert outbox.has_sent(wait)


async def test_one_that_the_server_ends_for_its_idleness_is_the_steps_failure(
    make_harness: Callable[[str], MakeHarness],
) -> None:
    async def idles(connection: AsyncConnection, handler: Bookings) -> None:
        handler.calls.append("call")
        await book(connection, "12A")
        ended = asyncio.Event()
        raw: Any = (await connection.get_raw_connection()).driver_connection
        raw.add_termination_listener(lambda _: ended.set())
        await ended.wait()

    async def work(ctx: TaskContext, handler: Bookings) -> str:
        try:
            await ctx.transaction("book", idles, handler)
        except StepFailed as error:
            return f"{error.error_type}: {error.message}"
        return "never"

    handler = Bookings(work)
    config = WorkerConfig(lease="1s", heartbeat_interval="100ms")
    async with opened(make_harness("postgres")(handler, config=config)) as h:
        said = await outcome(h)
        assert said.startswith("TimeoutError: the transaction was idle for longer than 0.333")
        assert handler.calls == ["call"]
        assert await seats(h) == []
