"""SQL is made of constants and bound values; the names in it are plain identifiers, and nothing depends on a search path."""

import ast
import re
from itertools import count, product
from pathlib import Path

import asyncpg
import pytest

from zart import PostgresScheduler
from zart.records import Demand, NewExecution, Query, WorkerBeat
from zart.schedulers.postgres.queries import Names

ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "zart").rglob("*.py"))
SHIPPED = sorted((ROOT / "zart").rglob("*.sql"))
RUNS = {"exec_driver_sql", "execute", "executemany", "executescript", "fetch", "fetchrow", "fetchval", "prepare", "text"}
"""What takes SQL as its first argument."""

ALLOWED = {
    "self.names.schema": "an identifier that Names has checked",
    "name": "an identifier that the command has made itself (zart bench)",
    "_LOCK_TIMEOUT": "a constant",
    "channel": "made by Names out of hexadecimal digits",
    "'PRAGMA synchronous = FULL;' + statements('commit')['prepare'].sql": "two constants",
}
"""What may stand in an f-string of SQL, and why."""

_numbers = count(1)


def made_up(tree: ast.AST) -> list[str]:
    """Return what is put into SQL by hand, as source."""
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not node.args or not isinstance(node.func, ast.Attribute | ast.Name):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
        if name not in RUNS:
            continue
        for part in ast.walk(node.args[0]):
            match part:
                case ast.FormattedValue():
                    found.append(ast.unparse(part.value))
                case ast.BinOp(op=ast.Add() | ast.Mod()):
                    found.append(ast.unparse(part))
                case ast.Call(func=ast.Attribute(attr="format" | "replace" | "join")):
                    found.append(ast.unparse(part))
    return [each for each in found if each not in ALLOWED]


def test_no_statement_is_put_together_by_hand():
    found = {str(path.relative_to(ROOT)): made_up(ast.parse(path.read_text())) for path in MODULES}
    assert {path: parts for path, parts in found.items() if parts} == {}


@pytest.mark.parametrize(
    "code",
    [
        'c.execute(f"DELETE FROM {table}")',
        'c.fetch("SELECT * FROM " + table)',
        'c.fetchval("SELECT %s" % value)',
        'c.execute("SELECT {}".format(value))',
        'text(f"{what}")',
    ],
)
def test_the_checker_sees_what_is_put_together(code):
    assert made_up(ast.parse(code))


HOSTILE = ('x"; DROP SCHEMA zart; --', "x'; --", "x y", "X", "é", "", "1x", "a.b", "x" * 64, "x\0", "pg temp", "zart_\n")


@pytest.mark.parametrize(("option", "name"), list(product(("schema", "prefix"), HOSTILE)))
def test_a_name_that_is_no_plain_identifier_reaches_no_server(option, name):
    with pytest.raises(ValueError, match=option):
        PostgresScheduler("postgresql://localhost/x", **{option: name})


def test_no_two_names_are_cut_to_one():
    """PostgreSQL cuts identifiers at 63 bytes without a word; two that differ only behind it would be one table."""
    longest = "x" * 40
    sql = "\n".join(path.read_text() for path in SHIPPED if "postgres" in path.parts or "postgres" in path.name)
    names = set(re.findall(r"\bzart_[a-z_]+", sql))
    made = {Names(prefix=longest).apply(name) for name in names}
    assert len(made) == len(names) > 10
    assert all(len(each.strip('"')) <= 63 for each in made)


async def test_values_are_bound_whatever_is_in_them(postgres_server):
    schema = f"injected_{next(_numbers)}"
    hostile = "'; DROP TABLE zart_executions; -- $1 %s :x \" \\"
    async with PostgresScheduler(postgres_server.dsn, schema=schema) as scheduler:
        await scheduler.migrate()
        await scheduler.start([NewExecution(hostile, hostile, hostile, hostile, hostile)])
        await scheduler.beat(WorkerBeat(hostile, 10**9, (hostile,), (hostile,), register=True, about=hostile))
        (claim,) = await scheduler.claim(Demand(hostile, (hostile,), {hostile: None}, 1))
        assert (claim.token.execution_id, claim.payload) == (hostile, hostile)
        assert [each.id for each in (await scheduler.find(Query(tasks=(hostile,)))).executions] == [hostile]


def test_what_is_shipped_makes_no_function_that_runs_with_others_rights():
    for path in SHIPPED:
        sql = re.sub(r"--[^\n]*", "", path.read_text())
        assert not re.search(
            r"\bSECURITY\s+DEFINER\b|\bCREATE\s+(OR\s+REPLACE\s+)?FUNCTION\b|\bSET\s+search_path\b", sql, re.IGNORECASE
        ), path


async def test_with_a_schema_no_search_path_leads_to_other_tables(postgres_server):
    connection = await asyncpg.connect(postgres_server.dsn)
    try:
        await connection.execute(
            "CREATE SCHEMA trap; CREATE TABLE trap.zart_executions (c integer); CREATE TABLE trap.zart_schema (c integer);"
            "ALTER ROLE zart SET search_path TO trap, public"
        )
        async with PostgresScheduler(postgres_server.dsn, schema=f"untrapped_{next(_numbers)}") as scheduler:
            await scheduler.migrate()
            assert await scheduler._connections.run(lambda talk: talk.connection.fetchval("SHOW search_path")) == "trap, public"
            assert await scheduler.get("nobody") is None
    finally:
        await connection.execute("ALTER ROLE zart RESET search_path; DROP SCHEMA trap CASCADE")
        await connection.close()
