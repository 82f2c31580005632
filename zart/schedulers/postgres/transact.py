"""Transactions that users' writes are part of: the caller's own (`Bound`), or one of ours (`Transactions`)."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any, TypeAlias, TypeVar

import asyncpg
from asyncpg.pool import PoolConnectionProxy
from attrs import define, field
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, create_async_engine

from zart.clock import Clock, Instant, SystemClock, limited
from zart.errors import NotSupported, StorageUnavailable
from zart.records import Commit, Committed, Delivery, Event, NewExecution, Started
from zart.schedulers.postgres.commit import commit
from zart.schedulers.postgres.connections import Connection, Server, Talk
from zart.schedulers.postgres.deliver import deliver
from zart.schedulers.postgres.faults import UNSTORABLE, of_storage
from zart.schedulers.postgres.identity import Identity, unwrapped
from zart.schedulers.postgres.inside import SAID, still_open
from zart.schedulers.postgres.start import start
from zart.schedulers.sql.again import Patience
from zart.schedulers.sql.guard import Guard, guard, watch
from zart.schedulers.sql.inside import Said
from zart.schedulers.sql.news import News
from zart.schedulers.sql.outages import explained, told_from_an_outage

T = TypeVar("T")
Given: TypeAlias = "AsyncConnection | AsyncSession | Connection"
Told = Callable[[Talk, News], Awaitable[None]]

_UNREACHABLE = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


@define
class Bound:
    """Speaks within the transaction of somebody's connection."""

    _given: Given
    _server: Server
    _queries: Mapping[str, str]
    _now: Callable[[], Instant | None]
    _told: Told
    """Is told of what an operation has made happen, within the transaction."""
    _identity: Identity | None
    """Knows whether a connection that is not ours is to the same database."""
    _guard: Guard | None = None
    _path: str | None = None
    """Where the tables were looked for when the transaction was opened, if it is ours."""

    async def start(self, new: Sequence[NewExecution]) -> Sequence[Started]:
        """Open runs."""
        return await self._do(lambda talk, news: start(talk, new, news)) if new else ()

    async def deliver(self, events: Sequence[Event]) -> Sequence[Delivery]:
        """Put events into mailboxes."""
        return await self._do(lambda talk, news: deliver(talk, events, news)) if events else ()

    async def commit(self, commits: Sequence[Commit]) -> Sequence[Committed]:
        """Write what workers have to say. Waits for the executions' locks, so that none is busy, and holds them to the end."""

        async def work(talk: Talk, news: News) -> list[Committed]:
            keys = [each.token.key for each in commits]
            held = await talk.rows("transact.hold", keys)
            if self._path is not None and {each["path"] for each in held} != {self._path}:
                await talk.rows("transact.path", self._path)
                held = await talk.rows("transact.hold", keys)
            if self._guard is not None and held and not held[0]["mark"]:
                raise self._guard.refuse("and began another")
            return await commit(talk, commits, news)

        return await self._do(work) if commits else ()

    async def _do(self, operation: Callable[[Talk, News], Awaitable[T]]) -> T:
        if self._guard is not None:
            self._guard.check()
        talk = Talk(await self._connection(), self._queries, self._now(), self._server.timeout)
        news = News()
        try:
            if self._identity is not None:
                await self._identity.check(talk)
            result = await operation(talk, news)
            if news:
                await self._told(talk, news)
        except UNSTORABLE as error:
            raise NotSupported(f"PostgreSQL cannot store this: {error}; roll the transaction back") from error
        except Exception as error:
            fault = explained(error, of_storage, self._server.place)
            if fault is None:
                raise
            raise fault from error
        return result

    async def _connection(self) -> Connection:
        """Return the driver's connection, in a transaction.

        Raises:
            ValueError: it is in none.
        """
        given = await self._given.connection() if isinstance(self._given, AsyncSession) else self._given
        if isinstance(given, AsyncConnection):
            found = await _raw(given)
            if not found.is_in_transaction():
                await given.exec_driver_sql("SELECT")  # SQLAlchemy begins with the first statement that goes through it
            transaction = None if given.sync_connection is None else given.sync_connection.get_transaction()
            is_open = still_open(found) if transaction is None else lambda: transaction.is_active
        else:
            found = given
            is_open = still_open(unwrapped(found))
        if not found.is_in_transaction():
            raise ValueError("the connection is in no transaction; use it inside `async with connection.transaction()`")
        SAID.set(Said(self._server.dsn, is_open))
        return found


