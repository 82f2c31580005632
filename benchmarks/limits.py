"""What SQLite itself can do here: the measure of everything that is built on it."""

import sqlite3
import time
from pathlib import Path

_SCHEMA = """
CREATE TABLE steps (
    key INTEGER NOT NULL, seq INTEGER NOT NULL, name TEXT NOT NULL, kind TEXT NOT NULL, phase TEXT NOT NULL,
    ok INTEGER NOT NULL, attempts INTEGER NOT NULL, due_at INTEGER, mail INTEGER, started_at INTEGER, at INTEGER NOT NULL,
    payload TEXT, PRIMARY KEY (key, seq)
) WITHOUT ROWID
"""
_INSERT = "INSERT INTO steps VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_PAYLOAD = '{"number":1,"customer":"ada@example.com","paid":true}'
_NOW = 1_700_000_000_000_000


def insert_rate(folder: Path, rows: int, rows_per_commit: int) -> float:
    """Return rows a second of a loop that inserts rows like those of steps and commits: WAL, `synchronous=FULL`."""
    connection = sqlite3.connect(folder / f"limit-{rows_per_commit}.db", isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(_SCHEMA)
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
