"""Whether the code around has said something in a transaction of PostgreSQL that is still open."""

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from zart.schedulers.sql.inside import Said

SAID: ContextVar[Said | None] = ContextVar("zart_postgres_said", default=None)
"""Where the code around has said something last: a DSN."""


def still_open(connection: Any) -> Callable[[], bool]:
    """Return what tells whether the transaction of a connection is open; one that was closed does not know."""
    return lambda: not connection.is_closed() and connection.is_in_transaction()


def is_inside(dsn: str) -> bool:
    """Whether the code around may hold locks on this server."""
    said = SAID.get()
    return said is not None and said.where == dsn and said.is_open()
