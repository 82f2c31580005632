"""Whether the code around has said something in a transaction that is still open.

That transaction keeps locks, and what the same code asks of the scheduler itself goes over another connection: if it needs one
of those locks it waits for its own caller, for ever as far as the server can tell. So it does not wait for long.
"""

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from attrs import frozen

from zart.errors import NotSupported

SAID: ContextVar["Said | None"] = ContextVar("zart_postgres_said", default=None)
"""Where the code around has said something last."""


@frozen(eq=False)
class Said:
    """A transaction on a server, and whether it is still open."""

    dsn: str
    is_open: Callable[[], bool]


def still_open(connection: Any) -> Callable[[], bool]:
    """Return what tells whether the transaction of a connection is open; one that was closed does not know."""
    return lambda: not connection.is_closed() and connection.is_in_transaction()


def is_inside(dsn: str) -> bool:
    """Whether the code around may hold locks on this server."""
    said = SAID.get()
    return said is not None and said.dsn == dsn and said.is_open()


def waits_for_itself(place: str) -> NotSupported:
    """Return what to raise when a lock was not to be had inside."""
    return NotSupported(
        f"{place} has locked what this call needs, and most probably in the transaction around the call, whose end it would"
        " wait for; say it within that transaction, with start_in(connection, …) or offer_event_in(connection, …), or after it"
    )
