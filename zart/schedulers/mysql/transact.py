"""Transactions that users' writes are part of: the caller's own (`Bound`), or one of ours (`Transactions`)."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from math import ceil
from typing import Any, TypeAlias, TypeVar

from asyncmy import errors
from asyncmy.connection import Connection
from attrs import define, field
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.pool import NullPool

from zart.clock import Clock, Instant, SystemClock, limited
from zart.errors import NotSupported, StorageUnavailable
from zart.records import Commit, Committed, Delivery, Event, NewExecution, Started
from zart.schedulers.mysql.commit import commit
from zart.schedulers.mysql.connections import Connections, Server
from zart.schedulers.mysql.deliver import deliver
from zart.schedulers.mysql.faults import NO_SAVEPOINT, UNSTORABLE, number_of, of_storage
from zart.schedulers.mysql.inside import SAID
from zart.schedulers.mysql.queries import Statement
from zart.schedulers.mysql.start import start
from zart.schedulers.mysql.talk import Talk
from zart.schedulers.sql.again import Patience
from zart.schedulers.sql.guard import Guard, guard, watch
from zart.schedulers.sql.inside import Said
from zart.schedulers.sql.news import News
from zart.schedulers.sql.outages import explained, told_from_an_outage

T = TypeVar("T")
Given: TypeAlias = "AsyncConnection | AsyncSession | Connection"

_UNREACHABLE = (OSError, errors.MySQLError)
_WHICH = "SELECT DATABASE(), @@hostname, @@port, @@datadir"
"""The same over every connection to one database of one server."""
# A savepoint is gone with its transaction: whoever finds it is still in the same one.
_MARK, _HAS_MARK = "SAVEPOINT zart_transaction", "RELEASE SAVEPOINT zart_transaction"


@define
class Bound:
    """Speaks within the transaction of somebody's connection."""

    _given: Given
    _server: Server
    _queries: Mapping[str, Statement]
    _now: Callable[[], Instant | None]
    _which: Callable[[], Awaitable[object]] | None
    """Tells which database is Zart's; None for a connection of our own."""
    _news: News
    _guard: Guard | None = None

    async def start(self, new: Sequence[NewExecution]) -> Sequence[Started]:
        """Open runs."""
        return await self._do(lambda talk: start(talk, new, self._news)) if new else ()

    async def deliver(self, events: Sequence[Event]) -> Sequence[Delivery]:
        """Put events into mailboxes."""
        return await self._do(lambda talk: deliver(talk, events, self._news)) if events else ()

    async def commit(self, commits: Sequence[Commit]) -> Sequence[Committed]:
        """Write what workers have to say. Waits for the executions' locks, so that none is busy, and holds them to the end."""

        async def work(talk: Talk) -> list[Committed]:
            if self._guard is not None:
                await check_mark(talk, self._guard)
            return await commit(talk, commits, self._news)

        return await self._do(work) if commits else ()

    async def _do(self, operation: Callable[[Talk], Awaitable[T]]) -> T:
        if self._guard is not None:
            self._guard.check()
        server = self._server
        talk = _talk(await self._connection(), server, self._queries, self._now())
        try:
            if self._which is not None:
                (found,) = await talk.ask(_WHICH)
                if (zart := await self._which()) != found.rows[0]:
                    raise TypeError(f"the connection is to {found.rows[0]!r}, and Zart's data is in {zart!r}")
            return await operation(talk)
        except UNSTORABLE as error:
            raise NotSupported(f"MySQL cannot store this: {error}; roll the transaction back") from error
        except Exception as error:
            fault = explained(error, of_storage, server.place)
            if fault is None:
                raise
            raise fault from error

    async def _connection(self) -> Connection:
        """Return the driver's connection, in a transaction.

        Raises:
            ValueError: it is in none.
        """
        given = await self._given.connection() if isinstance(self._given, AsyncSession) else self._given
        if isinstance(given, AsyncConnection):
            found = await _raw(given)
            if not given.in_transaction():
                await given.exec_driver_sql("SELECT 1")  # SQLAlchemy begins with the first statement that goes through it
            transaction = None if given.sync_connection is None else given.sync_connection.get_transaction()
        else:
            found, transaction = given, None
        if not (is_open(found) or begins_by_itself(found)):
            raise ValueError("the connection is in no transaction, and commits each statement by itself; begin one on it first")
        SAID.set(Said(self._server.address, lambda: is_open(found) if transaction is None else transaction.is_active))
        return found


async def check_mark(talk: Talk, watching: Guard) -> None:
    """Make sure that this still is the transaction that was opened; and mark it again.

    Raises:
        NonRetryable: it is not.
    """
    try:
        await talk.ask(_HAS_MARK, _MARK)
    except errors.MySQLError as error:
        if number_of(error) == NO_SAVEPOINT:
            raise watching.refuse("and began another") from error
        raise


