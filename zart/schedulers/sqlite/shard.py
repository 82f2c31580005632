"""What a SQLite file is asked besides when it is one of several shards."""

import sqlite3

from zart.clock import Instant
from zart.records import Demand, Front
from zart.schedulers.sqlite.claim import asked
from zart.schedulers.sqlite.queries import statements

_SQL = statements("shard")


def remember(connection: sqlite3.Connection, name: str, value: str) -> str:
    """Keep a text for good; the first one wins."""
    connection.execute(_SQL["remember"].sql, {"name": name, "value": value})
    return recall(connection, name) or value


def recall(connection: sqlite3.Connection, name: str) -> str | None:
    """Return what is kept under a name."""
    row = connection.execute(_SQL["recall"].sql, {"name": name}).fetchone()
    return None if row is None else str(row[0])


def front(connection: sqlite3.Connection, demand: Demand, now: Instant) -> list[Front]:
    """Return what a claim would take."""
    values = {**asked(demand), "now": now, "limit": max(demand.limit, 0)}
    return [(due_at, bool(suspect)) for due_at, suspect in connection.execute(_SQL["front"].sql, values).fetchall()]
