"""Connections to a server: a few for each event loop, each call with a deadline, and bounded patience with faults.

A connection belongs to the loop it was opened on. The heartbeat calls from a loop of its own and so gets one of its own, which
waits for nobody else's. What was opened on a loop is closed when the scheduler is, or when that loop ends.
"""

import asyncio
import contextvars
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from threading import Lock
from typing import Any, TypeAlias, TypeVar

import asyncpg
from attrs import define, field

from zart.clock import Clock, Instant, SystemClock, pause
from zart.errors import NotSupported, StorageUnavailable
from zart.ids import Randomness, SystemRandomness
from zart.schedulers.postgres.faults import Passing, of_storage
from zart.schedulers.postgres.inside import is_inside, waits_for_itself

T = TypeVar("T")
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Row: TypeAlias = asyncpg.Record

_TRIES = 5
_FIRST_PAUSE = 0.05  # seconds, at most; doubled each time

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
class _Pool:
    """The connections of one loop. `keeper` is a task there; when it ends, they are gone.

    Whoever wants one takes one of `size` turns first, in the order of asking: a turn that is given back goes to who has waited
    longest, and nobody who comes later can take it before him.
    """

    place: str
    turns: int
    free: list[Connection] = field(factory=list)
    all: set[Connection] = field(factory=set)
    opening: "set[asyncio.Task[Connection]]" = field(factory=set)
    waiting: deque[asyncio.Future[None]] = field(factory=deque)
    keeper: "asyncio.Task[None] | None" = None
    closed: bool = False

    async def take(self, connect: Callable[[], Coroutine[Any, Any, Connection]]) -> Connection:
        """Wait for a turn; return a free connection, or a new one.

        Raises:
            StorageUnavailable: the pool was closed meanwhile.
        """
        await self._turn()
        try:
            while self.free:
                connection = self.free.pop()
                if not connection.is_closed():
                    return connection
                self.all.discard(connection)
            return await self._open(connect)
        except BaseException:
            self._next()
            raise

    def give_back(self, connection: Connection, *, sound: bool) -> None:
        """Let the next one have it; or have it closed, if it is not sound."""
        if sound and not self.closed and not connection.is_closed() and not connection.is_in_transaction():
            self.free.append(connection)
        else:
            self.all.discard(connection)
            connection.terminate()
        self._next()

    async def keep(self) -> None:
        """Close everything when the loop, or somebody, cancels this."""
        try:
            await asyncio.Event().wait()
        finally:
            self.closed = True
            opening = list(self.opening)
            for task in opening:
                task.cancel()
            while self.waiting:
                self._next()
            for connection in self.all:
                connection.terminate()
            self.all.clear()
            self.free.clear()
            if opening:
                await asyncio.wait(opening)

    async def _turn(self) -> None:
        if self.turns:
            self.turns -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._next()
            raise

    def _next(self) -> None:
        while self.waiting:
            turn = self.waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.turns += 1

    async def _open(self, connect: Callable[[], Coroutine[Any, Any, Connection]]) -> Connection:
        self._check_open()
        # In a task that can be ended without its caller: whoever closes does not wait for a server that may never answer. And
        # not in the caller's context: it belongs to nobody's body.
        task = asyncio.get_running_loop().create_task(connect(), context=contextvars.Context())
        self.opening.add(task)
        task.add_done_callback(self.opening.discard)
        try:
            await asyncio.wait([task])
            self._check_open()
        except BaseException:
            task.cancel()
            task.add_done_callback(_drop)
            raise
        connection = task.result()
        self.all.add(connection)
        return connection

    def _check_open(self) -> None:
        if self.closed:
            raise StorageUnavailable(f"the scheduler of {self.place} was closed meanwhile; use it inside `async with`")


def _drop(task: "asyncio.Task[Connection]") -> None:
    """Close what nobody waits for any more."""
    if not task.cancelled() and task.exception() is None:
        task.result().terminate()


@define(eq=False)
class Connections:
    """All connections of a scheduler, and how its operations are run on them."""

    server: Server
    queries: Mapping[str, str]
    now: Callable[[], Instant | None]
    size: int
    plans: bool = True
    """Whether plans are held to what the hot statements are written for."""
    _clock: Clock = field(factory=SystemClock)
    """How long to wait before another try: servers live in real time, whatever time a test says it is."""
    _randomness: Randomness = field(factory=SystemRandomness)
    _pools: dict[asyncio.AbstractEventLoop, _Pool] = field(factory=dict)
    _lock: Lock = field(factory=Lock)
    _is_open: bool = False

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
        here = asyncio.get_running_loop()
        with self._lock:
            pools, self._pools = self._pools, {}
        for loop, pool in pools.items():
            if pool.keeper is None:
                continue
            if loop is here:
                pool.keeper.cancel()
                await asyncio.wait([pool.keeper])
            elif not loop.is_closed():
                loop.call_soon_threadsafe(pool.keeper.cancel)

    async def run(self, work: Callable[[Talk], Awaitable[T]]) -> T:
        """Run an operation, and again after faults that pass: every operation is repeatable after a lost reply.

        Raises:
            StorageUnavailable: the server could not be reached, did not answer in time, or is not as it should be.
        """
        for number in range(_TRIES - 1):
            try:
                return await self._try(work)
            except Passing:
                await pause(self._clock, _FIRST_PAUSE * 2**number * self._randomness.random())
        try:
            return await self._try(work)
        except Passing as error:
            raise StorageUnavailable(f"{error}; look at the server and the network") from error

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
        pool = self._pool()
        connection = await pool.take(lambda: self.server.connect(plans=self.plans))
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
            pool.give_back(connection, sound=sound)

    def check_open(self) -> None:
        """Make sure that operations may be run.

        Raises:
            StorageUnavailable: not before `async with`, and not after it.
        """
        if not self._is_open:
            raise StorageUnavailable(f"the scheduler of {self.server.place} is not open; use it inside `async with`")

    def _pool(self) -> _Pool:
        self.check_open()
        loop = asyncio.get_running_loop()
        pool = self._pools.get(loop)
        if pool is None or pool.keeper is None or pool.keeper.done():
            pool = _Pool(self.server.place, self.size)
            # Not in the caller's context: it belongs to nobody's body.
            pool.keeper = loop.create_task(pool.keep(), context=contextvars.Context())
            with self._lock:
                self._pools = {each: kept for each, kept in self._pools.items() if not each.is_closed()} | {loop: pool}
        return pool
