"""The PostgreSQL scheduler: executions in one database, shared by any number of processes and machines."""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import lru_cache
from importlib import import_module
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

import asyncpg

from zart.checkup import Finding
from zart.clock import Clock, Instant, SystemClock, instant
from zart.durations import Duration, to_timedelta
from zart.errors import NotSupported, SchemaMismatch
from zart.records import (
    Backlog,
    BeatReply,
    Claim,
    Commit,
    Committed,
    Delivery,
    Demand,
    Event,
    Execution,
    Front,
    History,
    NewExecution,
    Page,
    Query,
    Started,
    WorkerBeat,
)
from zart.scheduler import Bound
from zart.schedulers.postgres import beat as beating
from zart.schedulers.postgres import cancel as cancelling
from zart.schedulers.postgres import claim as claiming
from zart.schedulers.postgres import commit as committing
from zart.schedulers.postgres import deliver as delivering
from zart.schedulers.postgres import shard
from zart.schedulers.postgres import start as starting
from zart.schedulers.postgres.connections import Connections, Server, Talk
from zart.schedulers.postgres.faults import UNSTORABLE
from zart.schedulers.postgres.inspect import Inspection
from zart.schedulers.postgres.listen import Signals
from zart.schedulers.postgres.queries import Names
from zart.schedulers.postgres.schema import Schema
from zart.schedulers.postgres.verified import verified
from zart.schedulers.postgres.wait import Waits
from zart.schedulers.sql.again import Passing
from zart.schedulers.sql.news import News
from zart.status import ExecutionStatus

T = TypeVar("T")


class Engine(Protocol):
    """A SQLAlchemy `AsyncEngine`, as far as it is of interest."""

    @property
    def url(self) -> Any:
        """Where it connects to, as a SQLAlchemy `URL`."""
        ...


