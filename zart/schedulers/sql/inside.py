"""Code that has said something in a transaction that is still open, and now asks the scheduler itself.

That transaction keeps locks, and what the same code asks of the scheduler goes over another connection: if it needs one of
those locks it waits for its own caller, for ever as far as the server can tell. So it does not wait for long.
"""

from collections.abc import Callable

from attrs import frozen

from zart.errors import NotSupported


@frozen(eq=False)
class Said:
    """A transaction in a database on a server, and whether it is still open."""

    where: object
    is_open: Callable[[], bool]


def waits_for_itself(place: str) -> NotSupported:
    """Return what to raise when a lock was not to be had inside."""
    return NotSupported(
        f"{place} has locked what this call needs, and most probably in the transaction around the call, whose end it would"
        " wait for; say it within that transaction, with start_in(connection, …) or offer_event_in(connection, …), or after it"
    )
