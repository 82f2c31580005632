"""Whether the code around holds a file's one write lock, so that it must not wait for it."""

from collections.abc import Callable
from contextvars import ContextVar

from attrs import frozen

from zart.errors import NotSupported


@frozen(eq=False)
class Holding:
    """A transaction that holds the write lock of a file, as long as it is open."""

    path: str
    connection: object
    """The driver's."""
    is_open: Callable[[], bool]


INSIDE: ContextVar[Holding | None] = ContextVar("zart_sqlite_transaction", default=None)
"""The transaction that the code around was last known to be in. A task that it leaves behind keeps this, and outlives it."""


def refuse_inside(path: str, connection: object = None) -> None:
    """Refuse an operation that would wait for the lock that its own caller holds, unless on another connection.

    Raises:
        NotSupported: the caller is inside a transaction on this file.
    """
    holding = INSIDE.get()
    if holding is not None and holding.path == path and holding.connection is not connection and holding.is_open():
        raise NotSupported(
            "inside a transaction on SQLite nobody else can write, this client included; use start_in(connection, …) or"
            " offer_event_in(connection, …) with the transaction's own connection, or do it in a step of its own"
        )
