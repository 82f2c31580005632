"""What the databases themselves can do here: the measure of everything that is built on them.

`python -m benchmarks.limits limit '{…course…}'` prints it for the database of the course.
"""

import asyncio
import json
import sqlite3
import sys
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg

from benchmarks.child import end_with_parent
from benchmarks.loop import fast_loop
from benchmarks.race import Course, Figures
from benchmarks.sizes import Sizes

_ROWS = 200
"""Rows of the multi-row INSERT."""
_STEPS = """
CREATE TABLE steps (
    key INTEGER NOT NULL, seq INTEGER NOT NULL, name TEXT NOT NULL, kind TEXT NOT NULL, phase TEXT NOT NULL,
    ok INTEGER NOT NULL, attempts INTEGER NOT NULL, due_at INTEGER, mail INTEGER, started_at INTEGER, at INTEGER NOT NULL,
    payload TEXT, PRIMARY KEY (key, seq)
) WITHOUT ROWID
"""
_INSERT = "INSERT INTO steps VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_PAYLOAD = '{"number":1,"customer":"ada@example.com","paid":true}'
_NOW = 1_700_000_000_000_000

_SERVER_STEPS = """
CREATE TABLE steps (
    execution uuid NOT NULL, seq int NOT NULL, name text NOT NULL, result jsonb, at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (execution, seq)
)
"""
_SERVER_INSERT = "INSERT INTO steps (execution, seq, name, result) VALUES ($1, $2, $3, $4)"
_SERVER_UNNEST = """
INSERT INTO steps (execution, seq, name, result) SELECT * FROM unnest($1::uuid[], $2::int[], $3::text[], $4::jsonb[])
"""
_RESULT = '{"ok": true, "n": 1}'


def insert_rate(folder: Path, rows: int, rows_per_commit: int) -> float:
    """Return rows a second of a loop that inserts rows like those of steps and commits: WAL, `synchronous=FULL`."""
    connection = sqlite3.connect(folder / f"limit-{rows_per_commit}.db", isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(_STEPS)
        began = time.perf_counter()
        for first in range(0, rows, rows_per_commit):
            batch = [
                (row // 5, row % 5, f"charge-{row % 5}", "step", "outcome", 1, 1, None, None, _NOW, _NOW, _PAYLOAD)
                for row in range(first, first + rows_per_commit)
            ]
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(_INSERT, batch)
            connection.execute("COMMIT")
        return rows / (time.perf_counter() - began)
    finally:
        connection.close()


def of_sqlite(folder: Path, sizes: Sizes) -> Figures:
    """Measure what SQLite can do."""
    return {
        "one": insert_rate(folder, sizes.limit_rows, 1),
        "hundred": insert_rate(folder, sizes.limit_rows * 10, 100),
    }


async def of_postgres(url: str, sizes: Sizes) -> Figures:
    """Measure what a PostgreSQL server can do for one connection, with asyncpg and prepared statements."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(_SERVER_STEPS)
        nothing = await connection.prepare("SELECT 1")
        insert = await connection.prepare(_SERVER_INSERT)
        unnest = await connection.prepare(_SERVER_UNNEST)

        async def one(number: int) -> None:
            await insert.fetch(_execution(number, 1), 1, "charge", _RESULT)

        async def many(number: int) -> None:
            executions = [_execution(number, each) for each in range(_ROWS)]
            await unnest.fetch(executions, [2] * _ROWS, ["charge"] * _ROWS, [_RESULT] * _ROWS)

        return {
            "trip": await _per_second(lambda _: nothing.fetchval(), sizes.limit_seconds / 4),
            "one": await _per_second(one, sizes.limit_seconds / 2),
            "unnest": _ROWS * await _per_second(many, sizes.limit_seconds),
        }
    finally:
        await connection.close()


def _execution(statement: int, row: int) -> uuid.UUID:
    """Return ids that ascend, as those of new executions do."""
    return uuid.UUID(int=(statement << 80) + (7 << 76) + (row << 64) + (8 << 60))


async def _per_second(call: Callable[[int], Awaitable[object]], seconds: float) -> float:
    number, began = 0, time.perf_counter()
    while (took := time.perf_counter() - began) < seconds:
        await call(number)
        number += 1
    return number / took


def main() -> None:
    """Measure the database of the course."""
    end_with_parent()
    course = Course.read(sys.argv[2])
    if course.on_postgres:
        with asyncio.Runner(loop_factory=fast_loop()) as runner:
            figures = runner.run(of_postgres(course.url, course.sizes))
    else:
        figures = of_sqlite(course.folder, course.sizes)
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
