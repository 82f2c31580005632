"""What the tests of both server backends stand on: one face for a place on either kind of server."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from itertools import count
from typing import Any

import pytest
from asyncmy.errors import OperationalError
from attrs import frozen

from tests.contract.conftest import MySqlPlace, Place
from tests.servers.proxy import Proxy
from zart.clock import SystemClock
from zart.schedulers.mysql import MySqlScheduler
from zart.schedulers.postgres import PostgresScheduler
from zart.testing import FakeClock

_numbers = count(1)


class MySqlProxy(Proxy):
    """Loses the reply to what commits."""

    _commits = False

    @property
    def dsn(self) -> str:
        assert self._server is not None
        return f"mysql://root@127.0.0.1:{self._server.sockets[0].getsockname()[1]}/zart"

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            self._commits = self._lose > 0 and b"COMMIT" in data
            writer.write(data)

    async def _bring_back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            if self.silent:
                continue
            if self._commits:
                self._commits = False
                self._lose -= 1
                self.lost += 1
                return
            writer.write(data)


@frozen
class Admin:
    """A plain connection of somebody's, who sees who else is connected, and may end it."""

    ask: Callable[..., Any]
    """Runs statements one by one, and returns the rows of the last."""
    _others: str
    _working: str
    _end: str

    async def others(self) -> set[int]:
        """Return the connections of schedulers."""
        return {number for (number,) in await self.ask(self._others)}

    async def working(self) -> set[int]:
        """Return those of them that operations are run on."""
        return {number for (number,) in await self.ask(self._working)}

    async def end_others(self) -> None:
        """End the connections of schedulers, as a server does that goes."""
        for each in await self.others():
            with suppress(OperationalError):  # it has gone by itself
                await self.ask(self._end.format(each))

    async def until(self, enough: Callable[[set[int]], object]) -> None:
        """Wait until the connections of schedulers are as somebody wants them."""
        began = SystemClock.monotonic()
        while not enough(found := await self.others()):
            assert SystemClock.monotonic() - began < 10, found


class PostgresGround:
    """A schema on a PostgreSQL server."""

    dialect = "postgres"
    elsewhere = "ALTER ROLE zart SET timezone TO 'America/Phoenix'", "ALTER ROLE zart RESET timezone"
    micros = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
    unreachable: Iterable[tuple[str, str]] = (
        ("postgresql://zart@127.0.0.1:1/x", "'127.0.0.1:1/x' .*cannot be reached"),
        ("postgresql://zart:secret@{place}/nowhere", "name another one"),
    )
    in_the_way = '"zart_steps" already exists; rename what is in the way'

    def __init__(self, server: Any, clock: FakeClock) -> None:
        self.place = Place(server, f"ground_{next(_numbers)}", clock)
        self.address: str = server.dsn.partition("@")[2].partition("/")[0]
        self.open = self.place.open

    def scheduler(self, **options: Any) -> PostgresScheduler:
        return self.place.scheduler(**options)

    def proxy(self) -> Proxy:
        return Proxy(self.place.server.port)

    def through(self, proxy: Proxy) -> Mapping[str, str]:
        """Return the option of a scheduler that goes through a proxy."""
        return {"dsn": proxy.dsn}

    @asynccontextmanager
    async def admin(self) -> AsyncIterator[Admin]:
        async with self.place.session() as session:

            async def ask(*statements: str) -> list[tuple[Any, ...]]:
                rows: list[Any] = []
                for each in statements:
                    rows = await session.fetch(each)
                return [tuple(row) for row in rows]

            ours = "SELECT pid FROM pg_stat_activity WHERE application_name"
            yield Admin(ask, f"{ours} LIKE 'zart%'", f"{ours} = 'zart'", "SELECT pg_terminate_backend({})")

    async def ends_all_while(self, admin: Admin, saying: list["asyncio.Task[None]"]) -> None:
        """End all connections several times, each time when there are some again."""
        for _ in range(3):
            await admin.until(bool)
            await admin.end_others()
        await asyncio.gather(*saying)

    async def run(self, script: str) -> None:
        """Run a script as a person does."""
        async with self.place.session() as session:
            await session.execute(script)

    async def put_in_the_way(self) -> None:
        """Make a table of a name that a migration gives."""
        await self.run(f"CREATE SCHEMA {self.place.schema}; CREATE TABLE {self.place.schema}.zart_steps (c integer)")

    def another_prefix(self) -> str:
        return "orders_"


class MySqlGround:
    """Tables on a MariaDB or MySQL server."""

    dialect = "mysql"
    elsewhere = "SET GLOBAL time_zone = '-07:00'", "SET GLOBAL time_zone = 'SYSTEM'"
    micros = "SELECT CAST(UNIX_TIMESTAMP(SYSDATE(6)) * 1000000 AS SIGNED)"
    unreachable: Iterable[tuple[str, str]] = (
        ("mysql://zart:secret@127.0.0.1:1/x", "'127.0.0.1:1/x' cannot be reached: .*look at the server and the network"),
        ("mysql://root:secret@{place}/zart", "look at the user and the password"),
        ("mysql://root@{place}/nowhere", "name another one"),
        ("mysql://nobody@{place}/zart", "look at the user and the password"),
    )

    def __init__(self, server: Any, clock: FakeClock) -> None:
        self.place = MySqlPlace(server, f"ground_{next(_numbers)}_", clock)
        self.address = f"127.0.0.1:{server.port}"
        self.in_the_way = f"it has {self.place.prefix}steps of its own; rename what is in the way"
        self.open = self.place.open

    def scheduler(self, **options: Any) -> MySqlScheduler:
        return self.place.scheduler(**options)

    def proxy(self) -> Proxy:
        return MySqlProxy(self.place.server.port)

    def through(self, proxy: Proxy) -> Mapping[str, str]:
        """Return the option of a scheduler that goes through a proxy."""
        return {"url": proxy.dsn}

    @asynccontextmanager
    async def admin(self) -> AsyncIterator[Admin]:
        async with self.place.session() as session:

            async def ask(*statements: str) -> list[tuple[Any, ...]]:
                return [tuple(row) for row in await session.ask(*statements)]

            others = "SELECT id FROM information_schema.processlist WHERE id <> CONNECTION_ID() AND user = 'root'"
            yield Admin(ask, others, others, "KILL {}")

    async def ends_all_while(self, admin: Admin, saying: list["asyncio.Task[None]"]) -> None:
        """End all connections again and again, until all is said."""
        while not all(each.done() for each in saying):
            await admin.end_others()
            await asyncio.wait(saying, timeout=0.005)
        await asyncio.gather(*saying)

    async def run(self, script: str) -> None:
        """Run a script as a person does."""
        async with self.place.session() as session:
            await session.ask(script)

    async def put_in_the_way(self) -> None:
        """Make a table of a name that a migration gives."""
        await self.run("CREATE TABLE zart_steps (c INT)")

    def another_prefix(self) -> str:
        return f"{self.place.prefix}orders_"


Ground = PostgresGround | MySqlGround


@pytest.fixture
def ground(request: pytest.FixtureRequest, clock: FakeClock) -> Ground:
    """A place on the server that a test is parametrized with."""
    kind = PostgresGround if request.param == "postgres_server" else MySqlGround
    return kind(request.getfixturevalue(request.param), clock)
