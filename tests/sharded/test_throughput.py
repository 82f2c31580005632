"""What shards bring where a server is the limit, and the simulation that carries it on."""

from pathlib import Path

import pytest

from benchmarks.scale import Size, simulate, table
from benchmarks.shards import Load, compare
from tests.servers.postgres import PostgresServer

PAGE = Path(__file__).parents[2] / "docs" / "explain" / "scale.md"


@pytest.fixture
def databases(postgres_server: PostgresServer):
    """Leave no databases behind."""
    yield postgres_server
    for shards, number in ((1, 0), (3, 0), (3, 1), (3, 2)):
        postgres_server.run(f"DROP DATABASE IF EXISTS shard_{shards}_{number} WITH (FORCE)")


async def test_three_slow_servers_do_more_than_one(databases):
    one, three = await compare(databases, Load(executions=240, workers=6, running=12, commit=0.02))
    # The figure is measured on a quiet machine (benchmarks/shards.py); here, that shards go on side by side.
    assert three.rate > 1.3 * one.rate
    assert three.commits < 2 * one.commits, "workers that prefer a shard do not part their commits"


def test_the_page_shows_what_the_simulation_says():
    assert table() in PAGE.read_text()


def test_in_the_simulation_too_a_full_server_is_the_limit():
    full = Size(400, work=0.05)
    one, three = simulate(full), simulate(Size(400, 3, work=0.05))
    assert one.server > 0.9 > three.server
    assert three.steps > 1.5 * one.steps
    assert one.save > 3 * three.save
