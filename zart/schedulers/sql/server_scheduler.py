"""A scheduler in a database on a server, as far as it does not matter on which.

What is said to the server stands in the dialect's own modules; here is what surrounds it. Claims, and what follows a commit,
are the dialects' own: there every call counts.
"""

from abc import abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar

from attrs import frozen

from zart.clock import Clock, Instant, instant
from zart.errors import NotSupported, SchemaMismatch
from zart.records import BeatReply, Commit, Committed, Delivery, Demand, Event, Front, NewExecution, Started, WorkerBeat
from zart.scheduler import Bound
from zart.schedulers.sql.inspected import Inspected
from zart.schedulers.sql.news import News
from zart.schedulers.sql.server_waits import ServerWaits
from zart.status import ExecutionStatus

T = TypeVar("T")
K = TypeVar("K")
"""What an operation speaks through: one connection, for as long as the operation takes."""
K_co = TypeVar("K_co", covariant=True)


class Connections(Protocol[K_co]):
    """The connections to a server."""

    @property
    def is_open(self) -> bool:
        """Whether operations may be run."""
        ...

    def open(self) -> None:
        """Allow operations."""
        ...

    async def close(self) -> None:
        """Close everything."""
        ...

    def check_open(self) -> None:
        """Make sure that operations may be run."""
        ...

    async def run(self, work: Callable[[K_co], Awaitable[T]]) -> T:
        """Run an operation, and again after faults that pass."""
        ...


class Schema(Protocol):
    """The tables."""

    @property
    def place(self) -> str:
        """Name database and tables for people."""
        ...

    def script(self, version: int) -> str:
        """Return what migrating would do to tables of this version."""
        ...


class Engine(Protocol):
    """A SQLAlchemy `AsyncEngine`, as far as it is of interest."""

    @property
    def url(self) -> Any:
        """Where it connects to, as a SQLAlchemy `URL`."""
        ...


class Transactions(Protocol):
    """What opens transactions, and speaks within those of others."""

    def begin(self, limit: timedelta, news: News) -> AbstractAsyncContextManager[tuple[Any, Bound]]:
        """Open one, and commit it at the end; what it has made happen is put into `news`."""
        ...

    def bind(self, connection: Any) -> Bound:
        """Return what speaks within the transaction of a connection."""
        ...

    async def close(self) -> None:
        """Close its connections."""
        ...


@frozen
class Dialect(Generic[K]):
    """How operations are said to a kind of server."""

    name: str
    start: Callable[[K, Sequence[NewExecution], News], Awaitable[list[Started]]]
    beat: Callable[[K, WorkerBeat, News], Awaitable[BeatReply]]
    deliver: Callable[[K, Sequence[Event], News], Awaitable[list[Delivery]]]
    cancel: Callable[[K, Collection[str], int | None, News], Awaitable[dict[str, tuple[ExecutionStatus, bool]]]]
    remember: Callable[[K, str, str], Awaitable[str]]
    recall: Callable[[K, str], Awaitable[str | None]]
    front: Callable[[K, Demand], Awaitable[list[Front]]]
    refused: Callable[[Commit, Exception], Committed]
    unstorable: tuple[type[Exception], ...]
    """The errors that say that the server cannot hold what it was given."""


