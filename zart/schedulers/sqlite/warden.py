"""What the connection of `ctx.transaction` lets a function do, asked by SQLite itself in the driver's thread."""

import sqlite3
from typing import Any

from attrs import define
from sqlalchemy import Connection, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from zart.schedulers.sql.guard import Guard

OFTEN = 100_000
"""So many of SQLite's instructions, a millisecond or two, may pass before a statement learns that it is stopped."""
_OPTION = "zart_warden"
_LASTING = frozenset(
    {
        sqlite3.SQLITE_CREATE_TEMP_INDEX,
        sqlite3.SQLITE_CREATE_TEMP_TABLE,
        sqlite3.SQLITE_CREATE_TEMP_TRIGGER,
        sqlite3.SQLITE_CREATE_TEMP_VIEW,
        sqlite3.SQLITE_DROP_TEMP_TRIGGER,
        sqlite3.SQLITE_DROP_TEMP_VIEW,
        sqlite3.SQLITE_ATTACH,
        sqlite3.SQLITE_DETACH,
    }
)


@define(eq=False)
class Warden:
    """Of one connection: it is used for the next transaction only if nothing lasting was done to it."""

    guard: Guard | None = None
    """Of the transaction that it is in."""
    is_changed: bool = False
    is_stopped: bool = False

    def allow(self, action: int, first: str | None, second: str | None, *_: object) -> int:
        """Answer SQLite, which asks when it prepares a statement, whosoever it is."""
        if action == sqlite3.SQLITE_TRANSACTION and first != "BEGIN" and self.guard is not None and self.guard.is_on:
            self.guard.refuse(str(first))
            return sqlite3.SQLITE_DENY
        if action in _LASTING or (action == sqlite3.SQLITE_PRAGMA and second is not None):
            self.is_changed = True
        return sqlite3.SQLITE_OK

    def stop(self) -> None:
        """End the statement that is being carried out, and each that takes long from now on."""
        self.is_stopped = True

    async def post(self, driver: Any) -> None:
        """Be asked about all that is done over a driver's connection."""
        await driver.set_authorizer(self.allow)
        await driver.set_progress_handler(lambda: self.is_stopped, OFTEN)


def stop_with_its_caller(engine: AsyncEngine) -> None:
    """Have a statement end when whoever awaits it is cancelled: the connection can be closed only when it has ended."""

    @event.listens_for(engine.sync_engine, "handle_error")
    def stop(context: ExceptionContext) -> None:
        if context.connection is not None and not isinstance(context.original_exception, Exception):
            found: Warden | None = context.connection.get_execution_options().get(_OPTION)
            if found is not None:
                found.stop()


def assign(warden: Warden, connection: AsyncConnection, guard: Guard) -> None:
    """Have a connection's warden see to the transaction that it is in."""
    warden.guard = guard
    sync: Connection | None = connection.sync_connection
    assert sync is not None  # noqa: S101 # it has begun
    sync.execution_options(**{_OPTION: warden})