class PostgresScheduler:
    """A scheduler in a PostgreSQL database, version 15 or later.

    Use it with `async with`. `migrate()` gives the database its tables; until then every operation raises `SchemaMismatch`.
    `url_or_engine` is `postgresql://user:password@host:port/database`, or a SQLAlchemy `AsyncEngine` whose URL is taken.

    Args:
        url_or_engine: where the database is.
        pool_size: how many connections an event loop may use for operations. Reading for people and programs takes up to two
            more, telling and listening one each.
        schema: the schema that has, or gets, the tables; None: where the connection's search path finds them.
        prefix: what the tables' names begin with.
        listen: whether to hear of what other processes do by LISTEN. Without, they are found by looking from time to time.
        pooler: whether a transaction pooler such as PgBouncer stands before the server. Then nothing is prepared or kept
            between transactions, each operation is a transaction of several round trips, and there is no LISTEN.
        timeout: how long a call may take; then its connection is dropped and `StorageUnavailable` raised.
        clock: storage's clock instead of the server's, for tests.

    Example:
        >>> async with PostgresScheduler("postgresql://localhost/app") as scheduler:  # doctest: +SKIP
        ...     await scheduler.migrate()
    """

    def __init__(
        self,
        url_or_engine: str | Engine,
        *,
        pool_size: int = 8,
        schema: str | None = None,
        prefix: str = "zart_",
        listen: bool = True,
        pooler: bool = False,
        timeout: Duration = timedelta(seconds=10),
        clock: Clock | None = None,
    ) -> None:
        if pool_size < 1:
            raise ValueError(f"pool_size must be 1 or more, not {pool_size!r}")
        self._clock = clock
        names = Names(schema, prefix)
        self._server = Server(verified(_dsn(url_or_engine)), to_timedelta(timeout, "timeout").total_seconds(), pooler=pooler)
        self._schema = Schema(self._server, names)
        queries = names.queries()
        self._connections = Connections(self._server, queries, self._now, pool_size)
        self._readers = Connections(self._server, queries, self._now, 2, plans=False)
        self._inspection = Inspection(self._readers, self._connections, lru_cache(256)(names.apply))
        self._waits = Waits(self._connections, SystemClock() if clock is None else clock)
        self._signals = Signals(
            self._server,
            names.channel,
            queries["wait.others"],
            queries["wait.notify"],
            self._waits.landed,
            self._waits.look,
            listens=listen and not pooler,
        )
        self._transactions: Any = None
        self._pool_size = pool_size
        self._listens = listen
        self._mismatch: str | None = None

    def __repr__(self) -> str:
        """Name the database and the tables, without user and password."""
        return f"<PostgresScheduler of {self._schema.place}>"

    async def __aenter__(self) -> Self:
        """Open a connection and check the schema.

        Raises:
            StorageUnavailable: the server cannot be reached.
            SchemaMismatch: the schema is newer than this code. One missing or older is told at first use: `migrate` may come.
        """
        for each in (self._connections, self._readers):
            each.open()
        self._signals.open()
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
        await self._signals.close()
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

        async def work(talk: Talk) -> None:
            try:
                await self._schema.migrate(talk.connection, talk.now)
            except asyncpg.LockNotAvailableError as error:
                raise Passing(f"{self._schema.place} cannot be migrated while somebody uses the tables: {error}") from error

        await self._connections.run(work)
        await self._check()

    async def schema_version(self) -> int:
        """Return the schema's version, before or after entering; 0 where there is none yet.

        Raises:
            SchemaMismatch: the database is newer than this code.
        """
        if not self._connections.is_open:
            async with self:
                return await self.schema_version()
        return await self._connections.run(lambda talk: self._schema.version(talk.connection))

    async def migration_script(self) -> str:
        """Return the SQL that `migrate` would run now, for those who run it themselves; empty when there is nothing to do.

        Raises:
            SchemaMismatch: the database is newer than this code.
        """
        return self._schema.script(await self.schema_version())

    async def examine(self, held_for: timedelta = timedelta(minutes=1)) -> Sequence[Finding]:
        """Look at the server, the way to it and the tables, over connections of its own, before or after entering."""
        module = import_module("zart.schedulers.postgres.checkup")  # as seldom used as it is
        found: Sequence[Finding] = await module.examine(
            self._server, self._schema, self._connections.queries, listens=self._listens, held_for=held_for
        )
        return found

    # ---- Scheduler --------------------------------------------------------------------------------------------------

    async def start(self, new: Sequence[NewExecution]) -> Sequence[Started]:
        """Open runs."""
        return await self._run(lambda talk, news: starting.start(talk, new, news)) if new else ()

    async def beat(self, beat: WorkerBeat) -> BeatReply:
        """Register or renew a worker, and take over from the dead. May be called from a thread and loop of its own."""
        return await self._run(lambda talk, news: beating.beat(talk, beat, news))

    async def claim(self, demand: Demand) -> Sequence[Claim]:
        """Hand out due executions.

        Raises:
            WorkerNotAlive: the worker must register (again) first.
        """
        changes = self._waits.changes
        handed = await self._run(lambda talk, _: claiming.claim(talk, demand))
        self._waits.claimed(demand, handed, changes)
        return handed.claims

    async def commit(self, commits: Sequence[Commit]) -> Sequence[Committed]:
        """Write what workers have to say."""
        if not commits:
            return ()
        try:
            return await self._said(commits)
        except UNSTORABLE as error:
            if len(commits) == 1:
                return [committing.refused(commits[0], error)]
        # Each by itself: one of them cannot be stored, and the others are not to suffer for it.
        return [answer for each in commits for answer in await self.commit([each])]

    async def deliver(self, events: Sequence[Event]) -> Sequence[Delivery]:
        """Put events into mailboxes."""
        return await self._run(lambda talk, news: delivering.deliver(talk, events, news)) if events else ()

    async def cancel(self, ids: Collection[str], run: int | None = None) -> Mapping[str, tuple[ExecutionStatus, bool]]:
        """End executions from outside: their last runs, or this run of each."""
        return await self._run(lambda talk, news: cancelling.cancel(talk, ids, run, news)) if ids else {}

    async def wait(self, interest: Demand | Collection[str], timeout: timedelta) -> None:
        """Return when something of interest may have happened: work for a demand, or the end of one of these executions.

        For a demand also when mail came for an execution that its worker holds, or one was taken from it. What another process
        does shows by LISTEN. With a `limit` of 0 due work is of no interest.
        """
        self._check_usable()
        self._signals.listen()
        await self._waits.wait(interest, timeout)

    # ---- Transactional ----------------------------------------------------------------------------------------------

    def bind(self, connection: Any) -> Bound:
        """Return what speaks within the transaction of a connection to the same database: SQLAlchemy's or asyncpg's.

        Raises:
            TypeError: none of these.
        """
        self._check_usable()
        bound: Bound = self._transacting().bind(connection)
        return bound

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
            self._waits.landed(news)
            self._signals.tell(news)

    def _transacting(self) -> Any:
        if self._transactions is None:
            # Not before it is needed: to import SQLAlchemy takes longer than most commands.
            module = import_module("zart.schedulers.postgres.transact")
            self._transactions = module.Transactions(
                self._server, self._connections.queries, self._now, self._pool_size, self._signals.tell_within
            )
        return self._transactions

    # ---- Inspector --------------------------------------------------------------------------------------------------

    async def get(self, execution_id: str, run: int | None = None) -> Execution | None:
        """Return one run of an execution, the current one by default."""
        self._check_usable()
        return await self._inspection.get(execution_id, run)

    async def history(self, execution_id: str, run: int | None = None) -> History:
        """Return the records and mail of a run; empty when there is none."""
        self._check_usable()
        return await self._inspection.history(execution_id, run)

    async def view(self, execution_id: str, run: int | None = None) -> tuple[Execution, History] | None:
        """Return one run of an execution with its history, as of one moment."""
        self._check_usable()
        return await self._inspection.view(execution_id, run)

    async def find(self, query: Query) -> Page:
        """Return a page of executions; one after an unknown id is empty."""
        self._check_usable()
        return await self._inspection.find(query)

    async def count(self, query: Query) -> Mapping[ExecutionStatus, int]:
        """Return how many executions match, by status; `limit`, `offset` and `after` do not apply."""
        self._check_usable()
        return await self._inspection.count(query)

    async def backlog(self) -> Backlog:
        """Return how much is due and claimed by nobody."""
        self._check_usable()
        return await self._inspection.backlog()

    # ---- Shardable --------------------------------------------------------------------------------------------------

    async def remember(self, name: str, value: str) -> str:
        """Keep a short text about the database as a whole, for good, and return what is kept: the first one wins."""
        self._check_usable()
        return await self._connections.run(lambda talk: shard.remember(talk, name, value))

    async def recall(self, name: str) -> str | None:
        """Return what is kept under a name."""
        self._check_usable()
        return await self._connections.run(lambda talk: shard.recall(talk, name))

    async def front(self, demand: Demand) -> Sequence[Front]:
        """Return what a claim would take at this moment, those due longest first, and take nothing."""
        self._check_usable()
        return await self._connections.run(lambda talk: shard.front(talk, demand))

    # -----------------------------------------------------------------------------------------------------------------

    async def _run(self, operation: Callable[[Talk, News], Awaitable[T]]) -> T:
        try:
            return await self._work(operation)
        except UNSTORABLE as error:
            raise NotSupported(f"PostgreSQL cannot store this: {error}; nothing of the call was written") from error

    async def _said(self, said: Sequence[Commit]) -> Sequence[Committed]:
        return await self._work(lambda talk, news: committing.commit(talk, said, news))

    async def _work(self, operation: Callable[[Talk, News], Awaitable[T]]) -> T:
        """Run an operation, and tell whom it concerns."""
        self._check_usable()

        async def work(talk: Talk) -> tuple[T, News]:
            news = News()
            return await operation(talk, news), news

        result, news = await self._connections.run(work)
        if news or news.now is not None:
            self._waits.landed(news)
        if news:
            self._signals.tell(news)
        return result

    async def _check(self) -> None:
        self._mismatch = await self._connections.run(lambda talk: self._schema.check(talk.connection))

    def _check_usable(self) -> None:
        self._connections.check_open()
        if self._mismatch is not None:
            raise SchemaMismatch(self._mismatch)

    def _now(self) -> Instant | None:
        return None if self._clock is None else instant(self._clock.now())


def _dsn(url_or_engine: str | Engine) -> str:
    """Return the URL as the driver knows it: without the name of a driver in its scheme."""
    if not isinstance(url_or_engine, str):
        url_or_engine = str(url_or_engine.url.render_as_string(hide_password=False))
    scheme, colon, rest = url_or_engine.partition("://")
    if not colon or scheme.partition("+")[0].lower() not in {"postgresql", "postgres"}:
        # Without quoting it: there may be a password in it.
        raise ValueError("the URL names no PostgreSQL database; use postgresql://user:password@host:port/database")
    return f"postgresql://{rest}"