class ServerScheduler(Inspected, Generic[K]):
    """Runs operations over a pool of connections, and tells whom they concern."""

    _dialect: Dialect[K]
    _clock: Clock | None
    """Storage's clock instead of the server's."""
    _connections: Connections[K]
    _readers: Connections[K]
    _schema: Schema
    _waits: ServerWaits
    _transactions: Transactions | None = None
    _mismatch: str | None = None

    def __repr__(self) -> str:
        """Name the database and the tables, without user and password."""
        return f"<{type(self).__name__} of {self._schema.place}>"

    async def __aenter__(self) -> Self:
        """Open a connection and check the schema.

        Raises:
            StorageUnavailable: the server cannot be reached.
            SchemaMismatch: the schema is newer than this code. One missing or older is told at first use: `migrate` may come.
        """
        for each in (self._connections, self._readers):
            each.open()
        try:
            await self._check()
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close every connection."""
        await self._waits.close()
        if self._transactions is not None:
            await self._transactions.close()
            self._transactions = None
        await self._readers.close()
        await self._connections.close()

    async def migrate(self) -> None:
        """Bring the schema to this version, before or after entering; safe to repeat and to run from several processes at once.

        Raises:
            SchemaMismatch: the database is newer than this code.
        """
        if not self._connections.is_open:
            async with self:
                await self.migrate()
            return
        await self._connections.run(self._migrate)
        await self._check()

    async def schema_version(self) -> int:
        """Return the schema's version, before or after entering; 0 where there is none yet.

        Raises:
            SchemaMismatch: the database is newer than this code.
        """
        if not self._connections.is_open:
            async with self:
                return await self.schema_version()
        return await self._connections.run(self._find_version)

    async def migration_script(self) -> str:
        """Return the SQL that `migrate` would run now, for those who run it themselves; empty when there is nothing to do.

        Raises:
            SchemaMismatch: the database is newer than this code.
        """
        return self._schema.script(await self.schema_version())

    # ---- Scheduler --------------------------------------------------------------------------------------------------

    async def start(self, new: Sequence[NewExecution]) -> Sequence[Started]:
        """Open runs."""
        return await self._run(lambda talk, news: self._dialect.start(talk, new, news)) if new else ()

    async def beat(self, beat: WorkerBeat) -> BeatReply:
        """Register or renew a worker, and take over from the dead. May be called from a thread and loop of its own."""
        reply = await self._run(lambda talk, news: self._dialect.beat(talk, beat, news))
        if beat.leaving or not reply.alive:
            self._waits.forget(beat.worker)
        return reply

    async def commit(self, commits: Sequence[Commit]) -> Sequence[Committed]:
        """Write what workers have to say."""
        if not commits:
            return ()
        try:
            return await self._said(commits)
        except self._dialect.unstorable as error:
            if len(commits) == 1:
                return [self._dialect.refused(commits[0], error)]
        # Each by itself: one of them cannot be stored, and the others are not to suffer for it.
        return [answer for each in commits for answer in await self.commit([each])]

    async def deliver(self, events: Sequence[Event]) -> Sequence[Delivery]:
        """Put events into mailboxes."""
        return await self._run(lambda talk, news: self._dialect.deliver(talk, events, news)) if events else ()

    async def cancel(self, ids: Collection[str], run: int | None = None) -> Mapping[str, tuple[ExecutionStatus, bool]]:
        """End executions from outside: their last runs, or this run of each."""
        return await self._run(lambda talk, news: self._dialect.cancel(talk, ids, run, news)) if ids else {}

    # ---- Transactional ----------------------------------------------------------------------------------------------

    def bind(self, connection: Any) -> Bound:
        """Return what speaks within the transaction of a connection to the same database: SQLAlchemy's or the driver's own.

        Raises:
            TypeError: none of these.
        """
        self._check_usable()
        return self._transacting().bind(connection)

    @asynccontextmanager
    async def transaction(self, limit: timedelta) -> AsyncIterator[tuple[Any, Bound]]:
        """Open a transaction of its own: a SQLAlchemy `AsyncConnection`, and what speaks within it. It commits at the end.

        The server ends it when it is idle for longer than `limit`.

        Raises:
            StorageUnavailable: it could not be opened, or nobody knows whether it was committed.
        """
        self._check_usable()
        news = News()
        async with self._transacting().begin(limit, news) as both:
            yield both
        if news:
            await self._tell(news)

    # ---- Shardable --------------------------------------------------------------------------------------------------

    async def remember(self, name: str, value: str) -> str:
        """Keep a short text about the database as a whole, for good, and return what is kept: the first one wins."""
        self._check_usable()
        return await self._connections.run(lambda talk: self._dialect.remember(talk, name, value))

    async def recall(self, name: str) -> str | None:
        """Return what is kept under a name."""
        self._check_usable()
        return await self._connections.run(lambda talk: self._dialect.recall(talk, name))

    async def front(self, demand: Demand) -> Sequence[Front]:
        """Return what a claim would take at this moment, those due longest first, and take nothing."""
        self._check_usable()
        return await self._connections.run(lambda talk: self._dialect.front(talk, demand))

    # ---- what a dialect does in its own way -------------------------------------------------------------------------

    @abstractmethod
    async def _said(self, said: Sequence[Commit]) -> Sequence[Committed]:
        """Write commits, all or none."""

    @abstractmethod
    async def _work(self, operation: Callable[[K, News], Awaitable[T]]) -> T:
        """Run an operation, and tell whom it concerns."""

    @abstractmethod
    async def _tell(self, news: News) -> None:
        """Tell whom something concerns, here and elsewhere."""

    @abstractmethod
    async def _migrate(self, talk: K) -> None:
        """Bring the schema to this version."""

    @abstractmethod
    async def _find_version(self, talk: K) -> int:
        """Return the schema's version."""

    @abstractmethod
    async def _find_mismatch(self, talk: K) -> str | None:
        """Say what is wrong with the schema, if migrating can mend it."""

    @abstractmethod
    def _open_transactions(self) -> Transactions:
        """Return what opens transactions. To import SQLAlchemy takes longer than most commands: it is done here first."""

    # -----------------------------------------------------------------------------------------------------------------

    async def _run(self, operation: Callable[[K, News], Awaitable[T]]) -> T:
        try:
            return await self._work(operation)
        except self._dialect.unstorable as error:
            raise NotSupported(f"{self._dialect.name} cannot store this: {error}; nothing of the call was written") from error

    def _transacting(self) -> Transactions:
        if self._transactions is None:
            self._transactions = self._open_transactions()
        return self._transactions

    async def _check(self) -> None:
        self._mismatch = await self._connections.run(self._find_mismatch)

    def _check_usable(self) -> None:
        self._connections.check_open()
        if self._mismatch is not None:
            raise SchemaMismatch(self._mismatch)

    def _now(self) -> Instant | None:
        return None if self._clock is None else instant(self._clock.now())
