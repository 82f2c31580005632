"""`ctx.transaction` when something comes between: an outage when it opens, a cancel, the end of its body, a lost connection."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from tests.runtime.conftest import MakeHarness
from tests.runtime.test_transactions import Bookings, book, opened, outcome, seats
from zart import NotSupported, RetryConfig, SqliteScheduler, StepFailed, StorageUnavailable, TaskContext, WorkerConfig
from zart.records import Commit, Committed
from zart.scheduler import Bound

LIMIT = timedelta(seconds=0.05)
LONG = timedelta(seconds=20)
FOR_EVER = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n WHERE i < 0",
    "postgres": "SELECT pg_sleep(60)",
    "mysql": "SELECT sleep(60)",
}


@pytest.fixture
async def scheduler(tmp_path: Path) -> AsyncIterator[SqliteScheduler]:
    """Yield an open scheduler."""
    async with SqliteScheduler(tmp_path / "zart.db", create=True) as made:
        yield made


@pytest.mark.parametrize("backend", ["postgres", "mysql"])
async def test_a_refused_connection_when_it_is_opened_is_no_failure(
    make_harness: Callable[[str], MakeHarness], unused_tcp_port: int, backend: str
) -> None:
    refused: list[str] = []

    async def work(ctx: TaskContext, _: Bookings) -> str:
        return await ctx.transaction("book", book, "12A")

    async with opened(make_harness(backend)(Bookings(work))) as h:
        engine = h.scheduler._transacting()._engine  # type: ignore[attr-defined] # no other way to have it refused
        await engine.dispose()

        @event.listens_for(engine.sync_engine, "do_connect")
        def refuse(_dialect: Any, _record: Any, _args: Any, options: dict[str, Any]) -> None:
            if len(refused) < 6:
                refused.append("refused")
                options.update(host="127.0.0.1", port=unused_tcp_port)

        assert await outcome(h) == "booked 12A"
        assert refused == ["refused"] * 6
        (step,) = (await h.client.status("b-1")).steps
        assert (step.attempts, step.errors) == (1, ())


@pytest.mark.parametrize("end", ["deadline", "cancel"])
async def test_what_nobody_awaits_any_more_is_not_called_again_after_a_rollback(
    make_harness: Callable[[str], MakeHarness], end: str
) -> None:
    saving, gone = asyncio.Event(), asyncio.Event()

    async def function(connection: AsyncConnection, handler: Bookings) -> str:
        handler.calls.append("call")
        return await book(connection, "12A")

    async def work(ctx: TaskContext, handler: Bookings) -> str:
        if handler.calls:
            return await ctx.transaction("book", book, "12B")
        waiting = asyncio.ensure_future(ctx.transaction("book", function, handler, retry=RetryConfig.fixed(2, 0)))
        if end == "deadline":
            return await waiting
        await saving.wait()
        waiting.cancel()
        await asyncio.wait([waiting])
        gone.set()
        return "done"

    class Slow:
        """Speaks within a transaction, after the body is gone."""

        def __init__(self, bound: Bound) -> None:
            self.bound = bound

        async def commit(self, commits: Sequence[Commit]) -> Sequence[Committed]:
            saving.set()
            if end == "deadline":
                h.clock.advance("4s")
            else:
                await gone.wait()
            return await self.bound.commit(commits)

    @asynccontextmanager
    async def refused() -> AsyncIterator[tuple[Any, Bound]]:
        assert opener is not None
        async with opener() as (connection, bound):
            yield connection, Slow(bound)  # type: ignore[misc] # only `commit` is called
            raise IntegrityError("a deferred constraint", {}, Exception())

    class Limited(Bookings):
        name = "bookings"
        timeout = "3s"

    handler = Limited(work)
    async with asyncio.timeout(60), opened(make_harness("sqlite")(handler)) as h:
        opener, h.worker.open_transaction = h.worker.open_transaction, refused
        await h.client.start("b-1", "bookings", "")
        await h.run_to_idle()
        assert str((await h.client.status("b-1")).status) == ("failed" if end == "deadline" else "completed")
        assert handler.calls == ["call"]
        assert await seats(h) == []
        h.worker.open_transaction = opener
        await h.client.start("b-2", "bookings", "")
        assert await h.client.wait_completion_with_timeout("b-2", str, "1h") == "booked 12B", "the pool's tasks are as before"


@pytest.mark.parametrize("then", ["returns", "speaks", "lets it pass"])
@pytest.mark.parametrize("backend", list(FOR_EVER))
async def test_a_function_that_goes_on_after_a_cancelled_statement_is_told_what_that_means(
    make_harness: Callable[[str], MakeHarness], backend: str, then: str
) -> None:
    async def function(connection: AsyncConnection) -> str:
        await book(connection, "12A")
        try:
            async with asyncio.timeout(0.1):
                await connection.execute(text(FOR_EVER[backend]))
        except TimeoutError:
            if then == "lets it pass":
                raise
        if then == "speaks":
            await book(connection, "12B")
        return "fallback"

    async def work(ctx: TaskContext, _: Bookings) -> str:
        try:
            return await ctx.transaction("book", function)
        except StepFailed as error:
            return f"{error.error_type}: {error.message}"

    async with opened(make_harness(backend)(Bookings(work))) as h:
        said = await outcome(h)
        own = "TimeoutError" if then == "lets it pass" else "NotSupported: a statement was cancelled inside the function"
        assert said.startswith(own)
        assert await seats(h) == []


@pytest.mark.parametrize("backend", list(FOR_EVER))
async def test_a_transaction_of_nobodys_step_is_told_the_same(make_harness: Callable[[str], MakeHarness], backend: str) -> None:
    async with opened(make_harness(backend)(Bookings(lambda ctx, _: ctx.wait_for_event("never")))) as h:
        with pytest.raises(NotSupported, match="a statement was cancelled"):  # noqa: PT012 # the block is the transaction
            async with h.scheduler.transaction(LONG) as (connection, _):  # type: ignore[attr-defined] # a SQL backend
                await book(connection, "12A")
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.1):
                        await connection.execute(text(FOR_EVER[backend]))
        assert await seats(h) == []


@pytest.mark.parametrize("then", ["swallows", "converts", "exits", "lets it pass"])
@pytest.mark.parametrize("before", [0, 1], ids=["", "cancelled before"])
async def test_the_limit_takes_back_its_own_cancel_and_no_other(scheduler: SqliteScheduler, then: str, before: int) -> None:
    said: list[BaseException] = []
    left: list[int] = []

    async def limited() -> None:
        try:
            async with scheduler.transaction(LIMIT):
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    if then == "converts":
                        raise LookupError from None
                    if then == "exits":
                        raise SystemExit from None
                    if then == "lets it pass":
                        raise
        except BaseException as error:  # noqa: BLE001 # whatever it is
            said.append(error)

    async def whole() -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            if before:
                task.cancel()
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            pass
        await limited()
        left.append(task.cancelling())

    async with asyncio.timeout(20):
        await asyncio.create_task(whole())
    expected = {"converts": LookupError, "exits": SystemExit}.get(then, TimeoutError)
    (error,) = said
    assert isinstance(error, expected)  # on a busy machine it is the process that stood still, which is a timeout too
    assert left == [before]


async def test_a_cancel_that_comes_with_the_limits_own_is_passed_on(scheduler: SqliteScheduler) -> None:
    inside = asyncio.Event()

    async def limited() -> None:
        async with scheduler.transaction(LIMIT):
            inside.set()
            try:
                await asyncio.Event().wait()
            finally:
                task.cancel()  # somebody else's
                await asyncio.Event().wait()

    task = asyncio.create_task(limited())
    async with asyncio.timeout(20):
        await asyncio.wait([task])
    assert inside.is_set()
    assert task.cancelled()


async def test_one_that_waits_for_its_turn_when_the_scheduler_closes_is_not_begun(tmp_path: Path) -> None:
    scheduler = SqliteScheduler(tmp_path / "zart.db", create=True)
    inside, go = asyncio.Event(), asyncio.Event()

    async def holds() -> None:
        async with scheduler.transaction(LONG):
            inside.set()
            await go.wait()

    async def begins() -> None:
        async with scheduler.transaction(LONG):
            pass

    async with scheduler:
        first = asyncio.create_task(holds())
        await inside.wait()
        second = asyncio.create_task(begins())
        await asyncio.sleep(0)
    go.set()
    await first
    with pytest.raises(StorageUnavailable, match="closed while a transaction waited"):
        await second
    assert scheduler._transactions._engine is None
    async with scheduler:
        await begins()


async def test_a_function_that_speaks_after_the_server_has_ended_its_transaction_hears_why(
    make_harness: Callable[[str], MakeHarness],
) -> None:
    async def idles(connection: AsyncConnection) -> str:
        await book(connection, "12A")
        ended = asyncio.Event()
        raw: Any = (await connection.get_raw_connection()).driver_connection
        raw.add_termination_listener(lambda _: ended.set())
        await ended.wait()
        h.clock.advance("1s")
        return await book(connection, "12B")

    async def work(ctx: TaskContext, _: Bookings) -> str:
        try:
            return await ctx.transaction("book", idles)
        except StepFailed as error:
            return f"{error.error_type}: {error.message}"

    config = WorkerConfig(lease="1s", heartbeat_interval="100ms")
    async with opened(make_harness("postgres")(Bookings(work), config=config)) as h:
        assert (await outcome(h)).startswith("TimeoutError: the transaction was idle for longer than 0.333")
        assert await seats(h) == []
