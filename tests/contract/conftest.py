"""Every backend passes the same suite; what a backend needs to run is made here, next to it."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import asyncpg
import pytest
from attrs import frozen

from tests.servers.mariadb import MariaDbServer
from tests.servers.postgres import PostgresServer
from zart.clock import SystemClock
from zart.schedulers.mysql import MySqlScheduler
from zart.schedulers.mysql.queries import Names
from zart.schedulers.postgres import PostgresScheduler
from zart.testing import FakeClock

_numbers = count(1)


@frozen
class Place:
    """A schema of one's own on a real server."""

    server: PostgresServer
    schema: str
    clock: FakeClock

    def scheduler(self, **options: Any) -> PostgresScheduler:
        """Return a scheduler of these tables, not opened."""
        options.setdefault("clock", self.clock)
        return PostgresScheduler(options.pop("dsn", self.server.dsn), schema=self.schema, **options)

    @asynccontextmanager
    async def open(self, **options: Any) -> AsyncIterator[PostgresScheduler]:
        """Open a scheduler and migrate."""
        async with self.scheduler(**options) as scheduler:
            await scheduler.migrate()
            yield scheduler

    @asynccontextmanager
    async def session(self) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
        """Open a plain connection that sees these tables."""
        connection = await asyncpg.connect(self.server.dsn, server_settings={"search_path": self.schema})
        try:
            yield connection
        finally:
            connection.terminate()


@frozen
class MySqlPlace:
    """Tables of one's own on a real server."""

    server: MariaDbServer
    prefix: str
    clock: FakeClock

    def scheduler(self, **options: Any) -> MySqlScheduler:
        """Return a scheduler of these tables, not opened."""
        options = {"clock": self.clock, "prefix": self.prefix, **options}
        return MySqlScheduler(options.pop("url", self.server.url), **options)

    @asynccontextmanager
    async def open(self, **options: Any) -> AsyncIterator[MySqlScheduler]:
        """Open a scheduler and migrate."""
        async with self.scheduler(**options) as scheduler:
            await scheduler.migrate()
            yield scheduler

    @asynccontextmanager
    async def session(self) -> AsyncIterator["Session"]:
        """Open a plain connection, whose statements may call the tables zart_…."""
        connection = await self.server.session()
        try:
            yield Session(connection, Names(self.prefix))
        finally:
            connection.close()


@frozen
class Session:
    """A plain connection of somebody's."""

    connection: Any
    names: Names

    async def ask(self, *statements: str) -> list[Any]:
        """Run statements one by one; return the rows of the last."""
        rows: list[Any] = []
        for each in statements:
            async with self.connection.cursor() as cursor:
                await cursor.execute(self.names.apply(each))
                rows = list(await cursor.fetchall()) if cursor.description else []
        return rows

    async def until(self, sql: str) -> Any:
        """Wait until a question is answered with something true."""
        began = SystemClock.monotonic()
        while not (answer := (await self.ask(sql))[0][0]):
            assert SystemClock.monotonic() - began < 10, sql
        return answer


@pytest.fixture
def mysql_place(request: pytest.FixtureRequest, clock: FakeClock) -> MySqlPlace:
    """A place for a scheduler of the test's own: on MariaDB, or on what a test is parametrized with."""
    server: MariaDbServer = request.getfixturevalue(getattr(request, "param", "mariadb_server"))
    return MySqlPlace(server, f"place_{next(_numbers)}_", clock)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def place(postgres_server: PostgresServer, clock: FakeClock) -> Place:
    """A place for a scheduler of the test's own."""
    return Place(postgres_server, f"place_{next(_numbers)}", clock)


@pytest.fixture
def until() -> Callable[..., Any]:
    """Return a function that waits until a question to the server is answered with something true."""

    async def wait(session: Any, sql: str, *arguments: Any) -> Any:
        began = SystemClock.monotonic()
        while not (answer := await session.fetchval(sql, *arguments)):
            assert SystemClock.monotonic() - began < 10, sql
        return answer

    return wait
