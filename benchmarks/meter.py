"""What a PostgreSQL server did during a measurement: commits, bytes of WAL, processor time."""

import asyncio
from typing import Self
from urllib.parse import urlsplit

import asyncpg
from attrs import define, frozen

from benchmarks.child import family_time

_GAP = 0.05
_PATIENCE = 40
"""Looks, so two seconds."""
_CONNECTED = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1"
_THROW_OUT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1"


@frozen
class Done:
    """What the server did."""

    commits: int
    wal: int
    processor_time: float


@define
class Meter:
    """Reads a server's counters for one database, over a connection to another."""

    _connection: "asyncpg.Connection[asyncpg.Record]"
    _database: str
    _postmaster: int
    _before: Done

    @classmethod
    async def begin(cls, url: str) -> Self:
        """Start measuring; nobody may be connected to the database."""
        parts = urlsplit(url)
        connection = await asyncpg.connect(parts._replace(path="/postgres").geturl())
        told = await connection.fetchval("SELECT pg_read_file('postmaster.pid')")
        meter = cls(connection, parts.path[1:], int(told.split()[0]), Done(0, 0, 0.0))
        await meter._all_gone()
        meter._before = await meter._read()
        return meter

    async def work(self) -> Done:
        """Return the WAL and processor time so far; commits are told by `end` only."""
        now = await self._read()
        return Done(0, now.wal - self._before.wal, now.processor_time - self._before.processor_time)

    async def end(self) -> int:
        """Return the commits, once everybody has left: connections tell theirs late."""
        await self._all_gone()
        now = await self._read()
        await self._connection.close()
        return now.commits - self._before.commits

    async def _all_gone(self) -> None:
        """Wait until nobody is connected to the database; who keeps a pool open for no reason is thrown out."""
        looks = 0
        while await self._connection.fetchval(_CONNECTED, self._database):
            looks += 1
            if looks % _PATIENCE == 0:
                await self._connection.execute(_THROW_OUT, self._database)
            await asyncio.sleep(_GAP)

    async def _read(self) -> Done:
        commits = await self._connection.fetchval("SELECT xact_commit FROM pg_stat_database WHERE datname = $1", self._database)
        wal = await self._connection.fetchval("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint")
        return Done(commits, wal, family_time(self._postmaster))
