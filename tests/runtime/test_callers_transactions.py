"""`start_in` and `offer_event_in`: what the client says within a transaction of the caller's own counts when that commits."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from attrs import define
from sqlalchemy import Connection, event, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, create_async_engine

from tests.runtime.conftest import MakeHarness
from tests.servers.mariadb import MariaDbServer
from tests.servers.postgres import PostgresServer
from zart import (
    DurableScheduler,
    ExecutionAlreadyExists,
    ExecutionNotFound,
    InMemoryScheduler,
    NotSupported,
    TaskContext,
    TaskHandler,
)
from zart.clock import SystemClock
from zart.schedulers.postgres import PostgresScheduler
from zart.testing import Harness


class Ships(TaskHandler[str, str]):
    name = "ships"

    async def run(self, ctx: TaskContext, data: str) -> str:
        return f"{data} {await ctx.wait_for_event('to', str)}"


class Asks(TaskHandler[str, str]):
    """Calls the client from inside a transaction."""

    name = "asks"

    def __init__(self) -> None:
        self.harness: Harness | None = None

    async def run(self, ctx: TaskContext, data: str) -> str:
        return await ctx.transaction("ask", self.ask, data)

    async def ask(self, connection: AsyncConnection, way: str) -> str:
        assert self.harness is not None
        client = self.harness.client
        if way == "within":
            await client.start_for_in(connection, Ships, "s-1", "tea")
            return "started"
        try:
            await client.start_for(Ships, "s-1", "tea")
        except NotSupported as refused:
            return str(refused)
        return "started outside"


@pytest.fixture(params=["sqlite", "postgres", "mysql"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def harness(backend: str, make_harness: Callable[[str], MakeHarness]) -> MakeHarness:
    """Return a function that makes a harness on a storage with transactions."""
    return make_harness(backend)


@pytest.fixture
async def engine(backend: str, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[AsyncEngine]:
    """Return the application's own engine."""
    if backend == "sqlite":
        made = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'zart.db'}")
    elif backend == "mysql":
        mariadb: MariaDbServer = request.getfixturevalue("mariadb_server")
        made = create_async_engine(mariadb.url.replace("mysql://", "mysql+asyncmy://"))
    else:
        server: PostgresServer = request.getfixturevalue("postgres_server")
        made = create_async_engine(server.dsn.replace("postgresql://", "postgresql+asyncpg://"))
    yield made
    await made.dispose()


@asynccontextmanager
async def session_of(engine: AsyncEngine) -> AsyncIterator[AsyncSession]:
    async with AsyncSession(engine) as session, session.begin():
        yield session


WAYS: dict[str, Callable[[AsyncEngine], Any]] = {"connection": lambda engine: engine.begin(), "session": session_of}


@pytest.mark.parametrize("way", WAYS)
async def test_a_start_counts_with_the_callers_writes(harness: MakeHarness, engine: AsyncEngine, way: str) -> None:
    async with harness(Ships()) as h:
        async with WAYS[way](engine) as connection:
            await connection.execute(text("CREATE TEMPORARY TABLE mine (n INTEGER)"))
            handle = await h.client.start_for_in(connection, Ships, "s-1", "tea")
            assert handle.run == 1
            with pytest.raises(ExecutionNotFound):
                await h.client.status("s-1")
        assert (await handle.record()).status == "pending"
        async with WAYS[way](engine) as connection:
            await h.client.offer_event_in(connection, "s-1", "to", "Ada")
        assert await handle.result("1h") == "tea Ada"


@pytest.mark.parametrize("way", WAYS)
async def test_a_rollback_leaves_nothing(harness: MakeHarness, engine: AsyncEngine, way: str) -> None:
    async with harness(Ships()) as h:
        await h.client.start_for(Ships, "s-1", "tea")
        await h.run_to_idle()
        with pytest.raises(KeyError):  # noqa: PT012 # the block is the transaction
            async with WAYS[way](engine) as connection:
                await h.client.start_in(connection, "s-2", "ships", "tea")
                await h.client.offer_event_in(connection, "s-1", "to", "Ada")
                raise KeyError("out of stock")
        with pytest.raises(ExecutionNotFound):
            await h.client.status("s-2")
        await h.run_to_idle()
        assert (await h.client.status("s-1")).status == "waiting"