@define
class Transactions:
    """Transactions of our own, on connections of their own."""

    _server: Server
    _queries: Mapping[str, str]
    _now: Callable[[], Instant | None]
    _size: int
    _tell_within: Told
    _clock: Clock = field(factory=SystemClock)
    _engine: AsyncEngine = field(init=False)
    _slots: asyncio.Semaphore = field(init=False)
    _identity: Identity = field(init=False)
    _is_closed: bool = False

    def __attrs_post_init__(self) -> None:
        """Make the engine; connections are opened as they are needed."""
        self._engine = _engine(self._server, self._size)
        self._slots = asyncio.Semaphore(self._size)
        self._identity = Identity(self._server, self._queries)

    @asynccontextmanager
    async def begin(self, limit: timedelta, news: News) -> AsyncIterator[tuple[AsyncConnection, Bound]]:
        """Open one, and commit it at the end; what it has made happen is put into `news`.

        Raises:
            StorageUnavailable: it could not be opened, or nobody knows whether it was committed.
            TimeoutError: it was idle for longer than `limit`, and was rolled back.
            NonRetryable: whoever had it has ended it.
        """

        async def told(_: Talk, more: News) -> None:
            news.calls |= more.calls
            news.due += more.due

        async with self._slots:  # the engine's own queue gives up after a time
            connection, path, number = await Patience(self._server.timeout).until_done(lambda: self._open(limit))
            raw = await _raw(connection)
            watching = guard(connection, raw.is_in_transaction)
            sound = False
            try:
                try:
                    async with told_from_an_outage(self._clock, limit, self._reach, _UNREACHABLE):
                        with watching.at_work():
                            yield (
                                connection,
                                Bound(connection, self._server, self._queries, self._now, told, None, watching, path),
                            )
                    watching.check()
                except (StorageUnavailable, TimeoutError) as error:
                    await self._check(raw, watching, number, error)
                    raise  # in the middle of something, perhaps
                except Exception as error:
                    await self._check(raw, watching, number, error)
                    sound = watching.ended is None
                    raise
                watching.release()
                await self._commit(connection)
                sound = True
            finally:
                watching.release()
                if connection.closed:  # by the function, and so given back as it was
                    raw.terminate()
                else:
                    await self._put_back(connection, raw, sound=sound)

    def bind(self, connection: Given) -> Bound:
        """Return what speaks within the transaction of a connection.

        Raises:
            TypeError: no SQLAlchemy connection or session, nor one of asyncpg's.
        """
        if not isinstance(connection, AsyncConnection | AsyncSession | asyncpg.Connection | PoolConnectionProxy):
            raise TypeError(
                f"give a SQLAlchemy AsyncConnection or AsyncSession, or an asyncpg connection, not {type(connection).__name__}"
            )
        return Bound(connection, self._server, self._queries, self._now, self._tell_within, self._identity)

    async def close(self) -> None:
        """Close the connections; those in use, when they are given back."""
        self._is_closed = True
        await self._engine.dispose()

    async def _open(self, limit: timedelta) -> tuple[AsyncConnection, str, str]:
        """Return a connection in a transaction, where it looks for tables, and the transaction's number."""
        connection = self._engine.connect()
        idle = str(int(limit.total_seconds() * 1000))
        try:
            async with limited(self._clock, self._server.timeout, "no transaction could be opened in time"):
                await connection.start()
                await connection.begin()
                begun = await connection.exec_driver_sql(self._queries["transact.begin"], (idle,))
        except BaseException as error:
            if connection.sync_connection is not None:
                await connection.close()
            fault = of_storage(_cause(error), self._server.place)
            if fault is None:
                raise
            raise fault from error
        one = begun.one()
        return connection, one.path, one.number

    async def _check(self, raw: Connection, watching: Guard, number: str, error: Exception) -> None:
        """Find out whether what has failed was still the transaction that was opened, as far as it can still be asked.

        Raises:
            NonRetryable: it was not: what the function had written before may be there, and must not be done again.
        """
        if raw.is_closed() or error is watching.ended:
            return
        watching.check()
        try:
            is_same = await self._is_same(raw, number)
        except (*_UNREACHABLE, TimeoutError):
            return
        if not is_same:
            raise watching.refuse("and began another") from error

    async def _is_same(self, raw: Connection, number: str) -> bool:
        """Whether a connection is in the transaction that was opened, or in one that has failed and nothing is kept of."""
        seconds = self._server.timeout
        try:
            return bool(await raw.fetchval(self._queries["transact.mark"], timeout=seconds))
        except asyncpg.InFailedSQLTransactionError:
            await raw.execute(self._queries["transact.rollback"], timeout=seconds)
            fate: str | None = await raw.fetchval(self._queries["transact.fate"], number, timeout=seconds)
            return fate != "committed"

    async def _put_back(self, connection: AsyncConnection, raw: Connection, *, sound: bool) -> None:
        """Give a connection back as it came: what was set for the session is nobody else's. Or close it."""
        try:
            if sound and not self._is_closed and not self._server.pooler:
                await connection.rollback()  # if it is not committed
                await raw.execute(self._queries["transact.reset"], timeout=self._server.timeout)
        except Exception:  # noqa: BLE001 # it is committed, or has failed, already: nothing here may say otherwise
            sound = False
        except BaseException:
            await connection.invalidate()
            raise
        finally:
            with suppress(Exception):  # as above
                if not sound or self._is_closed:
                    await connection.invalidate()
                await connection.close()

    async def _reach(self) -> None:
        """Connect, but not from the engine, whose connections may all be held by transactions that idle."""
        probe = await self._server.connect(name="zart transaction")
        probe.terminate()

    async def _commit(self, connection: AsyncConnection) -> None:
        """Commit.

        Raises:
            StorageUnavailable: nobody knows whether it is committed. Only the server itself can say that it is not.
        """
        try:
            async with limited(self._clock, self._server.timeout, f"{self._server.place} did not answer a COMMIT in time"):
                await connection.commit()
        except Exception as error:
            cause = _cause(error)
            fault = explained(cause, of_storage, self._server.place)
            if isinstance(cause, asyncpg.PostgresError) and (fault is None or _is_refusal(cause)):
                raise  # rolled back, and for the user to know
            raise fault or StorageUnavailable(f"the COMMIT to {self._server.place} ended in {cause!r}") from error


