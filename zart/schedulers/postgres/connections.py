"""Connections to a server: a few for each event loop, each call with a deadline, and bounded patience with faults."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeAlias, TypeVar

import asyncpg
from attrs import define, field

from zart.clock import Instant
from zart.errors import NotSupported, StorageUnavailable
from zart.schedulers.postgres.faults import of_storage
from zart.schedulers.postgres.inside import is_inside
from zart.schedulers.sql.again import Patience
from zart.schedulers.sql.inside import waits_for_itself
from zart.schedulers.sql.pool import Pool, Pools

T = TypeVar("T")
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Row: TypeAlias = asyncpg.Record

# The plans that the statements are written for, whatever the statistics say of tables that were empty a moment ago: each row by
# its key, through an index. Without them the first plan made for an empty table could stay, and read all of a full one.
_PLANS = {
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_bitmapscan": "off",
    "enable_material": "off",
    "jit": "off",
}


@define
class Talk:
    """A connection in use: its statements by their names, what time it is if a test says so, and how long a call may take."""

    connection: Connection
    queries: Mapping[str, str]
    now: Instant | None
    """None: the server's time."""
    timeout: float | None

    async def rows(self, name: str, *arguments: Any) -> list[Row]:
        """Return the rows of a statement."""
        return await self.connection.fetch(self.queries[name], *arguments, timeout=self.timeout)

    async def row(self, name: str, *arguments: Any) -> Row | None:
        """Return the first row of a statement."""
        return await self.connection.fetchrow(self.queries[name], *arguments, timeout=self.timeout)

    async def value(self, name: str, *arguments: Any) -> Any:
        """Return the one value that a statement selects."""
        return await self.connection.fetchval(self.queries[name], *arguments, timeout=self.timeout)


@define(eq=False)
class Server:
    """How to reach a server. `pooler` says that a transaction pooler stands before it: nothing is kept between transactions."""

    dsn: str
    timeout: float
    pooler: bool = False
    application_name: str = "zart"

    @property
    def place(self) -> str:
        """Name the server for people, without user and password."""
        address = self.dsn.partition("://")[2].rpartition("@")[2].partition("?")[0]
        return f"the PostgreSQL database {address!r}"

    async def connect(self, *, name: str | None = None, plans: bool = True, durable: bool = True) -> Connection:
        """Open a connection.

        Raises:
            NotSupported: the server is too old, or its database is not in UTF-8.
        """
        connection: Connection = await asyncpg.connect(
            self.dsn,
            timeout=self.timeout,
            command_timeout=self.timeout,  # of a COMMIT too, which may wait for a standby
            statement_cache_size=0 if self.pooler else 200,
            server_settings=None if self.pooler else self._settings(name, plans=plans, durable=durable),
        )
        try:
            self._check(connection)
        except NotSupported:
            connection.terminate()
            raise
        return connection

    def _settings(self, name: str | None, *, plans: bool, durable: bool) -> dict[str, str]:
        return {
            "application_name": name or self.application_name,
            # Off may lose acknowledged work when the server crashes. Some set it so for a role or a database.
            "synchronous_commit": "on" if durable else "off",
            **self._limits(),
            **(_PLANS if plans else {}),
        }

    def _limits(self) -> dict[str, str]:
        whole = int(self.timeout * 1000)
        return {
            "statement_timeout": str(whole),
            "lock_timeout": str(whole // 2),
            "idle_in_transaction_session_timeout": str(whole),
        }

    @property
    def local_settings(self) -> str:
        """What a transaction begins with behind a pooler, where nothing can be set for a connection."""
        return "".join(
            f"SET LOCAL {name} TO '{value}';" for name, value in {"synchronous_commit": "on", **self._limits()}.items()
        )

    def _check(self, connection: Connection) -> None:
        version = connection.get_server_version()
        if version.major < 15:
            raise NotSupported(f"{self.place} is PostgreSQL {version.major}, Zart needs 15 or later; use a newer server")
        encoding = connection.get_settings().server_encoding
        if encoding not in {"UTF8", "UNICODE"}:
            raise NotSupported(f"{self.place} is encoded in {encoding}, Zart needs UTF8; make a database with ENCODING 'UTF8'")


@define(eq=False)
class Connections:
    """All connections of a scheduler, and how its operations are run on them."""

    server: Server
    queries: Mapping[str, str]
    now: Callable[[], Instant | None]
    size: int
    plans: bool = True
    """Whether plans are held to what the hot statements are written for."""
    _pools: Pools[Connection] = field(init=False)
    _is_open: bool = False

    def __attrs_post_init__(self) -> None:
        """Make no connection yet."""
        self._pools = Pools(
            lambda: Pool(
                self.server.place,
                self.size,
                lambda: self.server.connect(plans=self.plans),
                lambda connection: not connection.is_closed(),
                lambda connection: connection.terminate(),
            )
        )

    @property
    def is_open(self) -> bool:
        """Whether operations may be run."""
        return self._is_open

    def open(self) -> None:
        """Allow operations; connections are opened as they are needed."""
        self._is_open = True

    async def close(self) -> None:
        """Close everything, on all loops."""
        self._is_open = False
        await self._pools.close()

    async def run(self, work: Callable[[Talk], Awaitable[T]]) -> T:
        """Run an operation, and again after faults that pass: every operation is repeatable after a lost reply.

        Raises:
            StorageUnavailable: the server could not be reached, did not answer in time, or is not as it should be.
        """
        return await Patience(self.server.timeout).until_done(lambda: self._try(work))

    async def _try(self, work: Callable[[Talk], Awaitable[T]]) -> T:
        inside = is_inside(self.server.dsn)
        try:
            async with self._talk(inside=inside) as talk:
                return await work(talk)
        except Exception as error:
            if inside and isinstance(error, asyncpg.LockNotAvailableError):
                raise waits_for_itself(self.server.place) from error
            fault = of_storage(error, self.server.place)
            if fault is None:
                raise
            raise fault from error

    @asynccontextmanager
    async def _talk(self, *, inside: bool) -> AsyncIterator[Talk]:
        self.check_open()
        pool = self._pools.here()
        connection = await pool.take()
        sound = False
        try:
            talk = Talk(connection, self.queries, self.now(), self.server.timeout)
            if self.server.pooler or inside:
                async with connection.transaction(isolation="read_committed"):
                    if self.server.pooler:
                        await connection.execute(self.server.local_settings, timeout=self.server.timeout)
                    if inside:
                        await talk.rows("transact.hurry")
                    yield talk
            else:
                yield talk
            sound = True
        except (TimeoutError, OSError, asyncpg.InterfaceError, asyncpg.InternalClientError):
            raise
        except Exception:
            sound = True  # what the server answered, or we made of it, says nothing against the connection
            raise
        finally:
            whole = not connection.is_closed() and not connection.is_in_transaction()
            pool.give_back(connection, sound=sound and whole)

    def check_open(self) -> None:
        """Make sure that operations may be run.

        Raises:
            StorageUnavailable: not before `async with`, and not after it.
        """
        if not self._is_open:
            raise StorageUnavailable(f"the scheduler of {self.server.place} is not open; use it inside `async with`")