@define
class Transactions:
    """Transactions of our own, each on a connection of its own: what is set for a session is nobody else's."""

    _server: Server
    _connections: Connections
    _now: Callable[[], Instant | None]
    _size: int
    _clock: Clock = field(factory=SystemClock)
    _engine: AsyncEngine = field(init=False)
    _slots: asyncio.Semaphore = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Make the engine; connections are opened as they are needed."""
        arguments = {each: value for each, value in self._server.arguments().items() if value is not None}
        self._engine = create_async_engine("mysql+asyncmy://", connect_args=arguments, poolclass=NullPool)
        watch(self._engine)
        self._slots = asyncio.Semaphore(self._size)

    @asynccontextmanager
    async def begin(self, limit: timedelta, news: News) -> AsyncIterator[tuple[AsyncConnection, Bound]]:
        """Open one, and commit it at the end; what it has made happen is put into `news`.

        Raises:
            StorageUnavailable: it could not be opened, or nobody knows whether it was committed.
            TimeoutError: it was idle for longer than `limit`, and was rolled back.
            NonRetryable: whoever had it has ended it.
        """
        async with self._slots:
            connection = await Patience(self._server.timeout).until_done(lambda: self._open(limit))
            raw = await _raw(connection)
            watching = guard(connection, lambda: is_open(raw))
            talk = _talk(raw, self._server, self._connections.queries, self._now())
            sound = False
            try:
                try:
                    async with told_from_an_outage(self._clock, limit, self._reach, _UNREACHABLE):
                        with watching.at_work():
                            yield connection, self._bound(connection, news, watching)
                    watching.check()
                    await self._explain(check_mark(talk, watching))
                except Exception as error:
                    if raw.connected and error is not watching.ended and not isinstance(error, StorageUnavailable):
                        watching.check()
                        await self._explain(check_mark(talk, watching))
                    sound = raw.connected and watching.ended is None
                    raise
                watching.release()
                await self._commit(connection)
                sound = True
            finally:
                watching.release()
                await self._put_back(connection, raw, sound=sound)

    def bind(self, connection: Given) -> Bound:
        """Return what speaks within the transaction of a connection.

        Raises:
            TypeError: no SQLAlchemy connection or session, nor one of asyncmy's.
        """
        if not isinstance(connection, AsyncConnection | AsyncSession | Connection):
            raise TypeError(
                f"give a SQLAlchemy AsyncConnection or AsyncSession, or an asyncmy connection, not {type(connection).__name__}"
            )
        return Bound(connection, self._server, self._connections.queries, self._now, self._which, News())

    async def close(self) -> None:
        """Close what is left."""
        await self._engine.dispose()

    def _bound(self, connection: AsyncConnection, news: News, watching: Guard) -> Bound:
        return Bound(connection, self._server, self._connections.queries, self._now, None, news, watching)

    async def _which(self) -> object:
        (found,) = await self._connections.run(lambda talk: talk.ask(_WHICH))
        return found.rows[0]

    async def _open(self, limit: timedelta) -> AsyncConnection:
        connection = self._engine.connect()
        # Off: what is said after a deadlock, which has rolled back all before it, must not count by itself.
        own = f"SET SESSION autocommit = 0, wait_timeout = {max(1, ceil(limit.total_seconds()))}"
        try:
            async with limited(self._clock, self._server.timeout, "no transaction could be opened in time"):
                await connection.start()
                await connection.begin()
                raw = await _raw(connection)
                talk = _talk(raw, self._server, self._connections.queries, None)
                await talk.ask(self._server.settings, own, "START TRANSACTION", _MARK)
        except BaseException as error:
            if connection.sync_connection is not None:
                await connection.invalidate()
                await connection.close()
            fault = of_storage(_cause(error), self._server.place)
            if fault is None:
                raise
            raise fault from error
        return connection

    async def _reach(self) -> None:
        probe = await self._server.connect()
        probe.close()

    async def _commit(self, connection: AsyncConnection) -> None:
        """Commit.

        Raises:
            StorageUnavailable: nobody knows whether it is committed. Only the server itself can say that it is not.
        """
        place = self._server.place
        try:
            async with limited(self._clock, self._server.timeout, f"{place} did not answer a COMMIT in time"):
                await connection.commit()
        except Exception as error:
            cause = _cause(error)
            if isinstance(of_storage(cause, place), UNSTORABLE):
                raise  # rolled back, and for the user to know
            raise explained(cause, of_storage, place) or StorageUnavailable(
                f"the COMMIT to {place} ended in {cause!r}"
            ) from error

    async def _explain(self, work: Awaitable[Any]) -> None:
        try:
            async with limited(self._clock, self._server.timeout, f"{self._server.place} did not answer in time"):
                await work
        except (DBAPIError, OSError, errors.MySQLError) as error:
            fault = explained(_cause(error), of_storage, self._server.place)
            if fault is None:
                raise
            raise fault from error

    async def _put_back(self, connection: AsyncConnection, raw: Connection, *, sound: bool) -> None:
        """Close a connection."""
        if connection.closed:  # by the function
            raw.close()
            return
        with suppress(Exception):  # it is committed, or has failed, already: nothing here may say otherwise
            if not sound:
                await connection.invalidate()
            await connection.close()


def _cause(error: BaseException) -> BaseException:
    """Return the driver's own error."""
    return error.orig if isinstance(error, DBAPIError) and error.orig is not None else error


def is_open(connection: Connection) -> bool:
    """Whether a transaction is open, as the server has said with its last answer."""
    return bool(connection.get_transaction_status())


def begins_by_itself(connection: Connection) -> bool:
    """Whether what is said next begins a transaction."""
    return not connection.get_autocommit()


async def _raw(connection: AsyncConnection) -> Connection:
    found: Connection = (await connection.get_raw_connection()).driver_connection  # type: ignore[assignment] # asyncmy's
    return found


def _talk(connection: Connection, server: Server, queries: Mapping[str, Statement], now: Instant | None) -> Talk:
    return Talk(connection, queries, now, server.timeout, server.place, server.largest, server.cluster, joined=True)
