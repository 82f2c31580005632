"""The storage of one test: tables of its own on a real server, or a file."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any, Protocol

import asyncpg
from attrs import define, frozen

from tests.servers.postgres import PostgresServer
from zart import SqliteScheduler
from zart.clock import SystemClock
from zart.schedulers.postgres import PostgresScheduler

Booking = tuple[str, str, str]
COLUMNS = "(id TEXT NOT NULL, step TEXT NOT NULL, value TEXT NOT NULL)"  # no key: what is there twice is to be seen
PATIENCE = 15.0


class Ground(Protocol):
    """Where a test's executions, and the rows of its user, are stored."""

    def spec(self) -> dict[str, Any]:
        """Return what a worker process must know."""
        ...

    def storage(self) -> Any:
        """Return a scheduler, not opened."""
        ...

    async def prepare(self) -> None:
        """Make the tables."""
        ...

    async def bookings(self) -> list[Booking]:
        """Return the rows of the user's table, in order."""
        ...


@frozen
class SqliteGround:
    """A file."""

    path: Path

    def spec(self) -> dict[str, Any]:
        return {"path": str(self.path), "bookings": "bookings"}

    def storage(self) -> SqliteScheduler:
        return SqliteScheduler(self.path)

    async def prepare(self) -> None:
        await self.storage().migrate()
        with closing(sqlite3.connect(self.path)) as connection:
            connection.execute(f"CREATE TABLE bookings {COLUMNS}")

    async def bookings(self) -> list[Booking]:
        with closing(sqlite3.connect(self.path)) as connection:
            return connection.execute("SELECT id, step, value FROM bookings ORDER BY 1, 2").fetchall()


@frozen
class PostgresGround:
    """A schema."""

    server: PostgresServer
    schema: str

    def spec(self) -> dict[str, Any]:
        return {"dsn": self.server.dsn, "schema": self.schema, "bookings": f"{self.schema}.bookings"}

    def storage(self) -> PostgresScheduler:
        return PostgresScheduler(self.server.dsn, schema=self.schema)

    async def prepare(self) -> None:
        await self.storage().migrate()
        async with self.session() as session:
            await session.execute(f"CREATE TABLE bookings {COLUMNS}")

    async def bookings(self) -> list[Booking]:
        async with self.session() as session:
            return [tuple(row) for row in await session.fetch("SELECT id, step, value FROM bookings ORDER BY 1, 2")]

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Any]:
        """Open a plain connection that sees these tables."""
        connection = await asyncpg.connect(self.server.dsn, server_settings={"search_path": self.schema})
        try:
            yield connection
        finally:
            connection.terminate()

    @asynccontextmanager
    async def gate(self) -> AsyncIterator["Gate"]:
        """Make a gate: who comes to it waits in the middle of what he does, with all locks that he has."""
        async with self.session() as keeper, self.session() as watch:
            await keeper.execute(
                f"CREATE FUNCTION gate() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
                f" PERFORM pg_advisory_xact_lock_shared(hashtext('{self.schema}')); RETURN NEW; END $$"
            )
            await keeper.execute("SELECT pg_advisory_lock(hashtext($1))", self.schema)
            yield Gate(self.schema, keeper, watch)


@define(eq=False)
class Gate:
    """Triggers that wait for a lock, which it holds until it is opened."""

    _schema: str
    keeper: Any
    watch: Any

    async def across(self, event: str, when: str | None = None, *, at_commit: bool = False) -> None:
        """Stand across an event, such as `UPDATE ON zart_executions`; at commit, it stands behind everything else."""
        kind, time = ("CONSTRAINT TRIGGER", "AFTER") if at_commit else ("TRIGGER", "BEFORE")
        deferred = "DEFERRABLE INITIALLY DEFERRED" if at_commit else ""
        condition = "" if when is None else f"WHEN ({when})"
        await self.watch.execute(
            f"CREATE {kind} gate {time} {event} {deferred} FOR EACH ROW {condition} EXECUTE FUNCTION gate()"
        )

    async def open(self) -> None:
        """Let everybody through."""
        await self.keeper.execute("SELECT pg_advisory_unlock(hashtext($1))", self._schema)

    async def waiting(self, count: int = 1) -> list[int]:
        """Return the server processes of those who stand before it, when there are so many."""
        return await self.blocked_by(self.keeper.get_server_pid(), count)

    async def blocked_by(self, pid: int, count: int = 1) -> list[int]:
        """Return the server processes that wait for another, when there are so many."""
        sql = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND $1 = ANY(pg_blocking_pids(pid))"
        began = SystemClock.monotonic()
        while len(rows := await self.watch.fetch(sql, pid)) < count:
            assert SystemClock.monotonic() - began < PATIENCE, f"nobody waits for {pid}"
        return [row[0] for row in rows]

    async def blocked(self) -> list[Any]:
        """Return who waits for any lock at this moment, and for what."""
        sql = "SELECT pid, wait_event, query FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        rows: list[Any] = await self.watch.fetch(sql)
        return rows


async def until(session: Any, sql: str, *arguments: Any, within: float = PATIENCE) -> Any:
    """Wait until a question to the server is answered with something true."""
    began = SystemClock.monotonic()
    while not (answer := await session.fetchval(sql, *arguments)):
        assert SystemClock.monotonic() - began < within, f"{sql} {arguments}"
        await asyncio.sleep(0)
    return answer
