"""Connections to a server: how they are opened, and how operations are run on them, again after faults that pass."""

import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

import asyncmy
from asyncmy.connection import Connection
from asyncmy.constants.CLIENT import FOUND_ROWS
from attrs import define, field

from zart.clock import Clock, Instant, SystemClock, limited
from zart.errors import NotSupported, StorageUnavailable
from zart.schedulers.mysql.address import Address
from zart.schedulers.mysql.cluster import Cluster
from zart.schedulers.mysql.faults import LOCKED, is_sound_after, number_of, of_storage
from zart.schedulers.mysql.inside import is_inside
from zart.schedulers.mysql.queries import Statement
from zart.schedulers.mysql.talk import Talk
from zart.schedulers.sql.again import Patience
from zart.schedulers.sql.inside import waits_for_itself
from zart.schedulers.sql.pool import Pool, Pools

T = TypeVar("T")

logger: logging.Logger = logging.getLogger("zart.mysql")

_ENOUGH = 16 * 1024 * 1024  # bytes of a packet, until a server has said how many it takes
_OLDEST = {True: (10, 6), False: (8, 0, 1)}
"""The first versions of MariaDB and of MySQL with SKIP LOCKED."""
FLUSHED = frozenset({"1", "3"})
"""The values of `innodb_flush_log_at_trx_commit` with which what was acknowledged is on the disk; 3 is MariaDB's."""
_MODE = "STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"
_LOOK = (
    "SELECT VERSION(), @@max_allowed_packet, @@innodb_flush_log_at_trx_commit, IF(@@log_bin, @@sync_binlog, 1);"
    "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('wsrep_on', 'auto_increment_increment', 'auto_increment_offset')"
)
_SEE_ALL = "SET SESSION wsrep_sync_wait = 1"
_TRIES_IN_CLUSTER = 9
_HURRY = "SET SESSION innodb_lock_wait_timeout = 1"
_ONE_VIEW = (  # which READ COMMITTED does not have
    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
    "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
)


@define(eq=False)
class Server:
    """How to reach a server, and what it has said of itself when it was last reached."""

    address: Address
    timeout: float
    is_mariadb: bool = True
    largest: int = _ENOUGH
    """Bytes of a packet."""
    cluster: Cluster | None = None
    _has_warned: bool = False
    _clock: Clock = field(factory=SystemClock)

    @property
    def place(self) -> str:
        """Name the server for people, without user and password."""
        return self.address.place

    @property
    def settings(self) -> str:
        """What a session begins with; nothing of it is left to what the server, or somebody for a role, has set.

        A session that is silent for too long is ended by the server, so that a process that hangs in a transaction keeps its
        locks only for so long.
        """
        lock, idle = max(1, round(self.timeout / 2)), math.ceil(self.timeout) + 1
        return (
            f"SET SESSION sql_mode = '{_MODE}', sql_notes = 0, autocommit = 1, innodb_lock_wait_timeout = {lock},"
            f" wait_timeout = {idle}; SET NAMES utf8mb4; SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"
            f"{'' if self.cluster is None else '; ' + _SEE_ALL}"
        )

    def arguments(self) -> dict[str, Any]:
        """Return what the driver is told for a connection."""
        return {
            **self.address.arguments(),
            "charset": "utf8mb4",
            "autocommit": True,
            "client_flag": FOUND_ROWS,  # else an update that changes nothing would count as one that found nothing
            "program_name": "zart",
            "connect_timeout": math.ceil(self.timeout),
        }

    async def connect(self) -> Connection:
        """Open a connection.

        Raises:
            NotSupported: the server is too old.
        """
        async with limited(self._clock, self.timeout, f"{self.place} did not take the connection in time"):
            connection: Connection = await asyncmy.connect(**self.arguments())
            try:
                async with connection.cursor() as cursor:
                    await cursor.execute(self.settings)
                    await cursor.execute(_LOOK)
                    version, self.largest, flush, sync = (await cursor.fetchall())[0]
                    await cursor.nextset()
                    await self._join(cursor, {name.lower(): value for name, value in await cursor.fetchall()})
                self._check(version)
            except BaseException:
                connection.close()
                raise
        self._warn(flush=flush, sync=sync)
        return connection

    async def _join(self, cursor: Any, node: Mapping[str, str]) -> None:
        """Do as a node of a cluster does, if it is one."""
        if node.get("wsrep_on", "OFF").upper() != "ON":
            self.cluster = None
            return
        size = int(node["auto_increment_increment"])
        self.cluster = Cluster(size, (int(node["auto_increment_offset"]) - 1) % size)
        await cursor.execute(_SEE_ALL)

    def _check(self, version: str) -> None:
        self.is_mariadb = "mariadb" in version.lower()
        number = tuple(int(part) for part in version.partition("-")[0].split(".") if part.isdecimal())
        oldest = _OLDEST[self.is_mariadb]
        if number < oldest:
            name = "MariaDB" if self.is_mariadb else "MySQL"
            needed = ".".join(map(str, oldest))
            raise NotSupported(f"{self.place} is {name} {version}, Zart needs {needed} or later; use a newer server")

    def _warn(self, *, flush: int, sync: int) -> None:
        if (str(flush) not in FLUSHED or sync != 1) and not self._has_warned:
            self._has_warned = True
            logger.warning(
                "%s may lose acknowledged work when its machine crashes: innodb_flush_log_at_trx_commit is %s and sync_binlog"
                " is %s; set both to 1",
                self.place,
                flush,
                sync,
            )


