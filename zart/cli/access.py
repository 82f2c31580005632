"""The way to the executions that a command is about: through their database, or through a server's HTTP API."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from importlib import import_module
from typing import Any, Protocol
from urllib.parse import urlsplit

from zart.cli.database import is_absent, storage_at, tell_of_others
from zart.cli.errors import Exit, Refused, usage
from zart.cli.settings import TOKEN_VARIABLE, Settings, masked
from zart.client import DurableScheduler
from zart.durations import Duration
from zart.records import Delivery
from zart.report import DurableExecutionStatus
from zart.status import ExecutionStatus
from zart.submission import Submission, submit

ELSEWHERE = "run the command in the folder where the database is, or give --database-url"


class Executions(Protocol):
    """What commands ask for. The clients of a database and of a server both have it, and raise the same."""

    async def submit(
        self,
        execution_id: str,
        task_name: str,
        data: Any,
        *,
        delay: timedelta | None = None,
        at: datetime | None = None,
        queue: str | None = None,
    ) -> Submission:
        """Start an execution, or find that the same one was started before."""
        ...

    async def status(self, execution_id: str, run: int | None = None) -> DurableExecutionStatus:
        """Return the record of the current run, or of this one."""
        ...

    async def wait(
        self, execution_id: str, timeout: Duration, poll_interval: Duration | None = None, *, run: int | None = None
    ) -> DurableExecutionStatus:
        """Return the record once the run has ended."""
        ...

    async def list_executions(
        self,
        *,
        status: ExecutionStatus | str | None = None,
        task_name: str | None = None,
        limit: int = 100,
        offset: int = 0,
        after: str | None = None,
        order: str = "desc",
        steps: bool = False,
    ) -> list[DurableExecutionStatus]:
        """Return a page of records."""
        ...

    async def offer_event(
        self, execution_id: str, event_name: str, payload: Any = None, *, event_id: str | None = None, run: int | None = None
    ) -> Delivery:
        """Put an event into the execution's mailbox."""
        ...

    async def cancel(self, execution_id: str, *, run: int | None = None) -> bool:
        """Cancel the execution; return whether this call did it."""
        ...


class Direct(DurableScheduler):
    """The executions of a database."""

    async def submit(
        self,
        execution_id: str,
        task_name: str,
        data: Any,
        *,
        delay: timedelta | None = None,
        at: datetime | None = None,
        queue: str | None = None,
    ) -> Submission:
        """Start an execution, or find that the same one was started before."""
        return await submit(self, execution_id, task_name, data, delay=delay, at=at, queue=queue)


@asynccontextmanager
async def executions(settings: Settings, execution_id: str | None = None) -> AsyncIterator[Executions]:
    """Open the way to the executions; who speaks of one that should be there makes no database.

    Raises:
        Refused: (3) the database's file is absent, and so is the execution; (78) the URL is none of a server or database; (2)
            both are given.
    """
    server = _server(settings)
    if server is not None:
        async with remote(server) as client:
            yield client
        return
    url = settings.database
    if execution_id is not None and is_absent(url):
        message = f"no execution has the id {execution_id!r}: there is no database {masked(url)}"
        raise Refused("not_found", message, ELSEWHERE, Exit.NOT_FOUND)
    async with storage_at(url) as storage:
        await tell_of_others(storage, url)
        yield Direct(storage)


def absent(settings: Settings) -> str | None:
    """Return the name of the database if it is one that opening it would make; None under a server.

    Raises:
        Refused: as for `executions`.
    """
    return masked(settings.database) if _server(settings) is None and is_absent(settings.database) else None


def _server(settings: Settings) -> str | None:
    with usage():
        return settings.server_url


def remote(url: str) -> Any:
    """Return the unopened client of a server, `zart.cli.remote.Remote`.

    Raises:
        Refused: (78) it is no URL of a server.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        hint = "give --server or ZART_SERVER, such as http://127.0.0.1:7700"
        raise Refused("bad_server_url", f"{masked(url)!r} is no URL of a server", hint, Exit.CONFIGURATION)
    # Not before it is needed: it wants an extra, and takes its time.
    return import_module("zart.cli.remote").Remote(url, os.environ.get(TOKEN_VARIABLE) or None)
