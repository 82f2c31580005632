"""Fills a storage with executions that have ended long ago, past the port: a million of them the honest way takes minutes."""

import sqlite3
from urllib.parse import urlsplit

import asyncpg

_OWN = {"id": "id || '-' || g.n", "start_key": "start_key || '-' || g.n"}
"""What differs from copy to copy, beside the key that the database gives."""


async def copies_of(url: str, execution_id: str, number: int) -> None:
    """Insert so many copies of an execution that has ended, and let the database look at what it holds."""
    if url.startswith("postgresql:"):
        await _in_postgres(url, execution_id, number)
    else:
        _in_sqlite(urlsplit(url).path[1:], execution_id, number)


async def _in_postgres(url: str, execution_id: str, number: int) -> None:
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch(
            "SELECT attname FROM pg_attribute WHERE attrelid = 'zart_executions'::regclass AND attnum > 0 AND NOT attisdropped"
        )
        statement = _statement([row["attname"] for row in rows], "generate_series(1, $2::bigint) AS g(n) WHERE id = $1")
        await connection.execute(statement, execution_id, number)
        await connection.execute("VACUUM ANALYZE")
        await connection.execute("CHECKPOINT")  # or the next measurement would share the disk with what this has left to write
    finally:
        await connection.close()


def _in_sqlite(path: str, execution_id: str, number: int) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        names = [row[1] for row in connection.execute("PRAGMA table_info(zart_executions)")]
        series = "WITH RECURSIVE g(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM g WHERE n < ?2)"
        connection.execute(f"{series} {_statement(names, 'g WHERE id = ?1')}", (execution_id, number))
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        connection.close()


def _statement(names: list[str], series: str) -> str:
    copied = [name for name in names if name != "key"]
    values = ", ".join(_OWN.get(name, name) for name in copied)
    return f"INSERT INTO zart_executions ({', '.join(copied)}) SELECT {values} FROM zart_executions, {series}"  # noqa: S608
