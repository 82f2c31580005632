"""`ctx.transaction` on SQLite: one connection, one write lock, and what becomes of both when something comes between."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from tests.runtime.conftest import MakeHarness
from tests.runtime.test_transactions import Bookings, book, opened, outcome, seats
from tests.runtime.test_transactions_kept_whole import IDLE, transaction
from zart import SqliteScheduler, StepFailed, TaskContext
from zart.clock import micros
from zart.records import Commit, Committed
from zart.scheduler import Bound, StoodStill
from zart.schedulers.sqlite.cursors import Connection as DriversConnection
from zart.schedulers.sqlite.warden import Warden
from zart.testing import FakeClock, Harness
from zart.transactions import MOST_PAUSES

LIMIT = timedelta(seconds=5)
MANY = "SELECT value FROM json_each('[1, 2, 3]')"


@pytest.fixture
async def scheduler(tmp_path: Path) -> AsyncIterator[SqliteScheduler]:
    """Yield an open scheduler; when it is closed, no task may be left."""
    async with SqliteScheduler(tmp_path / "zart.db", create=True) as made:
        yield made
    assert asyncio.all_tasks() == {asyncio.current_task()}


def is_free(tmp_path: Path) -> bool:
    """Whether the write lock can be had at once."""
    connection = sqlite3.connect(tmp_path / "zart.db", isolation_level=None, timeout=0)
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError:
        return False
    finally:
        connection.close()
    return True


async def works(scheduler: SqliteScheduler) -> int:
    async with asyncio.timeout(20), scheduler.transaction(LIMIT) as (connection, _):
        return int((await connection.execute(text("SELECT 1"))).scalar_one())


@pytest.fixture
def waits(scheduler: SqliteScheduler) -> Callable[[asyncio.Event], Any]:
    """Return a function that holds a transaction open, and tells when it does."""

    async def wait(inside: asyncio.Event) -> None:
        async with scheduler.transaction(LIMIT):
            inside.set()
            await asyncio.Event().wait()

    return wait


# ---- cancelled ----------------------------------------------------------------------------------------------------------


async def test_a_second_cancel_while_the_connection_is_put_back_leaves_nothing_behind(
    scheduler: SqliteScheduler, waits: Callable[[asyncio.Event], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside, closing, may_close = asyncio.Event(), asyncio.Event(), threading.Event()
    loop, close = asyncio.get_running_loop(), DriversConnection.close

    def slowly(self: DriversConnection) -> None:
        loop.call_soon_threadsafe(closing.set)
        may_close.wait(20)
        close(self)

    with monkeypatch.context() as patched:
        patched.setattr(DriversConnection, "close", slowly)
        task = asyncio.create_task(waits(inside))
        await inside.wait()
        task.cancel()
        await closing.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        may_close.set()
        assert await works(scheduler) == 1
    assert is_free(tmp_path)


async def test_one_that_is_cancelled_while_it_is_opened_is_put_back(
    scheduler: SqliteScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening, may_open = asyncio.Event(), asyncio.Event()
    post = Warden.post

    async def slowly(self: Warden, driver: Any) -> None:
        opening.set()
        await may_open.wait()
        await post(self, driver)

    with monkeypatch.context() as patched:
        patched.setattr(Warden, "post", slowly)
        task = asyncio.create_task(works(scheduler))
        await opening.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        may_open.set()
        assert await works(scheduler) == 1


async def test_closing_waits_for_a_connection_that_is_being_put_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside, closing, may_close = asyncio.Event(), asyncio.Event(), threading.Event()
    loop, close = asyncio.get_running_loop(), DriversConnection.close
    before = asyncio.all_tasks()

    def slowly(self: DriversConnection) -> None:
        loop.call_soon_threadsafe(closing.set)
        may_close.wait(20)
        close(self)

    async def wait(scheduler: SqliteScheduler) -> None:
        async with scheduler.transaction(LIMIT):
            inside.set()
            await asyncio.Event().wait()

    monkeypatch.setattr(DriversConnection, "close", slowly)
    async with SqliteScheduler(tmp_path / "zart.db", create=True) as scheduler:
        task = asyncio.create_task(wait(scheduler))
        await inside.wait()
        task.cancel()
        await closing.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        loop.call_soon(may_close.set)
    assert asyncio.all_tasks() == before
    assert is_free(tmp_path)


# ---- what is left unread ------------------------------------------------------------------------------------------------


async def test_a_cursor_that_somebody_keeps_does_not_keep_the_lock(scheduler: SqliteScheduler, tmp_path: Path) -> None:
    kept = []
    with pytest.raises(ValueError, match="no"):  # noqa: PT012 # the block is the transaction
        async with scheduler.transaction(LIMIT) as (connection, _):
            raw = (await connection.get_raw_connection()).driver_connection
            await connection.execute(text("CREATE TABLE t (x)"))
            await connection.execute(text("PRAGMA cache_size = -1000"))  # such a connection is not used again
            kept.append(await raw.execute(MANY))
            raise ValueError("no")
    assert await works(scheduler) == 1
    assert is_free(tmp_path)


async def test_a_cancelled_statement_does_not_keep_the_lock(scheduler: SqliteScheduler, tmp_path: Path) -> None:
    inside, kept = asyncio.Event(), []

    async def reads() -> None:
        async with scheduler.transaction(LIMIT) as (connection, _):
            raw = (await connection.get_raw_connection()).driver_connection
            await connection.execute(text("CREATE TABLE t (x)"))
            kept.append(await raw.execute(MANY))
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(reads())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await works(scheduler) == 1
    assert is_free(tmp_path)


async def test_after_a_result_that_was_not_read_to_its_end_the_next_transaction_works(
    make_harness: Callable[[str], MakeHarness],
) -> None:
    kept: list[Any] = []

    async def function(connection: AsyncConnection) -> int:
        result = await connection.stream(text(f"SELECT seat FROM bookings, ({MANY})"))
        kept.append(result)
        row = await result.fetchone()
        assert row is not None
        return 1

    async def work(ctx: TaskContext, _: Bookings) -> str:
        await ctx.transaction("first", book, "12A")
        await ctx.transaction("read", function)
        await ctx.sleep("so that another connection writes", "1s")
        return await ctx.transaction("book", book, "12B")

    async with opened(make_harness("sqlite")(Bookings(work))) as h:
        assert await outcome(h) == "booked 12B"
        assert await seats(h) == ["12A", "12B"]


# ---- a process that stands still ----------------------------------------------------------------------------------------


def stand_still(clock: FakeClock, seconds: float) -> None:
    """Let time pass as for a process that is stopped: whatever is due rings when it goes on, and late."""
    clock._elapsed += micros(timedelta(seconds=seconds))
    clock.advance(0)


async def test_one_that_a_pause_of_the_process_has_ended_is_begun_again_and_has_not_failed(
    make_harness: Callable[[str], MakeHarness],
) -> None:
    inside = asyncio.Event()

    async def function(connection: AsyncConnection, handler: Bookings) -> str:
        handler.calls.append("call")
        said = await book(connection, f"seat {len(handler.calls)}")
        if len(handler.calls) == 1:
            inside.set()
            await asyncio.Event().wait()
        return said

    async def work(ctx: TaskContext, handler: Bookings) -> str:
        return await ctx.transaction("book", function, handler)

    handler = Bookings(work)
    async with opened(make_harness("sqlite")(handler)) as h:
        await h.client.start("b-1", "bookings", "")
        async with asyncio.timeout(20):
            driving = asyncio.ensure_future(h.run_to_idle())
            await inside.wait()
            h.clock.advance("1s")
            stand_still(h.clock, 6)
            await driving
        assert await h.client.wait_completion_with_timeout("b-1", str, "1h") == "booked seat 2"
        assert handler.calls == ["call"] * 2
        assert await seats(h) == ["seat 2"]
        (step,) = (await h.client.status("b-1")).steps
        assert (step.attempts, step.errors) == (1, ())


async def test_a_pause_while_the_outcome_is_being_saved_is_no_failure_either(
    make_harness: Callable[[str], MakeHarness],
) -> None:
    async def function(connection: AsyncConnection, handler: Bookings) -> str:
        handler.calls.append("call")
        return await book(connection, f"seat {len(handler.calls)}")

    async def work(ctx: TaskContext, handler: Bookings) -> str:
        return await ctx.transaction("book", function, handler)

    class Stops:
        """Speaks within a transaction, in a process that stands still over it."""

        def __init__(self, h: Harness, bound: Bound) -> None:
            self.h = h
            self.bound = bound

        async def commit(self, commits: Sequence[Commit]) -> Sequence[Committed]:
            if len(handler.calls) == 1:
                stand_still(self.h.clock, 6)
            return await self.bound.commit(commits)

    handler = Bookings(work)
    async with opened(make_harness("sqlite")(handler)) as h:
        opener = h.worker.open_transaction
        assert opener is not None

        @asynccontextmanager
        async def stopping() -> AsyncIterator[tuple[Any, Bound]]:
            async with opener() as (connection, bound):
                yield connection, Stops(h, bound)  # type: ignore[misc] # only `commit` is called

        h.worker.open_transaction = stopping
        assert await outcome(h) == "booked seat 2"
        assert handler.calls == ["call"] * 2
        assert await seats(h) == ["seat 2"]
        (step,) = (await h.client.status("b-1")).steps
        assert (step.attempts, step.errors) == (1, ())


async def test_a_function_that_blocks_the_loop_again_and_again_fails_in_the_end(
    make_harness: Callable[[str], MakeHarness],
) -> None:
    async def function(connection: AsyncConnection, handler: Bookings) -> str:
        handler.calls.append("call")
        await book(connection, "12A")
        stand_still(h.clock, 6)
        return "never"

    async def work(ctx: TaskContext, handler: Bookings) -> str:
        try:
            return await ctx.transaction("book", function, handler)
        except StepFailed as error:
            return f"{error.error_type}: {error.message}"

    handler = Bookings(work)
    async with opened(make_harness("sqlite")(handler)) as h:
        opener = h.worker.open_transaction
        assert opener is not None

        @asynccontextmanager
        async def fresh() -> AsyncIterator[tuple[Any, Bound]]:
            await h.worker.beat()
            async with opener() as both:
                yield both

        h.worker.open_transaction = fresh
        said = await outcome(h)
        assert "stood still for" in said
        assert handler.calls == ["call"] * (MOST_PAUSES + 1)
        assert await seats(h) == []
        (step,) = (await h.client.status("b-1")).steps
        assert step.attempts == 1


@pytest.mark.parametrize("error", [LookupError, None], ids=["raises", "goes on"])
async def test_a_limit_that_comes_too_late_for_its_function_cancels_nothing_else(
    make_harness: Callable[[str], MakeHarness], error: type[Exception] | None
) -> None:
    task = asyncio.current_task()
    assert task is not None
    async with opened(make_harness("sqlite")(IDLE)) as h:
        with pytest.raises(error or StoodStill):  # noqa: PT012 # the block is the transaction
            async with transaction(h) as connection:
                await book(connection, "12A")
                stand_still(h.clock, 6)
                if error is not None:
                    raise error
        assert task.cancelling() == 0
        await asyncio.sleep(0)
        assert await seats(h) == []


async def test_one_that_is_slow_while_the_process_goes_on_fails_at_once(make_harness: Callable[[str], MakeHarness]) -> None:
    inside = asyncio.Event()

    async def function(connection: AsyncConnection, handler: Bookings) -> None:
        handler.calls.append("call")
        await book(connection, "12A")
        inside.set()
        await asyncio.Event().wait()

    async def work(ctx: TaskContext, handler: Bookings) -> str:
        try:
            await ctx.transaction("book", function, handler)
        except StepFailed as error:
            return error.message
        return "never"

    handler = Bookings(work)
    async with opened(make_harness("sqlite")(handler)) as h:
        await h.client.start("b-1", "bookings", "")
        async with asyncio.timeout(20):
            driving = asyncio.ensure_future(h.run_to_idle())
            await inside.wait()
            stand_still(h.clock, 1)
            h.clock.advance("5s")
            await driving
        said = await h.client.wait_completion_with_timeout("b-1", str, "1h")
        assert said.endswith("for 5 s")
        assert handler.calls == ["call"]
        assert await seats(h) == []
