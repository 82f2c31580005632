"""A transaction that somebody's function works in, and that this function must not end.

Whoever ends it makes two of one: what it wrote before would stay, whatever becomes of the checkpoint. So what would end it is
refused before it happens, where it can be seen coming, and is found out afterwards where it cannot. Savepoints are allowed.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from attrs import define
from sqlalchemy import Connection, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import PendingRollbackError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from zart.errors import NonRetryable, NotSupported

_OPTION = "zart_guard"
_ENDS = re.compile(
    r"(?:\s|;|--[^\n]*\n|/\*.*?\*/)*+"
    r"(COMMIT|END|ABORT|PREPARE\s+TRANSACTION|ROLLBACK(?!(?:\s+(?:WORK|TRANSACTION))?\s+TO\b))\b",
    re.IGNORECASE | re.DOTALL,
)
_CUT_SHORT = (
    "a statement was cancelled inside the function, as asyncio.timeout() does, and that has ended the transaction: nothing"
    " of it is saved. Let the error pass, or let the database limit the statement (PostgreSQL: SET LOCAL statement_timeout)"
)


@define(eq=False)
class Guard:
    """Watches over one transaction, from when the function gets it until it is given back."""

    _is_in_transaction: Callable[[], bool]
    """Whether the driver's connection is in a transaction."""
    ended: NonRetryable | None = None
    """How the function has ended its transaction, or has tried to."""
    is_on: bool = True
    """Whether the function is at work."""
    is_cut_short: bool = False
    """Whether a statement was cancelled. SQLAlchemy drops the connection then, and what comes next gets riddles."""

    def refuse(self, how: str) -> NonRetryable:
        """Return the error that says so, for good: the next attempt would do the same again. The transaction is lost."""
        if self.ended is None:
            refused = NotSupported(
                f"the function ended the transaction ({how}); leave commit and rollback to Zart: it commits when the function"
                " returns, and rolls back when it raises. For a part of it use `async with connection.begin_nested()`"
            )
            self.ended = NonRetryable(refused)
        return self.ended

    def may_end(self, how: str) -> None:
        """Refuse what is about to end the transaction.

        Raises:
            NonRetryable: the function is at work.
        """
        if self.is_on:
            raise self.refuse(how)

    def may_run(self, sql: str) -> None:
        """Refuse a statement that would end the transaction, and any that comes after its end.

        Raises:
            NonRetryable: so it is.
        """
        if not self.is_on:
            return
        if (found := _ENDS.match(sql)) is not None:
            raise self.refuse(found[1].upper())
        self.check()

    def check(self) -> None:
        """Make sure that there still is a transaction.

        Raises:
            NonRetryable: there is none any more, or the function has tried to end it.
            NotSupported: the function has cancelled a statement, and has gone on.
        """
        if self.ended is not None:
            raise self.ended
        if self.is_cut_short:
            raise NotSupported(_CUT_SHORT)
        if not self._is_in_transaction():
            raise self.refuse("it, or an error that it went on after, has ended it")

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Say what SQLAlchemy means by its refusal to go on after a cancelled statement.

        Raises:
            NotSupported: it has refused that.
        """
        try:
            yield
        except PendingRollbackError as error:
            if not self.is_cut_short:
                raise
            raise NotSupported(_CUT_SHORT) from error

    def release(self) -> None:
        """Let the transaction be ended: the function is done with it."""
        self.is_on = False


def guard(connection: AsyncConnection, is_in_transaction: Callable[[], bool]) -> Guard:
    """Return what watches over the transaction that a connection of a watched engine has begun."""
    made = Guard(is_in_transaction)
    assert connection.sync_connection is not None  # noqa: S101 # it has begun
    connection.sync_connection.execution_options(**{_OPTION: made})
    return made


def watch(engine: AsyncEngine) -> None:
    """Have the guards of an engine's connections asked."""
    target = engine.sync_engine

    @event.listens_for(target, "commit")
    def commit(connection: Connection) -> None:
        if (found := _of(connection)) is not None:
            found.may_end("commit()")

    @event.listens_for(target, "rollback")
    def rollback(connection: Connection) -> None:
        if (found := _of(connection)) is not None:
            found.may_end("rollback() or close()")

    @event.listens_for(target, "before_cursor_execute")
    def execute(connection: Connection, _cursor: Any, statement: str, *_: Any) -> None:
        if (found := _of(connection)) is not None:
            found.may_run(statement)

    @event.listens_for(target, "handle_error")
    def fail(context: ExceptionContext) -> None:
        if context.connection is None or isinstance(context.original_exception, Exception):
            return
        if (found := _of(context.connection)) is not None:
            found.is_cut_short = True


def _of(connection: Connection) -> Guard | None:
    found: Guard | None = connection.get_execution_options().get(_OPTION)
    return found
