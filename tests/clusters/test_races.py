"""The cheapest of the scenarios runs with all other tests: takeovers race with saves where transactions fail with 40001."""

import asyncpg

from tests.clusters.races import race
from tests.clusters.score import Score
from zart import connect


async def test_takeovers_race_with_saves_on_a_serializable_database(postgres_server):
    connection = await asyncpg.connect(postgres_server.dsn)
    await connection.execute("CREATE DATABASE serializable")
    await connection.execute("ALTER DATABASE serializable SET default_transaction_isolation TO 'serializable'")
    await connection.close()
    url = postgres_server.dsn.removesuffix("/postgres") + "/serializable"
    await connect(url).migrate()
    score = Score("races", ("takeover between two saves",))
    async with connect(url) as one, connect(url) as other:
        await race(one, other, score, rounds=2)
    assert score.is_good, score
    connection = await asyncpg.connect(url)
    rollbacks = "SELECT xact_rollback FROM pg_stat_database WHERE datname = 'serializable'"
    assert await connection.fetchval(rollbacks) > 0
    await connection.close()
