"""`zart migrate`, and its SQL in the hands of those who run it themselves."""

import asyncio
import sqlite3
from pathlib import Path

import asyncpg
import pytest

from tests.cli.conftest import Zart, on_both
from tests.servers.postgres import PostgresServer
from zart.cli.errors import Exit

TABLES = "SELECT type, name, sql FROM sqlite_schema ORDER BY type, name"


def ask(path: Path, sql: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def run_by_hand(path: Path, script: str) -> None:
    connection = sqlite3.connect(path)
    try:
        connection.executescript(script)
    finally:
        connection.close()


@on_both
def test_it_says_from_which_version_to_which(zart: Zart, url: str) -> None:
    first, second = zart("migrate").data, zart("migrate").data
    assert first == {"database": url, "from": 0, "to": 3}
    assert (second["from"], second["to"]) == (3, 3)


@on_both
def test_what_is_printed_changes_nothing_and_there_is_nothing_after_it_was_done(zart: Zart) -> None:
    for _ in range(2):
        printed = zart("migrate", "--print")
        assert (printed.exit, printed.err) == (Exit.DONE, "")
        assert printed.out.startswith("BEGIN")
        assert printed.out.endswith("COMMIT;\n")
    assert zart("migrate").data["from"] == 0
    left = zart("migrate", "--print")
    assert (left.exit, left.out) == (Exit.DONE, "")
    assert left.err.startswith("zart: there is nothing to run on ")


def test_the_printed_sql_makes_what_migrate_makes_on_sqlite(zart: Zart, tmp_path: Path) -> None:
    script = zart("migrate", "--print").out
    assert list(tmp_path.iterdir()) == [], "who only looks makes no database"
    run_by_hand(tmp_path / "by_hand.db", script)
    zart("migrate")
    assert ask(tmp_path / "by_hand.db", TABLES) == ask(tmp_path / "zart.db", TABLES)
    noted = ask(
        tmp_path / "by_hand.db", "SELECT version, name, abs(applied_at - strftime('%s') * 1000000) < 60e6 FROM zart_schema"
    )
    assert noted == [(1, "0001_initial.sql", 1), (2, "0002_settings.sql", 1), (3, "0003_trace.sql", 1)]
    assert zart("schedule", "echo", "--database-url", f"sqlite:///{tmp_path / 'by_hand.db'}").exit == Exit.DONE


@pytest.mark.parametrize("url", ["postgres"], indirect=True)
def test_the_printed_sql_is_all_that_a_worker_without_rights_needs(
    zart: Zart, url: str, postgres_server: PostgresServer
) -> None:
    schema = url.rpartition("=")[2]
    theirs = url.replace("zart@", f"{schema}@")
    postgres_server.run(f"CREATE ROLE {schema} LOGIN", f"REVOKE ALL ON SCHEMA public FROM {schema}")
    script = zart("migrate", "--print", "--database-url", theirs).out

    async def by_hand() -> None:
        connection = await asyncpg.connect(postgres_server.dsn)
        try:
            await connection.execute(script)
        finally:
            await connection.close()

    asyncio.run(by_hand())
    postgres_server.run(
        f"GRANT USAGE ON SCHEMA {schema} TO {schema}",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {schema}",
        f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO {schema}",
    )
    assert zart("schedule", "echo", "--id", "one", "--database-url", theirs).exit == Exit.DONE
    assert zart("status", "one", "--database-url", theirs).data["status"] == "pending"
    assert zart("migrate", "--database-url", theirs).data["to"] == 3, "where nothing is to be done, no right is needed"


def test_whoever_asks_for_json_gets_it(zart: Zart, tmp_path: Path) -> None:
    for options in (("--json",), ("-o", "jsonl")):
        data = zart("migrate", "--print", *options).data
        assert data["database"] == f"sqlite:///{tmp_path / 'zart.db'}"
        assert data["sql"] == zart("migrate", "--print").out


def test_memory_has_nothing_to_migrate(zart: Zart) -> None:
    answer = zart("migrate", "--print", "--database-url", "memory://")
    assert (answer.exit, answer.out, answer.err) == (Exit.DONE, "", "zart: there is nothing to run on memory://\n")
    assert zart("migrate", "--database-url", "memory://").data["to"] is None


def test_a_newer_database_is_no_reason_to_print_nothing(zart: Zart, tmp_path: Path) -> None:
    zart("migrate")
    run_by_hand(tmp_path / "zart.db", "INSERT INTO zart_schema VALUES (4, 'future', 0);")
    answer = zart("migrate", "--print")
    assert (answer.exit, answer.out, answer.problem["code"]) == (Exit.CONFIGURATION, "", "schema_mismatch")
