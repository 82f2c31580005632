"""Shards on the command line: several URLs where one could be, for every command."""

import subprocess
import sys
from contextlib import closing
from itertools import count, takewhile
from pathlib import Path
from sqlite3 import connect as open_file

import pytest

from tests.cli.conftest import APP, PATIENCE, ROOT, StartWorker, Zart, environment, until
from tests.servers.mariadb import MariaDbServer
from tests.servers.postgres import PostgresServer
from zart.cli.errors import Exit

_numbers = count(1)
IDS = [f"order-{number}" for number in range(8)]


@pytest.fixture
def url(tmp_path: Path) -> str:
    return ", ".join(f"sqlite:///{tmp_path / f'{number}.db'}" for number in range(3))


def in_file(path: Path) -> set[str]:
    with closing(open_file(path)) as connection:
        return {name for (name,) in connection.execute("SELECT id FROM zart_executions")}


def test_executions_are_parted_among_the_shards_and_every_command_finds_them(
    zart: Zart, tmp_path: Path, start_worker: StartWorker
) -> None:
    migrated = zart("migrate").data
    assert (migrated["from"], migrated["to"]) == (0, zart("migrate").data["to"])
    assert [each["from"] for each in migrated["shards"]] == [0, 0, 0]
    assert [each["database"] for each in migrated["shards"]] == [f"sqlite:///{tmp_path / f'{n}.db'}" for n in range(3)]
    start_worker()
    data = ("--data", '{"dataset":"x"}')
    for each in IDS:
        assert zart("schedule", "data-pipeline", "--id", each, *data).data["repeated"] is False
    assert zart("schedule", "data-pipeline", "--id", IDS[0], *data).data["repeated"] is True
    kept = [in_file(tmp_path / f"{number}.db") for number in range(3)]
    assert all(kept)
    assert sorted(name for each in kept for name in each) == IDS
    assert [row["execution_id"] for row in zart("list", "--order", "asc").data] == IDS
    page = zart("list", "--order", "asc", "--limit", "3", "--after", IDS[3]).data
    assert [row["execution_id"] for row in page] == IDS[4:7]
    for each in IDS[:-1]:
        until(lambda each=each: zart("status", each).data["step"] == "await-approval", "the approval")  # type: ignore[misc] # of now
        assert zart("event", each, "approval", "--data", '{"approved":true,"by":"ann"}').data["result"] == "delivered"
        assert zart("wait", each, "--timeout", "20").data["status"] == "completed"
    assert zart("cancel", IDS[-1]).data["status"] == "cancelled"
    assert len(zart("list", "--status", "completed").data) == len(IDS) - 1


def test_doctor_looks_at_each_shard_and_at_whether_they_belong_together(zart: Zart, tmp_path: Path, url: str) -> None:
    absent = zart("doctor")
    assert (absent.exit, len(absent.data)) == (Exit.UNAVAILABLE, 3)
    zart("migrate")
    well = zart("doctor")
    assert (well.exit, well.err) == (Exit.DONE, "")
    checks = [each["check"] for each in well.data]
    assert checks[-1] == "shards"
    assert {f"shard {number}: indexes" for number in range(3)} < set(checks)
    first, second, third = url.split(", ")
    swapped = zart("doctor", "--database-url", f"{second},{first},{third}")
    assert swapped.exit == Exit.CONFIGURATION
    assert [each["check"] for each in swapped.data if not each["ok"]] == ["shards"]
    with closing(open_file(tmp_path / "1.db")) as connection:
        connection.execute("DROP INDEX zart_executions_due")
    ill = zart("doctor")
    assert (ill.exit, [each["check"] for each in ill.data if not each["ok"]]) == (Exit.FAILED, ["shard 1: indexes"])


def test_another_order_is_refused_by_every_command_and_says_what_to_do(zart: Zart, url: str) -> None:
    zart("migrate")
    swapped = ",".join(reversed(url.split(", ")))
    for command in (("list",), ("schedule", "echo"), ("worker", "--app", APP), ("status", "x"), ("migrate",)):
        answer = zart(*command, "--database-url", swapped)
        assert (answer.exit, answer.problem["code"]) == (Exit.CONFIGURATION, "schema_mismatch"), command
        assert answer.problem["hint"]


def test_shards_without_their_places_want_migrate(zart: Zart, url: str) -> None:
    for each in url.split(", "):
        zart("migrate", "--database-url", each)
    answer = zart("list")
    assert (answer.exit, answer.problem["code"]) == (Exit.CONFIGURATION, "schema_mismatch")
    assert answer.problem["hint"] == "run `zart migrate` with the same URLs in the same order"
    unplaced = zart("doctor")
    assert (unplaced.exit, unplaced.data[-1]["hint"]) == (Exit.CONFIGURATION, answer.problem["hint"])
    zart("migrate")
    assert zart("list").data == []