async def test_a_taken_id_is_refused_and_the_transaction_can_go_on(harness: MakeHarness, engine: AsyncEngine) -> None:
    async with harness(Ships()) as h:
        await h.client.start_for(Ships, "s-1", "tea")
        async with engine.begin() as connection:
            with pytest.raises(ExecutionAlreadyExists):
                await h.client.start_in(connection, "s-1", "ships", "tea")
            await h.client.start_in(connection, "s-2", "ships", "tea")
        assert (await h.client.status("s-2")).status == "pending"


async def test_an_ended_id_is_started_again(harness: MakeHarness, engine: AsyncEngine) -> None:
    async with harness(Ships()) as h:
        await h.client.start_for(Ships, "s-1", "tea")
        await h.client.cancel("s-1")
        async with engine.begin() as connection:
            assert (await h.client.start_in(connection, "s-1", "ships", "tea")).run == 2
        assert (await h.client.status("s-1")).run == 2


async def test_several_events_of_one_execution_keep_their_order(harness: MakeHarness, engine: AsyncEngine) -> None:
    async with harness(Ships()) as h:
        await h.client.start_for(Ships, "s-1", "tea")
        async with engine.begin() as connection:
            await h.client.offer_event_in(connection, "s-1", "to", "Ada")
            await h.client.offer_event_in(connection, "s-1", "to", "Bob")
        assert await h.client.wait_completion_with_timeout("s-1", str, "1h") == "tea Ada"


async def test_inside_ctx_transaction_the_client_speaks_within(harness: MakeHarness) -> None:
    handler = Asks()
    async with harness(handler, Ships()) as h:
        handler.harness = h
        await h.client.start("a-1", "asks", "within")
        assert await h.client.wait_completion_with_timeout("a-1", str, "1h") == "started"
        assert (await h.client.status("s-1")).status == "waiting"


async def test_a_call_that_would_wait_for_its_own_caller_is_refused(backend: str, harness: MakeHarness) -> None:
    handler = Asks()
    async with harness(handler, Ships()) as h:
        handler.harness = h
        await h.client.start("a-1", "asks", "outside")
        said = await h.client.wait_completion_with_timeout("a-1", str, "1h")
        assert said == "started outside" if backend != "sqlite" else "start_in(connection" in said


async def test_no_connection_is_refused(harness: MakeHarness) -> None:
    async with harness(Ships()) as h:
        with pytest.raises(TypeError, match="AsyncConnection or AsyncSession"):
            await h.client.start_in("sqlite:///x", "s-1", "ships", "tea")


async def test_another_file_is_refused(make_harness: Callable[[str], MakeHarness], tmp_path: Path) -> None:
    other = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'other.db'}")
    async with make_harness("sqlite")(Ships()) as h, other.begin() as connection:
        with pytest.raises(TypeError, match=r"other\.db.*and Zart's data is in"):
            await h.client.start_in(connection, "s-1", "ships", "tea")
    await other.dispose()


async def test_asyncpgs_own_connection_will_do(
    make_harness: Callable[[str], MakeHarness], postgres_server: PostgresServer
) -> None:
    connection = await asyncpg.connect(postgres_server.dsn)
    try:
        async with make_harness("postgres")(Ships()) as h:
            with pytest.raises(ValueError, match="in no transaction"):
                await h.client.start_in(connection, "s-1", "ships", "tea")
            async with connection.transaction():
                await h.client.start_in(connection, "s-1", "ships", "tea")
            assert (await h.client.status("s-1")).status == "pending"
    finally:
        connection.terminate()


async def test_memory_has_no_transactions() -> None:
    async with Harness([Ships()], storage=lambda clock: InMemoryScheduler(clock=clock)) as h:
        with pytest.raises(NotSupported, match="no transactions"):
            await h.client.start_in(None, "s-1", "ships", "tea")


async def test_a_connection_that_commits_as_it_goes_commits_this_too(harness: MakeHarness, engine: AsyncEngine) -> None:
    async with harness(Ships()) as h:
        async with engine.connect() as connection:
            await h.client.start_in(connection, "s-1", "ships", "tea")
            await connection.commit()
            await h.client.start_in(connection, "s-2", "ships", "tea")
        assert (await h.client.status("s-1")).status == "pending"
        with pytest.raises(ExecutionNotFound):
            await h.client.status("s-2")


# ---- what would wait for itself ------------------------------------------------------------------------------------


