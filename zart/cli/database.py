"""The database at hand: opened for one command, closed after it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from zart.cli.errors import Exit, Refused
from zart.cli.settings import masked
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
    except (ValueError, NotSupported) as error:
        hint = "give --database-url or ZART_DATABASE_URL, such as sqlite:///zart.db"
        raise Refused("bad_database_url", f"{url!r} cannot be used: {error}", hint, Exit.CONFIGURATION) from error


ELSEWHERE = "run the command in the folder where the database is, or give --database-url"


def is_absent(url: str) -> bool:
    """Whether the URL names a SQLite file that opening it would make.

    Raises:
        Refused: as for `storage_at`.
    """
    storage_at(url)
    parts = urlsplit(url)
    if parts.scheme.partition("+")[0] != "sqlite":
        return False
    file = Path(unquote(parts.path[1:]))
    return file.parent.is_dir() and not file.exists()


@asynccontextmanager
async def client_of(url: str, execution_id: str | None = None) -> AsyncIterator[DurableScheduler]:
    """Open a database and yield a client for it; who speaks of an execution that should be there makes no database.

    Raises:
        Refused: (3) the database's file is absent, and so is the execution.
    """
    if execution_id is not None and is_absent(url):
        message = f"no execution has the id {execution_id!r}: there is no database {masked(url)}"
        raise Refused("not_found", message, ELSEWHERE, Exit.NOT_FOUND)
    async with storage_at(url) as storage:
        yield DurableScheduler(storage)