@define(eq=False)
class Connections:
    """All connections of a scheduler, and how its operations are run on them."""

    server: Server
    queries: Mapping[str, Statement]
    now: Callable[[], Instant | None]
    size: int
    _clock: Clock = field(factory=SystemClock)
    _pools: Pools[Connection] = field(init=False)
    _since: dict[Connection, float] = field(factory=dict)
    """When each that is free was given back, in monotonic seconds."""
    _is_open: bool = False

    def __attrs_post_init__(self) -> None:
        """Make no connection yet."""
        self._pools = Pools(lambda: Pool(self.server.place, self.size, self.server.connect, self._is_usable, self._drop))

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

    async def run(self, work: Callable[[Talk], Awaitable[T]], *, one_view: bool = False) -> T:
        """Run an operation, and again after faults that pass: every operation is repeatable after a lost reply.

        With `one_view` all that it reads is of one moment.

        Raises:
            StorageUnavailable: the server could not be reached, did not answer in time, or is not as it should be.
        """
        # Between nodes a conflict is found with the commit, after all the work.
        tries = 5 if self.server.cluster is None else _TRIES_IN_CLUSTER
        return await Patience(self.server.timeout, tries).until_done(lambda: self._try(work, one_view=one_view))

    async def _try(self, work: Callable[[Talk], Awaitable[T]], *, one_view: bool) -> T:
        inside = is_inside(self.server.address)
        try:
            async with self._talk() as talk:
                if one_view:
                    talk.is_open = True
                    await talk.ask(*_ONE_VIEW)
                if not inside:
                    return await work(talk)
                await talk.ask(_HURRY)
                done = await work(talk)
                await talk.ask(self.server.settings)
                return done
        except Exception as error:
            if inside and number_of(error) == LOCKED:
                raise waits_for_itself(self.server.place) from error
            fault = of_storage(error, self.server.place)
            if fault is None:
                raise
            raise fault from error

    @asynccontextmanager
    async def _talk(self) -> AsyncIterator[Talk]:
        self.check_open()
        pool = self._pools.here()
        connection = await pool.take()
        server = self.server
        talk = Talk(connection, self.queries, self.now(), server.timeout, server.place, server.largest, server.cluster)
        sound = False
        try:
            yield talk
            sound = True
        except Exception as error:
            # What the server answered, or we made of it, says nothing against the connection; but it may be in a hurry still.
            sound = is_sound_after(error) and not is_inside(self.server.address)
            raise
        finally:
            if sound and talk.is_open:  # left half done; after an error it must never be gone on with
                sound = False
                with suppress(Exception):
                    await talk.roll_back()
                    sound = True
            self._since[connection] = self._clock.monotonic()
            pool.give_back(connection, sound=sound)

    def check_open(self) -> None:
        """Make sure that operations may be run.

        Raises:
            StorageUnavailable: not before `async with`, and not after it.
        """
        if not self._is_open:
            raise StorageUnavailable(f"the scheduler of {self.server.place} is not open; use it inside `async with`")

    def _is_usable(self, connection: Connection) -> bool:
        """Whether the server will not have ended it for its silence."""
        return connection.connected and self._clock.monotonic() - self._since.get(connection, 0.0) < self.server.timeout

    def _drop(self, connection: Connection) -> None:
        self._since.pop(connection, None)
        with suppress(RuntimeError):  # its loop was closed, and so is it
            connection.close()
