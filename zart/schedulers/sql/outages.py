"""What has become of a transaction whose connection was lost, or that storage has refused, for whoever can say it again."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

from sqlalchemy.exc import DBAPIError

from zart.clock import Clock
from zart.errors import StorageUnavailable
from zart.schedulers.sql.again import Passing


def explained(
    error: BaseException, of_storage: Callable[[BaseException, str], Exception | None], place: str
) -> StorageUnavailable | None:
    """Return what to raise for an error inside a transaction; None when it is the data or the code that is at fault.

    `of_storage` says what the driver's errors mean. Whatever might pass is told too: to try again is for whoever can repeat the
    whole transaction.
    """
    fault = error if isinstance(error, Passing) else of_storage(error, place)
    if isinstance(fault, Passing):
        return StorageUnavailable(f"{fault}; repeat the whole transaction")
    return fault if isinstance(fault, StorageUnavailable) else None


@asynccontextmanager
async def told_from_an_outage(
    clock: Clock, limit: timedelta, reach: Callable[[], Awaitable[None]], unreachable: tuple[type[Exception], ...]
) -> AsyncIterator[None]:
    """Tell a transaction that the server has ended for its idleness from an outage, which is nobody's failure.

    `reach` connects to the server; it raises one of `unreachable` if it cannot.

    Raises:
        TimeoutError: it was idle for longer than `limit`: the server is there.
    """
    began = clock.monotonic()
    try:
        yield
    except (StorageUnavailable, DBAPIError) as error:  # the latter when the function itself was the next to speak
        is_lost = isinstance(error, StorageUnavailable) or error.connection_invalidated
        if not is_lost or clock.monotonic() - began < limit.total_seconds():
            raise
        try:
            await reach()
        except unreachable:
            raise error from None
        said = f"the transaction was idle for longer than {limit.total_seconds():g} s, and the server has ended it"
        raise TimeoutError(f"{said}; do what takes time in a step of its own") from error