@define(eq=False)
class Speaks(TaskHandler[str, str]):
    """Says something in a transaction, and then what the test says."""

    name = "speaks"
    then: Callable[[Harness, AsyncConnection], Awaitable[Any]]
    harness: Harness | None = None

    async def run(self, ctx: TaskContext, data: str) -> str:
        return await ctx.transaction("speak", self.speak)

    async def speak(self, connection: AsyncConnection) -> str:
        assert self.harness is not None
        await self.harness.client.offer_event_in(connection, "s-1", "other", 1)
        try:
            await self.then(self.harness, connection)
        except NotSupported as refused:
            return str(refused)
        return "went well"


async def offers(h: Harness, _: AsyncConnection) -> None:
    await h.client.offer_event("s-1", "to", "Ada")


async def cancels(h: Harness, _: AsyncConnection) -> None:
    await h.client.cancel("s-1")


async def starts(h: Harness, connection: AsyncConnection) -> None:
    await h.client.start_for_in(connection, Ships, "s-2", "tea")
    await h.client.start_for(Ships, "s-2", "tea")


async def offers_within(h: Harness, connection: AsyncConnection) -> None:
    await h.client.offer_event_in(connection, "s-1", "other", 2)


async def offers_to_another(h: Harness, _: AsyncConnection) -> None:
    await h.client.offer_event("s-0", "to", "Ada")


REFUSED = "start_in(connection"
WELL = "went well"


@pytest.mark.parametrize(
    ("then", "on_sqlite", "on_postgres"),
    [
        (offers, REFUSED, REFUSED),
        (cancels, REFUSED, REFUSED),
        (starts, REFUSED, REFUSED),
        (offers_within, WELL, WELL),
        (offers_to_another, REFUSED, WELL),
    ],
)
async def test_what_needs_a_lock_of_the_transaction_around_it_does_not_wait(
    backend: str, harness: MakeHarness, then: Any, on_sqlite: str, on_postgres: str
) -> None:
    handler = Speaks(then)
    async with harness(handler, Ships()) as h:
        handler.harness = h
        await h.client.start_for(Ships, "s-0", "tea")
        await h.client.start_for(Ships, "s-1", "tea")
        await h.run_to_idle()
        began = SystemClock.monotonic()
        await h.client.start("a-1", "speaks", "")
        said = await h.client.wait_completion_with_timeout("a-1", str, "1h")
        assert SystemClock.monotonic() - began < 4, "the server would have it wait for five seconds"
        assert (on_sqlite if backend == "sqlite" else on_postgres) in said
        await h.client.offer_event("s-1", "to", "Bob")
        assert await h.client.wait_completion_with_timeout("s-1", str, "1h") == "tea Bob"


async def test_in_a_transaction_of_the_callers_own_it_does_not_wait_either(harness: MakeHarness, engine: AsyncEngine) -> None:
    async with harness(Ships()) as h:
        await h.client.start_for(Ships, "s-1", "tea")
        async with engine.begin() as connection:
            await h.client.offer_event_in(connection, "s-1", "other", 1)
            began = SystemClock.monotonic()
            with pytest.raises(NotSupported, match=r"start_in\(connection"):
                await h.client.offer_event("s-1", "to", "Ada")
            assert SystemClock.monotonic() - began < 2
        await h.client.offer_event("s-1", "to", "Bob")
        assert await h.client.wait_completion_with_timeout("s-1", str, "1h") == "tea Bob"


# ---- the right database, and a transaction that is one -----------------------------------------------------------------


async def test_another_database_with_tables_of_its_own_is_refused(
    make_harness: Callable[[str], MakeHarness], postgres_server: PostgresServer
) -> None:
    admin = await asyncpg.connect(postgres_server.dsn)
    await admin.execute("DROP DATABASE IF EXISTS another")
    await admin.execute("CREATE DATABASE another")
    await admin.close()
    dsn = postgres_server.dsn.replace("/postgres", "/another")
    async with make_harness("postgres")(Ships()) as h:
        schema = h.scheduler._schema.names.schema  # type: ignore[attr-defined] # so that both have the same names
        async with PostgresScheduler(dsn, schema=schema) as other:
            await other.migrate()
        engine = create_async_engine(dsn.replace("postgresql://", "postgresql+asyncpg://"))
        async with engine.begin() as connection:
            with pytest.raises(TypeError, match=r"the connection is to the database 'another'.*Zart's data is in"):
                await h.client.start_in(connection, "s-1", "ships", "tea")
        await engine.dispose()
        with pytest.raises(ExecutionNotFound):
            await h.client.status("s-1")


