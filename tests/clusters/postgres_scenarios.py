"""What is tried on PostgreSQL: failover, a pooler that is killed, and a server that answers 40001."""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, STDOUT
from contextlib import ExitStack
from pathlib import Path

import asyncpg

from tests.clusters.load import ROOT, TABLE, loaded
from tests.clusters.score import Score
from tests.clusters.standby import Primary, Standby
from tests.servers.pgbouncer import PgBouncer
from tests.servers.postgres import DEBIAN, PostgresServer
from zart import connect

FAILOVER = "primary killed with -9 under load, standby promoted"
POOLER = "pooler killed with -9 under load"
SERIALIZATION = "serialization failure (40001)"
_SERIAL = "GENERATED ALWAYS AS IDENTITY"
_CONTRACT = str(Path(__file__).parent / "contracts.py")


async def failover() -> Score:
    """Two failovers under load."""
    score = Score("postgresql: synchronous standby, failover", (FAILOVER,))
    with ExitStack() as servers:
        first = await asyncio.to_thread(servers.enter_context, Primary())
        second = Standby(first)
        third = Standby(second)
        await _prepare(first.dsn)
        await asyncio.to_thread(servers.enter_context, second)
        await first.follow_me()
        hosts = ",".join(each.address for each in (first, second, third))
        url = f"postgresql://zart@{hosts}/postgres?target_session_attrs=read-write"
        async with loaded([url], 3) as load:
            await load.start(60)
            await load.busy()
            await asyncio.to_thread(first.kill)
            await second.promote()
            score.hits[FAILOVER] += 1
            await load.start(40)
            await load.ended()
            await asyncio.to_thread(servers.enter_context, third)
            await second.follow_me()
            await load.start(20)
            await load.busy()
            await asyncio.to_thread(second.kill)
            await third.promote()
            score.hits[FAILOVER] += 1
            await load.start(20)
            await load.count(score, lambda: _bookings(third.dsn))
    return score


async def pooler() -> Score:
    """Workers and clients behind PgBouncer in transaction mode, which is killed twice."""
    score = Score("postgresql: behind pgbouncer in transaction mode", (POOLER,))
    settings = {"pool_mode": "transaction", "default_pool_size": "10", "max_client_conn": "200"}
    with PostgresServer(DEBIAN) as server, Bouncer(server.port, settings) as bouncer:
        await _contract(score, "TestBehindPgBouncer", bouncer.dsn)
        await _prepare(server.dsn)
        async with loaded([f"{bouncer.dsn}?pooler=true"], 3) as load:
            await load.start(40)
            for _ in range(2):
                await load.busy()
                await asyncio.to_thread(bouncer.crash)
                score.hits[POOLER] += 1
                await load.start(30)
            await load.count(score, lambda: _bookings(server.dsn))
    return score


class Bouncer(PgBouncer):
    """One that can be killed, and comes back where it was."""

    def crash(self) -> None:
        """Kill it with -9, and start it again."""
        self.stop()
        self.start()


async def serializable(*, contract: bool = True, executions: int = 80) -> Score:
    """A server whose transactions are SERIALIZABLE, and fail with 40001 when they meet."""
    score = Score("postgresql: serializable", (SERIALIZATION,))
    with PostgresServer(DEBIAN, options={"log_line_prefix": "%e "}) as server:
        connection = await asyncpg.connect(server.dsn)
        await connection.execute("ALTER DATABASE postgres SET default_transaction_isolation TO 'serializable'")
        await connection.close()
        if contract:
            await _contract(score, "TestSerializable", server.dsn)
        await _prepare(server.dsn)
        async with loaded([server.dsn], 2) as load:
            await load.start(executions)
            await load.count(score, lambda: _bookings(server.dsn))
        log = (server._folder / "log").read_text()
        score.hits[SERIALIZATION] = sum(line.startswith("40001 ERROR") for line in log.splitlines())
    return score


async def _prepare(dsn: str) -> None:
    await connect(dsn).migrate()
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(TABLE.format(serial=_SERIAL))
    finally:
        await connection.close()


async def _bookings(dsn: str) -> list[tuple[str, str, str]]:
    connection = await asyncpg.connect(dsn)
    try:
        return [tuple(row) for row in await connection.fetch("SELECT id, step, value FROM bookings ORDER BY place")]
    finally:
        await connection.close()


async def _contract(score: Score, suite: str, dsn: str) -> None:
    """Play the contract there; what fails of it makes the scenario a bad one."""
    code = ["-m", "pytest", f"{_CONTRACT}::{suite}", "-q", "-p", "no:cacheprovider", "--tb=line", "--timeout", "60"]
    env = {**os.environ, "ZART_CLUSTER_DSN": dsn}
    playing = await asyncio.create_subprocess_exec(sys.executable, *code, env=env, cwd=ROOT, stdout=PIPE, stderr=STDOUT)
    told, _ = await playing.communicate()
    lines = told.decode().strip().splitlines()
    score.notes.append(f"contract: {lines[-1]}")
    if playing.returncode:
        score.failures += [line for line in lines if line.startswith("FAILED")] or lines[-20:]