def _is_refusal(error: asyncpg.PostgresError) -> bool:
    """Whether the server has refused to commit, and not just failed to."""
    if isinstance(error, asyncpg.StatementCompletionUnknownError):
        return False
    return isinstance(error, asyncpg.IntegrityConstraintViolationError | asyncpg.TransactionRollbackError)


def _cause(error: BaseException) -> BaseException:
    """Return the driver's own error."""
    return (isinstance(error, DBAPIError) and error.orig and error.orig.__cause__) or error


async def _raw(connection: AsyncConnection) -> Connection:
    found: Connection = (await connection.get_raw_connection()).driver_connection  # type: ignore[assignment] # asyncpg's
    return found


def _engine(server: Server, size: int) -> AsyncEngine:
    settings: dict[str, Any] = {"dsn": server.dsn, "timeout": server.timeout}
    if server.pooler:
        # Unnamed statements: names would be met by others on the same connection to the server.
        settings |= {"statement_cache_size": 0, "prepared_statement_cache_size": 0, "prepared_statement_name_func": lambda: ""}
    else:
        settings["server_settings"] = {"application_name": "zart transaction", "synchronous_commit": "on"}
    # No ping: to open a transaction is one, and is tried again.
    engine = create_async_engine("postgresql+asyncpg://", connect_args=settings, pool_size=size, max_overflow=0)
    watch(engine)
    return engine
