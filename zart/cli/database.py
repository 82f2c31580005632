"""The database at hand: opened for one command, closed after it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from zart.cli.errors import Exit, Refused
from zart.client import DurableScheduler
from zart.errors import NotSupported
from zart.scheduler import Storage
from zart.schedulers import connect


def storage_at(url: str) -> Storage:
    """Return the unopened storage of a database URL.

    Raises:
        Refused: (78) it is no URL of a database that Zart knows.
    """
    try:
        return connect(url)
    except (ValueError, NotSupported, ImportError) as error:
        hint = "give --database-url or ZART_DATABASE_URL, such as sqlite:///zart.db"
        raise Refused("bad_database_url", f"{url!r} cannot be used: {error}", hint, Exit.CONFIGURATION) from error


@asynccontextmanager
async def client_of(url: str) -> AsyncIterator[DurableScheduler]:
    """Open a database and yield a client for it."""
    async with storage_at(url) as storage:
        yield DurableScheduler(storage)
