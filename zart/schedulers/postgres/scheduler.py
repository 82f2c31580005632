"""The PostgreSQL scheduler: executions in one database, shared by any number of processes and machines."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import timedelta
from functools import lru_cache
from importlib import import_module
from types import TracebackType
from typing import Self, TypeVar

import asyncpg

from zart.checkup import Finding
from zart.clock import Clock, SystemClock
from zart.durations import Duration, to_timedelta
from zart.records import Claim, Commit, Committed, Demand, Execution, History
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
from zart.schedulers.sql.server_scheduler import Dialect, Engine, ServerScheduler, Transactions

T = TypeVar("T")


class PostgresScheduler(ServerScheduler[Talk]):
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

    _dialect = Dialect(
        name="PostgreSQL",
        start=starting.start,
        beat=beating.beat,
        deliver=delivering.deliver,
        cancel=cancelling.cancel,
        remember=shard.remember,
        recall=shard.recall,
        front=shard.front,
        refused=committing.refused,
        unstorable=UNSTORABLE,
    )
    _connections: Connections
    _schema: Schema
    _waits: Waits
    _inspection: Inspection

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
        self._waits = Waits(SystemClock() if clock is None else clock, self._connections)
        self._signals = Signals(
            self._server,
            names.channel,
            queries["wait.others"],
            queries["wait.notify"],
            self._waits.landed,
            self._waits.look,
            listens=listen and not pooler,
        )
        self._pool_size = pool_size
        self._listens = listen

    async def __aenter__(self) -> Self:
        """Open a connection and check the schema.

        Raises:
            StorageUnavailable: the server cannot be reached.
            SchemaMismatch: the schema is newer than this code. One missing or older is told at first use: `migrate` may come.
        """
        self._signals.open()
        return await super().__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close every connection."""
        await self._signals.close()
        await super().__aexit__(kind, error, trace)

    async def examine(self, held_for: timedelta = timedelta(minutes=1)) -> Sequence[Finding]:
        """Look at the server, the way to it and the tables, over connections of its own, before or after entering."""
        module = import_module("zart.schedulers.postgres.checkup")  # as seldom used as it is
        found: Sequence[Finding] = await module.examine(
            self._server, self._schema, self._connections.queries, listens=self._listens, held_for=held_for
        )
        return found

    # ---- Scheduler --------------------------------------------------------------------------------------------------

    async def claim(self, demand: Demand) -> Sequence[Claim]:
        """Hand out due executions.

        Raises:
            WorkerNotAlive: the worker must register (again) first.
        """
        changes = self._waits.changes
        handed = await self._run(lambda talk, _: claiming.claim(talk, demand))
        self._waits.claimed(demand, handed, changes, demand.limit)
        return handed.claims

    async def wait(self, interest: Demand | Collection[str], timeout: timedelta) -> None:
        """Return when something of interest may have happened: work for a demand, or the end of one of these executions.

        For a demand also when mail came for an execution that its worker holds, or one was taken from it. What another process
        does shows by LISTEN. With a `limit` of 0 due work is of no interest.
        """
        self._check_usable()
        self._signals.listen()
        await self._waits.wait(interest, timeout)

    # ---- Viewable ---------------------------------------------------------------------------------------------------

    async def view(self, execution_id: str, run: int | None = None) -> tuple[Execution, History] | None:
        """Return one run of an execution with its history, as of one moment."""
        self._check_usable()
        return await self._inspection.view(execution_id, run)

    # -----------------------------------------------------------------------------------------------------------------

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

    async def _tell(self, news: News) -> None:
        self._waits.landed(news)
        self._signals.tell(news)

    async def _migrate(self, talk: Talk) -> None:
        try:
            await self._schema.migrate(talk.connection, talk.now)
        except asyncpg.LockNotAvailableError as error:
            raise Passing(f"{self._schema.place} cannot be migrated while somebody uses the tables: {error}") from error

    async def _find_version(self, talk: Talk) -> int:
        return await self._schema.version(talk.connection)

    async def _find_mismatch(self, talk: Talk) -> str | None:
        return await self._schema.check(talk.connection)

    def _open_transactions(self) -> Transactions:
        module = import_module("zart.schedulers.postgres.transact")
        opened: Transactions = module.Transactions(
            self._server, self._connections.queries, self._now, self._pool_size, self._signals.tell_within
        )
        return opened


def _dsn(url_or_engine: str | Engine) -> str:
    """Return the URL as the driver knows it: without the name of a driver in its scheme."""
    if not isinstance(url_or_engine, str):
        url_or_engine = str(url_or_engine.url.render_as_string(hide_password=False))
    scheme, colon, rest = url_or_engine.partition("://")
    if not colon or scheme.partition("+")[0].lower() not in {"postgresql", "postgres"}:
        # Without quoting it: there may be a password in it.
        raise ValueError("the URL names no PostgreSQL database; use postgresql://user:password@host:port/database")
    return f"postgresql://{rest}"
