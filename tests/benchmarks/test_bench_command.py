"""`zart bench` measures a database, says what that means, and leaves nothing behind; how fast anything is, nobody asks."""

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.servers.mariadb import MariaDbServer
from tests.servers.postgres import PostgresServer
from tests.servers.present import newest_postgres
from zart import DurableScheduler, connect
from zart.cli.app import run
from zart.cli.bench.ground import ground
from zart.cli.bench.meaning import bound, figures
from zart.cli.bench.measure import Measured
from zart.cli.errors import Exit
from zart.errors import StorageUnavailable
from zart.schedulers.sql.migrate import migrations

Bench = Callable[..., tuple[int, str, str]]
TITLES = (
    "round trip",
    "start, saved by itself",
    "step of an execution alone",
    "steps with 30 executions running",
    "start to result, one step",
    "start to result, 99 of 100",
)


@pytest.fixture
def bench(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Bench:
    for name in ("ZART_DATABASE_URL", "DATABASE_URL", "ZART_OUTPUT"):
        monkeypatch.delenv(name, raising=False)

    def call(url: str, *tokens: str) -> tuple[int, str, str]:
        left = run(["bench", "--database-url", url, *tokens])
        return (left, *capsys.readouterr())

    return call


def measured(out: str) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(out)
    assert tuple(each["what"] for each in record["figures"]) == TITLES
    assert all(each["value"] > 0 and each["unit"] and each["means"] for each in record["figures"])
    assert record["executions"] >= 30
    assert record["bound"].startswith(("Python bounds it", "waiting bounds it"))
    return record


def test_a_file_of_the_users_is_not_touched_and_nothing_is_left(bench: Bench, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'zart.db'}"

    async def use() -> None:
        async with connect(url) as storage:
            await DurableScheduler(storage).start("mine", "echo")

    asyncio.run(use())
    before = (tmp_path / "zart.db").read_bytes()
    left, out, _ = bench(url, "--seconds", "0.1", "--concurrency", "30", "--json")
    assert left == Exit.DONE
    assert measured(out)["database"] == url
    assert [each.name for each in tmp_path.iterdir()] == ["zart.db"]
    assert (tmp_path / "zart.db").read_bytes() == before


def test_no_database_is_made_for_the_user(bench: Bench, tmp_path: Path) -> None:
    left, out, _ = bench(f"sqlite:///{tmp_path / 'zart.db'}", "--seconds", "0.1", "--concurrency", "30")
    assert left == Exit.DONE
    assert measured(out)
    assert not list(tmp_path.iterdir())


def test_memory_can_be_measured_and_is_shown_as_tables(bench: Bench) -> None:
    left, out, _ = bench("memory://", "--seconds", "0.1", "--concurrency", "30", "-o", "table")
    assert left == Exit.DONE
    assert all(title in out for title in TITLES)


@pytest.mark.parametrize("tokens", [("--seconds", "0"), ("--seconds", "61"), ("--seconds", "nan"), ("--concurrency", "0")])
def test_what_makes_no_sense_is_a_usage_error(bench: Bench, tokens: tuple[str, str]) -> None:
    left, out, err = bench("memory://", *tokens)
    assert (left, out) == (Exit.USAGE, "")
    assert tokens[0] in json.loads(err)["message"]


def test_a_url_of_no_database_is_bad_configuration(bench: Bench) -> None:
    left, _, err = bench("oracle://somewhere")
    assert (left, json.loads(err)["code"]) == (Exit.CONFIGURATION, "bad_database_url")


async def fail(url: str, folder: Path) -> None:
    async with ground(url):
        assert [each.name.startswith("zart_bench_") for each in folder.glob("*.db")] == [True]  # noqa: ASYNC240
        raise LookupError


async def test_the_file_is_removed_when_measuring_fails(tmp_path: Path) -> None:
    with pytest.raises(LookupError):
        await fail(f"sqlite:///{tmp_path / 'zart.db'}", tmp_path)
    assert not list(tmp_path.iterdir())  # noqa: ASYNC240


@pytest.mark.timeout(180)
def test_on_a_server_it_works_in_a_schema_of_its_own_and_removes_it(bench: Bench) -> None:
    schemas = "SELECT nspname FROM pg_namespace ORDER BY 1"
    with PostgresServer(newest_postgres()) as server:
        before = server.run(schemas)
        left, out, err = bench(server.dsn, "--seconds", "0.1", "--concurrency", "30", "--json")
        assert left == Exit.DONE, err
        assert measured(out)
        assert server.run(schemas) == before
        assert server.run("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")[0][0] == 0


@pytest.mark.timeout(180)
async def test_a_server_that_goes_away_leaves_a_word_about_the_schema() -> None:
    with PostgresServer(newest_postgres()) as server:
        measuring = ground(server.dsn)
        await measuring.__aenter__()
        server.stop()
        with pytest.raises(StorageUnavailable, match=r'remove it with: DROP SCHEMA "zart_bench_\w+" CASCADE'):
            await measuring.__aexit__(None, None, None)


async def tables_of(server: MariaDbServer) -> list[str]:
    connection = await server.session()
    try:
        async with connection.cursor() as cursor:
            await cursor.execute("SHOW TABLES")
            return [name for (name,) in await cursor.fetchall()]
    finally:
        connection.close()


@pytest.mark.timeout(180)
def test_on_mariadb_it_works_in_tables_of_its_own_and_removes_them(bench: Bench, mariadb_server: MariaDbServer) -> None:
    before = asyncio.run(tables_of(mariadb_server))
    left, out, err = bench(mariadb_server.url, "--seconds", "0.1", "--concurrency", "30", "--json")
    assert left == Exit.DONE, err
    assert measured(out)
    assert asyncio.run(tables_of(mariadb_server)) == before


async def test_on_mariadb_nobody_elses_tables_are_used_while_it_measures(mariadb_server: MariaDbServer) -> None:
    before = set(await tables_of(mariadb_server))
    async with ground(mariadb_server.url):
        made = set(await tables_of(mariadb_server)) - before
        assert made
        assert all(name.startswith("zart_bench_") for name in made)
    assert set(await tables_of(mariadb_server)) == before


@pytest.mark.timeout(180)
async def test_a_mariadb_that_goes_away_leaves_a_word_about_the_tables() -> None:
    with MariaDbServer() as server:
        measuring = ground(server.url)
        await measuring.__aenter__()
        server.stop()
        with pytest.raises(StorageUnavailable, match="remove them with: DROP TABLE IF EXISTS ") as told:
            await measuring.__aexit__(None, None, None)
    named = set(re.findall(r"`zart_bench_[0-9a-f]+_(\w+)`", str(told.value)))
    made = {name for each in migrations("mysql") for name in re.findall(r"(?m)^CREATE TABLE .*\bzart_(\w+) \(", each.sql)}
    assert named == made >= {"executions", "steps", "schema", "settings"}


@pytest.mark.parametrize("scheme", ["postgresql", "mysql"])
def test_an_unreachable_server_is_unavailable(bench: Bench, scheme: str) -> None:
    left, out, err = bench(f"{scheme}://nobody:secret@127.0.0.1:1/nothing")
    assert (left, out) == (Exit.UNAVAILABLE, "")
    assert "secret" not in err


# ---- what the figures mean ----------------------------------------------------------------------------------------------


def some(**changes: float) -> Measured:
    values = {
        "trip": 0.0001,
        "start": 0.002,
        "latency": 0.005,
        "latency_99": 0.01,
        "alone": 0.003,
        "executions": 100,
        "rate": 5000.0,
        "processor": 0.5,
    }
    return Measured(**{**values, **changes})  # type: ignore[arg-type] # one of them is a count


def test_times_are_shown_in_milliseconds_and_commits_compared_with_one_at_a_time() -> None:
    shown = {each["what"]: each for each in figures(some(), 200)}
    assert (shown["round trip"]["value"], shown["round trip"]["unit"]) == (0.1, "ms")
    assert "500 a second" in shown["start, saved by itself"]["means"]
    assert "10.0 times" in shown["steps with 200 executions running"]["means"]


@pytest.mark.parametrize(
    ("processor", "says"), [(0.95, "Python bounds it"), (0.8, "Python bounds it"), (0.79, "waiting bounds it")]
)
def test_what_bounds_it_goes_by_the_share_of_a_processor(processor: float, says: str) -> None:
    assert bound(some(processor=processor)).startswith(says)
    assert f"{processor:.0%}" in bound(some(processor=processor))
