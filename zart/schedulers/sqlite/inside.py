"""Whether the code around holds a file's one write lock, so that it must not wait for it."""

from contextvars import ContextVar

from zart.errors import NotSupported

INSIDE: ContextVar[str | None] = ContextVar("zart_sqlite_transaction", default=None)
"""The file whose write lock the code around holds."""


def refuse_inside(path: str) -> None:
    """Refuse an operation that would wait for the lock that its own caller holds.

    Raises:
        NotSupported: the caller is inside a transaction on this file.
    """
    if INSIDE.get() == path:
        raise NotSupported(
            "inside ctx.transaction on SQLite nobody else can write, this client included; use start_in(connection, …) or"
            " offer_event_in(connection, …), or do it in a step of its own"
        )