async def test_other_tables_that_the_search_path_finds_are_refused(postgres_server: PostgresServer) -> None:
    dsn = postgres_server.dsn
    admin = await asyncpg.connect(dsn)
    for schema in ("one", "two", "three"):
        await admin.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE; CREATE SCHEMA {schema}")
    for schema in ("one", "two"):
        async with PostgresScheduler(f"{dsn}?search_path={schema}") as each:
            await each.migrate()
    async with PostgresScheduler(f"{dsn}?search_path=one") as scheduler:
        client = DurableScheduler(scheduler)
        for schema, found in (("two", "other Zart tables"), ("three", "no Zart tables"), ("one", "")):
            connection = await asyncpg.connect(dsn, server_settings={"search_path": schema})
            async with connection.transaction():
                if found:
                    with pytest.raises(TypeError, match=rf"finds {found}.*search_path"):
                        await client.start_in(connection, "s-1", "ships", "tea")
                else:
                    await client.start_in(connection, "s-1", "ships", "tea")
            await connection.close()
        assert (await client.status("s-1")).status == "pending"
    await admin.close()


async def test_a_connection_is_asked_once_which_database_it_is_to(
    make_harness: Callable[[str], MakeHarness], postgres_server: PostgresServer
) -> None:
    async with make_harness("postgres")(Ships()) as h, asyncpg.create_pool(postgres_server.dsn, min_size=1, max_size=1) as pool:
        asked = []
        for number in range(3):
            async with pool.acquire() as connection, connection.transaction():
                with connection.query_logger(asked.append):
                    await h.client.start_in(connection, f"s-{number}", "ships", "tea")
        assert len([each for each in asked if "pg_postmaster_start_time" in each.query]) == 1


@pytest.mark.parametrize("way", ["engine", "connection"])
async def test_on_sqlite_autocommit_is_refused(make_harness: Callable[[str], MakeHarness], tmp_path: Path, way: str) -> None:
    whole = {"isolation_level": "AUTOCOMMIT"} if way == "engine" else {}
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'zart.db'}", **whole)
    async with make_harness("sqlite")(Ships()) as h:
        async with engine.connect() as connection:
            if way == "connection":
                await connection.execution_options(isolation_level="AUTOCOMMIT")
            with pytest.raises(NotSupported, match="is in AUTOCOMMIT"):
                await h.client.start_in(connection, "s-1", "ships", "tea")
            await connection.rollback()
        with pytest.raises(ExecutionNotFound):
            await h.client.status("s-1")
    await engine.dispose()


async def test_inside_a_savepoint_it_goes_when_the_transaction_does(harness: MakeHarness, engine: AsyncEngine) -> None:
    async with harness(Ships()) as h:
        async with engine.connect() as connection:
            await h.client.start_in(connection, "s-1", "ships", "tea")
            async with connection.begin_nested():
                await h.client.start_in(connection, "s-2", "ships", "tea")
            await connection.rollback()
        for each in ("s-1", "s-2"):
            with pytest.raises(ExecutionNotFound):
                await h.client.status(each)


async def test_a_savepoint_that_comes_first_is_refused_where_it_would_be_the_transaction(
    backend: str, harness: MakeHarness, engine: AsyncEngine
) -> None:
    async with harness(Ships()) as h:
        async with engine.connect() as connection:
            nested = await connection.begin_nested()
            if backend == "sqlite":
                with pytest.raises(NotSupported, match=r"before begin_nested\(\)"):
                    await h.client.start_in(connection, "s-1", "ships", "tea")
            else:
                await h.client.start_in(connection, "s-1", "ships", "tea")
            await nested.commit()
            await connection.rollback()
        with pytest.raises(ExecutionNotFound):
            await h.client.status("s-1")


async def test_on_sqlite_a_savepoint_comes_first_where_the_engine_says_begin(
    make_harness: Callable[[str], MakeHarness], tmp_path: Path
) -> None:
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'zart.db'}", connect_args={"isolation_level": None})

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    async with make_harness("sqlite")(Ships()) as h:
        async with engine.connect() as connection:
            async with connection.begin_nested():
                await h.client.start_in(connection, "s-1", "ships", "tea")
            await connection.rollback()
            async with connection.begin_nested():
                await h.client.start_in(connection, "s-2", "ships", "tea")
            await connection.commit()
        with pytest.raises(ExecutionNotFound):
            await h.client.status("s-1")
        assert (await h.client.status("s-2")).status == "pending"
    await engine.dispose()
