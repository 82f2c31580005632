"""Transactions that users' writes are part of: the caller's own (`bind`), or one of ours (`transaction`).

SQLite has one write lock. While such a transaction holds it nothing else can be written to the file, by this process or
another; that is why ours have a limit, and why operations that wait for the lock refuse to be called inside one.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, TypeVar

from attrs import define, field
from sqlalchemy import URL, AdaptedConnection, Connection, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, create_async_engine

from zart.clock import Clock, instant, limited
from zart.errors import StorageUnavailable
from zart.records import Commit, Committed, Delivery, Event, NewExecution, Started
from zart.schedulers.sqlite.commit import CommitJob
from zart.schedulers.sqlite.database import Database
from zart.schedulers.sqlite.deliver import Deliver
from zart.schedulers.sqlite.faults import Busy, of_storage
from zart.schedulers.sqlite.inside import INSIDE
from zart.schedulers.sqlite.queries import statements
from zart.schedulers.sqlite.start import Start
from zart.schedulers.sqlite.writer import Batch, Job

T = TypeVar("T")


@define
class Bound:
    """Speaks within the transaction of a SQLAlchemy connection to the file."""

    _path: str
    _clock: Clock
    _given: AsyncConnection | AsyncSession
    batches: list[Batch] = field(factory=list)
    """What was said, and whom it would wake once it is durable."""

    async def start(self, new: Sequence[NewExecution]) -> Sequence[Started]:
        """Open runs."""
        return await self._do(Start(new)) if new else ()

    async def deliver(self, events: Sequence[Event]) -> Sequence[Delivery]:
        """Put events into mailboxes."""
        return await self._do(Deliver(events)) if events else ()

    async def commit(self, commits: Sequence[Commit]) -> Sequence[Committed]:
        """Write what workers have to say; on a connection of `Transactions.begin` only."""
        return await self._do(CommitJob(commits)) if commits else ()

    async def _do(self, job: Job[T]) -> T:
        connection = await self._given.connection() if isinstance(self._given, AsyncSession) else self._given
        return await connection.run_sync(self._work, job)

    def _work(self, connection: Connection, job: Job[T]) -> T:
        raw: Any = connection.connection.dbapi_connection
        try:
            # Through SQLAlchemy, so that it knows of a transaction that is to be committed.
            path = connection.exec_driver_sql("SELECT file FROM pragma_database_list WHERE name = 'main'").scalar_one()
            if path != self._path:
                raise TypeError(
                    f"the connection is to {path or 'a database in memory'!r}, and Zart's data is in {self._path!r}"
                )
            if not connection.connection.driver_connection.in_transaction:  # type: ignore[union-attr] # aiosqlite's
                raw.execute("BEGIN IMMEDIATE")  # Python begins by itself only before a row is changed; we look first
            batch = Batch(raw, instant(self._clock.now()), 0)
            answer = job.work(batch)
        except sqlite3.Error as error:
            fault = explained(error, self._path)
            if fault is None:
                raise
            raise fault from error
        self.batches.append(batch)
        return answer


def explained(error: Exception, path: str) -> Exception | None:
    """Return what to raise for an error of SQLite's inside a transaction; None when the data is at fault."""
    fault = of_storage(error, path)
    if isinstance(fault, Busy):
        return StorageUnavailable(
            f"the SQLite database {path!r} is locked by another transaction ({error}); begin yours with BEGIN IMMEDIATE, keep"
            " it short, and try again"
        )
    return fault


@define
class Transactions:
    """Transactions of our own, one at a time in a process: others could only wait for the lock, and not in turn."""

    _database: Database
    _clock: Clock
    _engine: AsyncEngine | None = None
    _turn: asyncio.Lock = field(factory=asyncio.Lock)

    @asynccontextmanager
    async def begin(self, limit: timedelta) -> AsyncIterator[tuple[AsyncConnection, Bound]]:
        """Open one, and commit it at the end.

        Raises:
            StorageUnavailable: the lock cannot be had, or the disk takes no more.
            TimeoutError: it held up others for longer than `limit`, and was rolled back.
        """
        path = self._database.path
        async with self._turn:
            connection = await self._connect()
            try:
                bound = Bound(path, self._clock, connection)
                token = INSIDE.set(path)
                try:
                    seconds = limit.total_seconds()
                    said = f"the transaction held the only write lock of {path!r} for {seconds:g} s"
                    async with limited(self._clock, seconds, said):
                        yield connection, bound
                finally:
                    INSIDE.reset(token)
                try:
                    await self._explain(connection.commit())
                except BaseException:
                    await connection.invalidate()  # SQLite leaves the transaction open, and with it the lock
                    raise
            finally:
                await connection.close()

    def bind(self, connection: AsyncConnection | AsyncSession) -> Bound:
        """Return what speaks within the transaction of somebody's connection.

        Raises:
            TypeError: no SQLAlchemy `AsyncConnection` or `AsyncSession`.
        """
        if not isinstance(connection, AsyncConnection | AsyncSession):
            raise TypeError(f"on SQLite give a SQLAlchemy AsyncConnection or AsyncSession, not {type(connection).__name__}")
        return Bound(self._database.path, self._clock, connection)

    async def close(self) -> None:
        """Close the connection."""
        if self._engine is not None:
            await self._engine.dispose()

    async def _connect(self) -> AsyncConnection:
        if self._engine is None:
            self._engine = _engine(self._database)
        connection = self._engine.connect()
        await self._explain(connection.start())
        try:
            await self._explain(connection.begin())
        except BaseException:
            await connection.close()
            raise
        return connection

    async def _explain(self, work: Any) -> None:
        try:
            await work
        except DBAPIError as error:
            fault = explained(error.orig, self._database.path) if isinstance(error.orig, sqlite3.Error) else None
            if fault is None:
                raise
            raise fault from error


def _engine(database: Database) -> AsyncEngine:
    engine = create_async_engine(
        URL.create("sqlite+aiosqlite", database=database.path),
        connect_args={"isolation_level": None, "timeout": database.busy_timeout},
        pool_size=1,
        max_overflow=0,
    )

    @event.listens_for(engine.sync_engine, "connect")
    def prepare(connection: AdaptedConnection, _: object) -> None:
        connection.run_async(lambda raw: raw.executescript("PRAGMA synchronous = FULL;" + statements("commit")["prepare"].sql))

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine
