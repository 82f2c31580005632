"""Transactions that users' writes are part of: the caller's own (`bind`), or one of ours (`transaction`).

SQLite has one write lock. While such a transaction holds it nothing else can be written to the file, by this process or
another; that is why ours have a limit, and why operations that wait for the lock refuse to be called inside one.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any, TypeVar

from attrs import define, field
from sqlalchemy import URL, AdaptedConnection, Connection, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from zart.clock import Clock, instant
from zart.errors import NotSupported, StorageUnavailable
from zart.records import Commit, Committed, Delivery, Event, NewExecution, Started
from zart.schedulers.sql.guard import Guard, guard, watch
from zart.schedulers.sqlite.commit import CommitJob
from zart.schedulers.sqlite.cursors import Connection as DriversConnection
from zart.schedulers.sqlite.database import Database
from zart.schedulers.sqlite.deliver import Deliver
from zart.schedulers.sqlite.faults import Busy, of_storage
from zart.schedulers.sqlite.inside import INSIDE, Holding, refuse_inside
from zart.schedulers.sqlite.limit import held
from zart.schedulers.sqlite.queries import statements
from zart.schedulers.sqlite.start import Start
from zart.schedulers.sqlite.warden import Warden, assign, stop_with_its_caller
from zart.schedulers.sqlite.writer import Batch, Job

T = TypeVar("T")

_FILE = "SELECT file FROM pragma_database_list WHERE name = 'main'"
_WARDEN = "zart_warden"

_BEGUN = "zart_begun"
_NOT_BEGUN = (
    "the transaction has begun with begin_nested(), and for SQLite that savepoint is all of it: once released it stays, even if"
    " the transaction around it is rolled back; call start_in or offer_event_in before begin_nested(), or have the engine begin"
    ' with BEGIN, as SQLAlchemy describes under "SQLite: Enabling SAVEPOINT"'
)
_AUTOCOMMIT = (
    "the connection is in AUTOCOMMIT: each of its statements is a transaction of its own, and this could be part of none; use"
    " an engine or a connection without isolation_level='AUTOCOMMIT'"
)


@define
class Bound:
    """Speaks within the transaction of a SQLAlchemy connection to the file."""

    _path: str
    _clock: Clock
    _given: AsyncConnection | AsyncSession
    _guard: Guard | None = None
    """Watches over it, if the transaction is ours."""
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
        if self._guard is not None:
            self._guard.check()
        connection = await self._given.connection() if isinstance(self._given, AsyncSession) else self._given
        driver = (await connection.get_raw_connection()).driver_connection
        refuse_inside(self._path, driver)
        answer = await connection.run_sync(self._work, job)
        if self._guard is None and connection.sync_connection is not None:
            transaction = connection.sync_connection.get_transaction()
            INSIDE.set(Holding(self._path, driver, lambda: transaction is not None and transaction.is_active))
        return answer

    def _work(self, connection: Connection, job: Job[T]) -> T:
        raw: Any = connection.connection.dbapi_connection
        try:
            # Through SQLAlchemy, so that it knows of a transaction that is to be committed.
            path = connection.exec_driver_sql(_FILE).scalar_one()
            if path != self._path:
                raise TypeError(
                    f"the connection is to {path or 'a database in memory'!r}, and Zart's data is in {self._path!r}"
                )
            if self._guard is None:
                _check_that_it_is_one(connection)
            if not connection.connection.driver_connection.in_transaction:  # type: ignore[union-attr] # aiosqlite's
                raw.execute("BEGIN IMMEDIATE")  # Python begins by itself only before a row is changed; we look first
            if self._guard is None:
                connection.info[_BEGUN] = connection.get_transaction()
            batch = Batch(raw, instant(self._clock.now()), 0)
            answer = job.work(batch)
        except sqlite3.Error as error:
            fault = explained(error, self._path)
            if fault is None:
                raise
            raise fault from error
        self.batches.append(batch)
        return answer


def _check_that_it_is_one(connection: Connection) -> None:
    """Make sure that what is written on somebody's connection counts with the rest of his transaction.

    Raises:
        NotSupported: it would not.
    """
    options = connection.get_execution_options()
    level = options.get("isolation_level") or getattr(connection.dialect, "_on_connect_isolation_level", None)
    if level == "AUTOCOMMIT":
        raise NotSupported(_AUTOCOMMIT)
    if not connection.in_nested_transaction() or connection.info.get(_BEGUN) is connection.get_transaction():
        return
    # Whether BEGIN came before the savepoint SQLite does not tell; but some engines always say it.
    raw: Any = connection.connection.dbapi_connection
    if raw.isolation_level is not None or not connection.dispatch.begin:
        raise NotSupported(_NOT_BEGUN)


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
    _kept: set[asyncio.Task[Any]] = field(factory=set)
    """What is done with connections, in tasks of its own: a driver that is left in the middle of it waits for ever."""
    _closings: int = 0
    """How often it was closed; a scheduler may be entered again."""

    @asynccontextmanager
    async def begin(self, limit: timedelta) -> AsyncIterator[tuple[AsyncConnection, Bound]]:
        """Open one, and commit it at the end.

        Raises:
            StorageUnavailable: the lock cannot be had, the disk takes no more, or the scheduler was closed meanwhile.
            TimeoutError: it held up others for longer than `limit`, and was rolled back; `StoodStill` if the process did.
            NonRetryable: whoever had it has ended it.
            NotSupported: whoever asks is inside one already.
        """
        path = self._database.path
        refuse_inside(path)
        closings = self._closings
        async with self._turn:
            await self._all_done()  # without an end, as for the turn: the pool would give up
            if self._closings != closings:
                raise StorageUnavailable(f"the scheduler of {path!r} was closed while a transaction waited for its turn")
            if self._engine is None:
                self._engine = _engine(self._database)
            connection = await self._connect(self._engine)
            raw = await connection.get_raw_connection()
            driver: Any = raw.driver_connection
            warden: Warden = raw.info[_WARDEN]
            watching = guard(connection, lambda: driver.in_transaction)
            assign(warden, connection, watching)
            sound = False
            try:
                try:
                    async with self._held(driver, warden, watching, limit):
                        with watching.at_work():
                            yield connection, Bound(path, self._clock, connection, watching)
                except Exception:
                    sound = watching.ended is None
                    raise
                finally:
                    watching.release()
                await self._commit(connection, driver)
                sound = True
            finally:
                sound = sound and not warden.is_changed and not warden.is_stopped
                await asyncio.shield(self._keep(self._put_back(connection, sound=sound)))

    @asynccontextmanager
    async def _held(self, driver: object, warden: Warden, watching: Guard, limit: timedelta) -> AsyncIterator[None]:
        """Hold the lock for a function, for so long at most."""
        path, seconds = self._database.path, limit.total_seconds()
        said = f"the transaction held the only write lock of {path!r} for {seconds:g} s"
        token = INSIDE.set(Holding(path, driver, lambda: watching.is_on))
        try:
            async with held(self._clock, seconds, said, warden.stop):
                yield
            watching.check()
            if warden.is_stopped:
                raise TimeoutError(said)
        except BaseException as error:
            if not isinstance(error, Exception):
                warden.stop()
            elif not warden.is_stopped and error is not watching.ended:
                watching.check()
            raise
        finally:
            INSIDE.reset(token)

    def bind(self, connection: AsyncConnection | AsyncSession) -> Bound:
        """Return what speaks within the transaction of somebody's connection.

        Raises:
            TypeError: no SQLAlchemy `AsyncConnection` or `AsyncSession`.
        """
        if not isinstance(connection, AsyncConnection | AsyncSession):
            raise TypeError(f"on SQLite give a SQLAlchemy AsyncConnection or AsyncSession, not {type(connection).__name__}")
        return Bound(self._database.path, self._clock, connection)

    async def close(self) -> None:
        """Close the connection; one in use, when it is given back."""
        self._closings += 1
        engine, self._engine = self._engine, None
        await self._all_done()
        if engine is not None:
            await engine.dispose()

    def _keep(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Do something whatever becomes of whoever awaits it."""
        task = asyncio.create_task(work)
        self._kept.add(task)
        task.add_done_callback(self._kept.discard)
        return task

    async def _all_done(self) -> None:
        while self._kept:
            await asyncio.wait(self._kept)

    async def _connect(self, engine: AsyncEngine) -> AsyncConnection:
        opening = self._keep(self._open(engine))
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            self._keep(self._give_up(opening))
            raise

    async def _give_up(self, opening: asyncio.Task[AsyncConnection]) -> None:
        """Put back a connection that nobody waits for any more."""
        with suppress(Exception):  # it was not to be had
            await self._put_back(await opening, sound=True)

    async def _open(self, engine: AsyncEngine) -> AsyncConnection:
        connection = engine.connect()
        await self._explain(connection.start())
        try:
            await self._explain(connection.begin())
        except BaseException:
            await connection.close()
            raise
        return connection

    async def _commit(self, connection: AsyncConnection, driver: Any) -> None:
        """Commit. If that fails SQLite may leave the transaction open, and with it the lock.

        Raises:
            StorageUnavailable: nobody knows whether it is committed. Only SQLite itself can say that it is not.
        """
        path = self._database.path
        try:
            await connection.commit()
        except Exception as error:
            cause = error.orig if isinstance(error, DBAPIError) else error
            fault = explained(cause, path) if isinstance(cause, sqlite3.Error) else None
            if fault is None and isinstance(cause, sqlite3.Error) and driver.in_transaction:
                raise  # refused, and for the user to know
            raise fault or StorageUnavailable(f"the COMMIT to the SQLite database {path!r} ended in {cause!r}") from error

    async def _put_back(self, connection: AsyncConnection, *, sound: bool) -> None:
        """Give a connection back, or close it."""
        try:
            if connection.closed:  # by the function, and so given back: all that there are, which is one
                if self._engine is not None:
                    await self._engine.dispose()
                return
            if not sound or self._engine is None:
                await connection.invalidate()
            await connection.close()
        except Exception:  # noqa: BLE001 # it is committed, or has failed, already: nothing here may say otherwise
            self._engine = None

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
        connect_args={"isolation_level": None, "timeout": database.busy_timeout, "factory": DriversConnection},
        pool_size=1,
        max_overflow=0,
    )

    @event.listens_for(engine.sync_engine, "connect")
    def prepare(connection: AdaptedConnection, record: ConnectionPoolEntry) -> None:
        connection.run_async(lambda raw: raw.executescript("PRAGMA synchronous = FULL;" + statements("commit")["prepare"].sql))
        record.info[_WARDEN] = warden = Warden()
        connection.run_async(warden.post)

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    watch(engine)
    stop_with_its_caller(engine)
    return engine
