"""`ctx.transaction` and a function that ends the transaction, leaves settings behind, or holds the lock for long."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from tests.runtime.conftest import MakeHarness
from tests.runtime.test_transactions import Bookings, book, opened, outcome, seats
from tests.servers.postgres import PostgresServer
from zart import ExecutionFailed, NonRetryable, NotSupported, RetryConfig, StepFailed, StepTimedOut, TaskContext
from zart.schedulers.postgres import PostgresScheduler
from zart.testing import Harness

Function = Callable[[AsyncConnection], Awaitable[Any]]
AGAIN = RetryConfig.fixed(2, 0)
IDLE = Bookings(lambda ctx, _: ctx.wait_for_event("never"))


@pytest.fixture(params=["sqlite", "postgres"])
def harness(request: pytest.FixtureRequest, make_harness: Callable[[str], MakeHarness]) -> MakeHarness:
    """Return a function that makes a harness on a storage with transactions."""
    return make_harness(request.param)


def doing(function: Function, **options: Any) -> Bookings:
    """Return a handler that calls a function in a transaction, counts the calls, and returns what its failure says."""

    async def counted(connection: AsyncConnection, handler: Bookings) -> Any:
        handler.calls.append("call")
        return await function(connection)

    async def work(ctx: TaskContext, handler: Bookings) -> Any:
        try:
            return await ctx.transaction("book", counted, handler, returns=Any, retry=AGAIN, **options)
        except StepFailed as error:
            return f"{error.error_type}: {error.message}"

    return Bookings(work)


async def driver(connection: AsyncConnection) -> Any:
    return (await connection.get_raw_connection()).driver_connection


async def commits(connection: AsyncConnection) -> None:
    await connection.commit()


async def rolls_back(connection: AsyncConnection) -> None:
    await connection.rollback()


async def closes(connection: AsyncConnection) -> None:
    await connection.close()


async def says_commit(connection: AsyncConnection) -> None:
    await connection.execute(text(" -- done\n /* now */ ; commit"))


async def says_end(connection: AsyncConnection) -> None:
    await connection.exec_driver_sql("END")


async def says_rollback(connection: AsyncConnection) -> None:
    await connection.execute(text("ROLLBACK"))


async def session_rolls_back(connection: AsyncConnection) -> None:
    async with AsyncSession(connection) as session:
        await session.execute(text("SELECT 1"))
        await session.rollback()


async def root_commits(connection: AsyncConnection) -> None:
    root = connection.get_transaction()
    assert root is not None
    await root.commit()


SEEN_COMING = [commits, rolls_back, closes, says_commit, says_end, says_rollback, session_rolls_back, root_commits]


@pytest.mark.parametrize("swallowed", [False, True], ids=["", "swallowed"])
@pytest.mark.parametrize("end", SEEN_COMING)
async def test_what_would_end_the_transaction_is_refused_and_final(
    harness: MakeHarness, end: Function, swallowed: bool
) -> None:
    async def function(connection: AsyncConnection) -> str:
        await book(connection, "12A")
        try:
            await end(connection)
        except NonRetryable:
            if not swallowed:
                raise
        return "done"

    handler = doing(function)
    async with opened(harness(handler)) as h:
        said = await outcome(h)
        assert said.startswith("NotSupported: the function ended the transaction (")
        assert "leave commit and rollback to zart" in said.lower()
        assert handler.calls == ["call"]
        assert await seats(h) == []


async def driver_commits(connection: AsyncConnection) -> None:
    raw = await driver(connection)
    await (raw.commit() if hasattr(raw, "commit") else raw.execute("COMMIT"))


async def driver_says_commit(connection: AsyncConnection) -> None:
    await (await driver(connection)).execute("COMMIT")


async def driver_runs_a_script(connection: AsyncConnection) -> None:
    raw = await driver(connection)
    await (raw.executescript("SELECT 1;") if hasattr(raw, "executescript") else raw.execute("SELECT 1; COMMIT; BEGIN"))


async def driver_rolls_back_and_begins(connection: AsyncConnection) -> None:
    raw = await driver(connection)
    await raw.execute("ROLLBACK")
    await raw.execute("BEGIN")


BEHIND_THE_BACK = [driver_commits, driver_says_commit, driver_runs_a_script, driver_rolls_back_and_begins]


@pytest.mark.parametrize("then", ["returns", "raises", "goes on", "is out of time"])
@pytest.mark.parametrize("end", BEHIND_THE_BACK)
async def test_what_ends_it_through_the_driver_is_found_out_and_final(harness: MakeHarness, end: Function, then: str) -> None:
    async def function(connection: AsyncConnection) -> str:
        await book(connection, "12A")
        try:
            await end(connection)
        except (DBAPIError, sqlite3.Error):
            if then == "returns":
                return "done"
        if then == "raises":
            raise ValueError("no")
        if then == "is out of time":
            raise TimeoutError("a slow service")
        if then == "goes on":
            await book(connection, "12B")
        return "done"

    handler = doing(function)
    async with opened(harness(handler)) as h:
        assert "NotSupported: the function ended the transaction (" in await outcome(h)
        assert handler.calls == ["call"], "so that nothing is doubled"
        assert "12B" not in await seats(h)
        (step,) = (await h.client.status("b-1")).steps
        assert step.status == "failed"


@pytest.mark.parametrize("swallowed", [False, True], ids=["", "swallowed"])
@pytest.mark.parametrize(("script", "calls"), [("COMMIT; BEGIN", 1), ("SELECT 1", 3)])
async def test_a_failed_transaction_is_told_from_one_that_was_kept_before(
    make_harness: Callable[[str], MakeHarness], script: str, calls: int, swallowed: bool
) -> None:
    """In one that has failed nothing can be asked any more."""

    async def function(connection: AsyncConnection) -> str:
        await book(connection, f"12{'ABC'[len(handler.calls) - 1]}")
        await (await driver(connection)).execute(script)
        try:
            await connection.execute(text("SELECT 1 / 0"))
        except DBAPIError:
            if not swallowed:
                raise
        return "done"

    handler = doing(function)
    async with opened(make_harness("postgres")(handler)) as h:
        try:
            said = await outcome(h)
        except ExecutionFailed as error:  # as often as it may
            said = str(error)
        assert ("NotSupported: the function ended the transaction (and began another)" in said) == (calls == 1)
        assert handler.calls == ["call"] * calls
        assert await seats(h) == (["12A"] if calls == 1 else [])


async def test_on_sqlite_not_even_the_driver_can_end_it(make_harness: Callable[[str], MakeHarness]) -> None:
    async def function(connection: AsyncConnection) -> None:
        await book(connection, "12A")
        await driver_commits(connection)

    async with opened(make_harness("sqlite")(doing(function))) as h:
        assert "leave commit and rollback to Zart" in await outcome(h)
        assert await seats(h) == []


async def test_one_that_sqlite_has_rolled_back_itself_is_found_out(make_harness: Callable[[str], MakeHarness]) -> None:
    async def function(connection: AsyncConnection) -> None:
        await book(connection, "12A")
        try:
            await connection.execute(text("INSERT OR ROLLBACK INTO bookings (seat) VALUES ('12A')"))
        except DBAPIError:
            await book(connection, "12B")

    async with opened(make_harness("sqlite")(doing(function))) as h:
        assert "NotSupported: the function ended the transaction (" in await outcome(h)
        assert await seats(h) == []


async def test_savepoints_and_sessions_are_allowed(harness: MakeHarness) -> None:
    async def function(connection: AsyncConnection) -> str:
        async with connection.begin_nested():
            await book(connection, "12A")
        nested = await connection.begin_nested()
        await book(connection, "12B")
        await nested.rollback()
        async with AsyncSession(connection) as session:
            await session.execute(text("INSERT INTO bookings (seat) VALUES ('12C')"))
            await session.commit()  # which does not commit what it has not begun
        await connection.execute(text("SAVEPOINT mine"))
        await book(connection, "12D")
        await connection.execute(text("ROLLBACK TO mine"))
        await connection.execute(text("INSERT INTO bookings (seat) VALUES ('commit; END')"))
        return "done"

    async with opened(harness(doing(function))) as h:
        assert await outcome(h) == "done"
        assert await seats(h) == ["12A", "12C", "commit; END"]


async def test_an_ordinary_failure_is_retried_as_ever(harness: MakeHarness) -> None:
    async def function(connection: AsyncConnection) -> str:
        await book(connection, "12A")
        if len(handler.calls) < 3:
            raise TimeoutError("a slow service") if len(handler.calls) == 1 else ValueError("no")
        return "done"

    handler = doing(function)
    async with opened(harness(handler)) as h:
        assert await outcome(h) == "done"
        assert handler.calls == ["call"] * 3
        assert await seats(h) == ["12A"]


# ---- settings ---------------------------------------------------------------------------------------------------------

LEAKS: dict[str, list[tuple[str, str, Any]]] = {
    "sqlite": [
        ("PRAGMA case_sensitive_like = 1", "SELECT 'a' LIKE 'A'", 1),
        ("PRAGMA query_only = 1", "PRAGMA query_only", 0),
        ("CREATE TEMP TABLE mine (n INTEGER)", "SELECT count(*) FROM temp.sqlite_schema WHERE name = 'mine'", 0),
    ],
    "postgres": [
        ("SET SESSION search_path = nowhere", "SELECT current_setting('search_path') = 'nowhere'", False),
        ("SET SESSION work_mem = '77MB'", "SELECT current_setting('work_mem') = '77MB'", False),
        ("CREATE TEMP TABLE mine (n integer)", "SELECT to_regclass('mine') IS NOT NULL", False),
        ("SELECT pg_advisory_lock(77)", "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 77", 0),
        ("SET ROLE pg_monitor", "SELECT current_user = 'pg_monitor'", False),
        ("LISTEN mine", "SELECT count(*) FROM pg_listening_channels()", 0),
    ],
}


@pytest.mark.parametrize("raises", [False, True], ids=["", "raises"])
@pytest.mark.parametrize(
    ("backend", "leak", "look", "clean"), [(backend, *each) for backend, them in LEAKS.items() for each in them]
)
async def test_what_a_function_sets_for_the_session_is_gone_with_its_transaction(
    make_harness: Callable[[str], MakeHarness], backend: str, leak: str, look: str, clean: Any, raises: bool
) -> None:
    async with make_harness(backend)(IDLE) as h:
        async with transaction(h):
            pass
        try:
            async with transaction(h) as connection:
                await connection.execute(text(leak))
                if raises:
                    raise KeyError("no")
        except (KeyError, DBAPIError):
            assert raises or "query_only" in leak
        async with transaction(h) as connection:
            assert (await connection.execute(text(look))).scalar_one() == clean


async def test_the_checkpoint_finds_its_table_whatever_the_function_has_set(postgres_server: PostgresServer) -> None:
    dsn = postgres_server.dsn
    for each in ("kept_here", "kept_there"):
        await asyncio.to_thread(postgres_server.run, f"DROP SCHEMA IF EXISTS {each} CASCADE", f"CREATE SCHEMA {each}")
    async with PostgresScheduler(f"{dsn}?search_path=kept_there") as other:
        await other.migrate()

    async def function(connection: AsyncConnection) -> str:
        await connection.execute(text("SET search_path = kept_there"))
        return "done"

    async with Harness(
        [doing(function)], storage=lambda clock: PostgresScheduler(f"{dsn}?search_path=kept_here", clock=clock)
    ) as h:
        assert await outcome(h) == "done"


async def test_a_connection_is_kept_when_nothing_was_set(harness: MakeHarness) -> None:
    async with opened(harness(IDLE)) as h:
        seen = []
        for number in range(3):
            async with transaction(h) as connection:
                await book(connection, f"seat {number}")
                seen.append(await driver(connection))
        assert seen[0] is seen[1] is seen[2]


@asynccontextmanager
async def transaction(harness: Harness, limit: float = 5) -> AsyncIterator[AsyncConnection]:
    """Open a transaction as `ctx.transaction` does."""
    async with harness.scheduler.transaction(timedelta(seconds=limit)) as (connection, _):  # type: ignore[attr-defined] # a SQL backend
        yield connection


# ---- time ---------------------------------------------------------------------------------------------------------------

ENDLESS = "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n) SELECT count(*) FROM n"


async def runs(connection: AsyncConnection) -> None:
    await connection.execute(text(ENDLESS))


async def runs_in_the_driver(connection: AsyncConnection) -> None:
    async with (await driver(connection)).execute(ENDLESS) as cursor:
        await cursor.fetchall()


@pytest.mark.parametrize("endless", [runs, runs_in_the_driver])
@pytest.mark.parametrize("by", ["the lease", "the step"])
async def test_on_sqlite_a_statement_does_not_outlive_its_limit(
    make_harness: Callable[[str], MakeHarness], endless: Function, by: str
) -> None:
    running = asyncio.Event()

    async def function(connection: AsyncConnection) -> None:
        await book(connection, "12A")
        asyncio.get_running_loop().call_soon(running.set)
        await endless(connection)

    async def work(ctx: TaskContext, handler: Bookings) -> str:
        try:
            await ctx.transaction("book", function, timeout="1s" if by == "the step" else None)
        except StepTimedOut:
            return "the step"
        except StepFailed as error:
            return error.message
        return "never"

    async with opened(make_harness("sqlite")(Bookings(work))) as h:
        await h.client.start("b-1", "bookings", "")
        async with asyncio.timeout(30):
            driving = asyncio.ensure_future(h.run_to_idle())
            await running.wait()
            h.clock.advance(timedelta(seconds=1 if by == "the step" else 11))
            await driving
        said = await h.client.wait_completion_with_timeout("b-1", str, "1h")
        assert ("held the only write lock" in said) if by == "the lease" else (said == "the step")
        assert await seats(h) == []


async def test_on_sqlite_one_that_goes_on_after_its_limit_is_not_committed(make_harness: Callable[[str], MakeHarness]) -> None:
    async with opened(make_harness("sqlite")(IDLE)) as h:
        with pytest.raises(TimeoutError, match="held the only write lock"):  # noqa: PT012 # the block is the transaction
            async with transaction(h, 5) as connection:
                await book(connection, "12A")
                h.clock.advance(timedelta(seconds=6))
                with suppress(asyncio.CancelledError):
                    await asyncio.Event().wait()
        assert await seats(h) == []


async def test_a_task_that_a_function_leaves_behind_is_refused_inside_and_works_afterwards(harness: MakeHarness) -> None:
    ended, left = asyncio.Event(), []

    async def behind(h: Harness) -> str:
        try:
            await h.client.start("s-1", "nobody", "")
        except NotSupported as error:
            refused = str(error)
        else:
            refused = ""
        await ended.wait()
        await h.client.start("s-2", "nobody", "")
        return refused

    async with opened(harness(IDLE)) as h:
        async with transaction(h) as connection:
            await book(connection, "12A")
            left.append(asyncio.create_task(behind(h)))
            await asyncio.sleep(0)
        ended.set()
        async with asyncio.timeout(10):
            refused = await left[0]
        assert not refused or "inside a transaction on SQLite nobody else can write" in refused
        assert (await h.client.status("s-2")).status == "pending"


async def test_on_sqlite_one_inside_another_is_refused(make_harness: Callable[[str], MakeHarness]) -> None:
    async with opened(make_harness("sqlite")(IDLE)) as h, transaction(h) as connection:
        await book(connection, "12A")
        with pytest.raises(NotSupported, match="inside a transaction on SQLite"):
            async with transaction(h):
                pass