def test_who_only_looks_makes_no_shard(zart: Zart, tmp_path: Path) -> None:
    assert zart("status", "x").exit == Exit.NOT_FOUND
    assert zart("list").data == []
    assert not list(tmp_path.iterdir())
    zart("migrate")
    (tmp_path / "1.db").unlink()
    for command in (("status", "x"), ("list",)):
        answer = zart(*command)
        assert (answer.exit, answer.problem["code"]) == (Exit.CONFIGURATION, "schema_mismatch")
        assert "1.db" in answer.problem["message"]
    assert not (tmp_path / "1.db").exists()


def test_who_names_one_shard_alone_is_told_that_there_are_others(zart: Zart, url: str) -> None:
    zart("migrate")
    second = url.split(", ")[1]
    hint = (
        f"zart: {second} is shard 1 of the shards 0 to 2, and this sees and serves no other; give all of them, in their order"
    )
    assert zart("schedule", "echo", "--id", "order-1", "--database-url", second).err.startswith(hint)
    for command in (("list",), ("status", "order-1"), ("wait", "order-1", "--timeout", "0s")):
        alone = zart(*command, "--database-url", second)
        assert alone.err.startswith(hint), command
        assert alone.data, command
    absent = zart("status", "nobody", "--database-url", second)
    assert (absent.exit, absent.problem["code"]) == (Exit.NOT_FOUND, "not_found")
    assert zart("list").err == ""


SERVING = [
    (("worker",), "zart: worker"),
    (("worker", "--health", "0"), "zart: worker"),
    (("serve", "--port", "0"), "zart: serving"),
]


@pytest.mark.parametrize(("tokens", "ready"), SERVING, ids=["worker", "watched worker", "server"])
def test_who_serves_one_shard_alone_is_told_that_there_are_others(
    zart: Zart, url: str, tokens: tuple[str, ...], ready: str
) -> None:
    zart("migrate")
    third = url.split(", ")[2]
    command = [sys.executable, "-m", "zart.cli", *tokens]
    with subprocess.Popen(command, env=environment(third), cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        lines = list(takewhile(lambda line: ready not in line, process.stderr))
        process.terminate()
        assert process.wait(PATIENCE) == Exit.DONE
    assert lines[-1].startswith(f"zart: {third} is shard 2 of the shards 0 to 2, and this sees and serves no other; ")


@pytest.mark.parametrize("kept", ["no map", '{"shard":0,"shards":1}'])
def test_a_database_that_is_no_shard_is_used_without_a_word(zart: Zart, tmp_path: Path, kept: str) -> None:
    alone = ("--database-url", f"sqlite:///{tmp_path / 'alone.db'}")
    assert zart("schedule", "echo", "--id", "order-1", "--app", APP, *alone).err == ""
    assert zart("list", *alone).err == ""
    with closing(open_file(tmp_path / "alone.db")) as connection, connection:
        connection.execute("INSERT INTO zart_settings (name, value) VALUES ('sharding', ?)", (kept,))
    assert zart("list", *alone).err == ""


def test_the_printed_sql_says_for_which_shard_each_part_is(zart: Zart, url: str, tmp_path: Path) -> None:
    printed = zart("migrate", "--print")
    assert [f"-- {each}\n" in printed.out for each in url.split(", ")] == [True, True, True]
    assert printed.out.count("COMMIT;") == 3
    assert not list(tmp_path.iterdir())
    zart("migrate")
    assert zart("migrate", "--print").out == ""


def test_a_wrong_shard_is_told_without_the_passwords_of_the_others(zart: Zart) -> None:
    answer = zart("list", "--database-url", "postgresql://ann:s3cret@h/d,mysql://bob:s3cret@h/d?shema=x")
    assert (answer.exit, answer.problem["code"]) == (Exit.CONFIGURATION, "bad_database_url")
    assert "s3cret" not in answer.err
    assert "postgresql://ann:***@h/d,mysql://bob:***@h/d?shema=x" in answer.problem["message"]


def test_bench_measures_one_database(zart: Zart) -> None:
    answer = zart("bench", "--seconds", "0.1")
    assert (answer.exit, answer.problem["code"]) == (Exit.CONFIGURATION, "bad_database_url")
    assert "one of the shards" in answer.problem["hint"]


def test_shards_may_be_of_several_kinds(
    zart: Zart,
    url: str,
    postgres_server: PostgresServer,
    mariadb_server: MariaDbServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    number = next(_numbers)
    servers = f"{postgres_server.dsn}?schema=shard_{number},{mariadb_server.url}?prefix=shard{number}_"
    monkeypatch.setenv("ZART_DATABASE_URL", f"{url.partition(',')[0]},{servers}")
    assert [each["from"] for each in zart("migrate").data["shards"]] == [0, 0, 0]
    for each in IDS:
        zart("schedule", "echo", "--id", each)
    assert [row["execution_id"] for row in zart("list", "--order", "asc").data] == IDS
    found = {each["check"]: each for each in zart("doctor").data}
    assert found["shards"]["ok"]
    assert found["shard 1: notify"]["ok"]
    assert found["shard 2: privileges"]["ok"]
    assert ["of echo" in found[f"shard {n}: workers"]["detail"] for n in range(3)] == [True, True, True]
