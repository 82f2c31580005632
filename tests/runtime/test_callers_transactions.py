"""`start_in` and `offer_event_in`: what the client says within a transaction of the caller's own counts when that commits."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, create_async_engine

from tests.runtime.conftest import MakeHarness
from tests.servers.postgres import PostgresServer
from zart import ExecutionAlreadyExists, ExecutionNotFound, InMemoryScheduler, NotSupported, TaskContext, TaskHandler
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


@pytest.fixture(params=["sqlite", "postgres"])
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
        assert said == "started outside" if backend == "postgres" else "start_in(connection" in said


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
