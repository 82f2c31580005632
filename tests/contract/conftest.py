"""Every backend passes the same suite; what a backend needs to run is made here, next to it."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import asyncpg
import pytest
from attrs import frozen

from tests.servers.postgres import PostgresServer
from zart.clock import SystemClock
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
