"""The MySQL scheduler: executions in one database of MySQL or MariaDB, shared by any number of processes and machines."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from datetime import timedelta
from importlib import import_module
from typing import TypeVar

from zart.checkup import Finding
from zart.clock import Clock, SystemClock
from zart.durations import Duration, to_timedelta
from zart.records import Claim, Commit, Committed, Demand
from zart.schedulers.mysql import beat as beating
from zart.schedulers.mysql import cancel as cancelling
from zart.schedulers.mysql import claim as claiming
from zart.schedulers.mysql import commit as committing
from zart.schedulers.mysql import deliver as delivering
from zart.schedulers.mysql import shard
from zart.schedulers.mysql import start as starting
from zart.schedulers.mysql.address import Address
from zart.schedulers.mysql.connections import Connections, Server
from zart.schedulers.mysql.faults import UNSTORABLE
from zart.schedulers.mysql.inspect import Inspection
from zart.schedulers.mysql.queries import Names
from zart.schedulers.mysql.schema import Schema
from zart.schedulers.mysql.talk import Talk
from zart.schedulers.mysql.wait import Waits
from zart.schedulers.sql.news import News
from zart.schedulers.sql.server_scheduler import Dialect, Engine, ServerScheduler, Transactions

T = TypeVar("T")


class MySqlScheduler(ServerScheduler[Talk]):
    """A scheduler in a database of MariaDB 10.6 or MySQL 8.0.1, or later.

    Use it with `async with`. `migrate()` gives the database its tables; until then every operation raises `SchemaMismatch`.
    `url_or_engine` is `mysql://user:password@host:port/database`, or a SQLAlchemy `AsyncEngine` whose URL is taken. The URL may
    give `unix_socket`, and for TLS `ssl_mode` (`disabled`, `required`, `verify_ca`, `verify_identity`), `ssl_ca`, `ssl_cert`
    and `ssl_key`; without `ssl_mode` a server on another machine must show a certificate for its name.

    What other processes do is found by looking, every 5 to 100 milliseconds while somebody waits. In a Galera cluster any node
    may be written to; what is due first may then be claimed up to five seconds out of order, and a step takes more round trips.

    Args:
        url_or_engine: where the database is.
        pool_size: how many connections an event loop may use for operations. Reading for people and programs takes up to two
            more.
        prefix: what the tables' names begin with.
        timeout: how long the server may take to answer; then the connection is dropped and `StorageUnavailable` raised.
        clock: storage's clock instead of the server's, for tests.

    Example:
        >>> async with MySqlScheduler("mysql://zart@localhost/app") as scheduler:  # doctest: +SKIP
        ...     await scheduler.migrate()
    """

    _dialect = Dialect(
        name="MySQL",
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
        url_or_engine: str | Engine | Address,
        *,
        pool_size: int = 8,
        prefix: str = "zart_",
        timeout: Duration = timedelta(seconds=10),
        clock: Clock | None = None,
    ) -> None:
        if pool_size < 1:
            raise ValueError(f"pool_size must be 1 or more, not {pool_size!r}")
        self._clock = clock
        names = Names(prefix)
        self._server = Server(_address(url_or_engine), to_timedelta(timeout, "timeout").total_seconds())
        self._schema = Schema(self._server, names)
        queries = names.queries()
        self._connections = Connections(self._server, queries, self._now, pool_size)
        self._readers = Connections(self._server, queries, self._now, 2)
        self._inspection = Inspection(self._readers, names)
        self._waits = Waits(SystemClock() if clock is None else clock, self._connections)
        self._pool_size = pool_size

    async def examine(self, held_for: timedelta = timedelta(minutes=1)) -> Sequence[Finding]:
        """Look at the server, the way to it and the tables, over a connection of its own, before or after entering."""
        module = import_module("zart.schedulers.mysql.checkup")  # as seldom used as it is
        found: Sequence[Finding] = await module.examine(self._server, self._schema, self._connections.queries, held_for)
        return found

    # ---- Scheduler --------------------------------------------------------------------------------------------------

    async def claim(self, demand: Demand) -> Sequence[Claim]:
        """Hand out due executions.

        Raises:
            WorkerNotAlive: the worker must register (again) first.
        """
        changes = self._waits.changes
        handed = await self._run(lambda talk, _: claiming.claim(talk, demand))
        self._waits.claimed(demand, handed, changes, demand.limit, handed.news)
        return handed.claims

    async def wait(self, interest: Demand | Collection[str], timeout: timedelta) -> None:
        """Return when something of interest may have happened: work for a demand, or the end of one of these executions.

        For a demand also when mail came for an execution that its worker holds, or one was taken from it. What another process
        does shows within a tenth of a second. With a `limit` of 0 due work is of no interest.
        """
        self._check_usable()
        await self._waits.wait(interest, timeout)

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
        await self._tell(news)
        return result

    async def _tell(self, news: News) -> None:
        """Wake those whom something concerns: at once those here, and with their next look those elsewhere."""
        if news or news.now is not None:
            self._waits.landed(news)
        if strangers := self._waits.strangers(news.workers):
            with suppress(Exception):  # a hint and nothing more: their next beat tells them too
                await self._connections.run(lambda talk: talk.ask(*talk.over("deliver.tell", strangers, "workers")))

    async def _migrate(self, talk: Talk) -> None:
        await self._schema.migrate(talk)

    async def _find_version(self, talk: Talk) -> int:
        return await self._schema.version(talk)

    async def _find_mismatch(self, talk: Talk) -> str | None:
        return await self._schema.check(talk)

    def _open_transactions(self) -> Transactions:
        module = import_module("zart.schedulers.mysql.transact")
        opened: Transactions = module.Transactions(self._server, self._connections, self._now, self._pool_size)
        return opened


def _address(given: str | Engine | Address) -> Address:
    if isinstance(given, Address):
        return given
    address = Address.of(given if isinstance(given, str) else str(given.url.render_as_string(hide_password=False)))
    if address.options:
        raise ValueError(f"give {', '.join(address.options)} as an argument of MySqlScheduler, or the URL to zart.connect")
    return address
