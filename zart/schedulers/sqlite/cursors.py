"""The driver's connection of `ctx.transaction`: what a function has left unread ends with its transaction.

SQLite closes a connection only when its last statement is gone, and until then keeps its transaction open, the write lock with
it. A statement lives as long as its cursor. A function that was cancelled leaves cursors in tracebacks, which the garbage
collector may find late, or never in a process that can do nothing without that lock. And on a connection that goes on, a
statement that is not at its end keeps the state of the file that it reads: no later transaction on it could write.
"""

import sqlite3
from typing import Any
from weakref import WeakSet


class Connection(sqlite3.Connection):
    """A connection that takes its cursors with it."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._cursors: WeakSet[sqlite3.Cursor] = WeakSet()

    def cursor(self, *args: Any, **options: Any) -> Any:
        """Return a cursor, and keep in mind that there is one."""
        made = super().cursor(*args, **options)
        self._cursors.add(made)
        return made

    def execute(self, *args: Any) -> Any:
        """Carry out a statement with a cursor of its own; sqlite3 would not ask here for it."""
        return self.cursor().execute(*args)

    def executemany(self, *args: Any) -> Any:
        """Carry out a statement for each of several rows, with a cursor of its own."""
        return self.cursor().executemany(*args)

    def rollback(self) -> None:
        """End every statement and roll back; a pool does so after a commit, too."""
        self._end_statements()
        super().rollback()

    def close(self) -> None:
        """End every statement and the transaction, and close."""
        self._end_statements()
        super().close()

    def _end_statements(self) -> None:
        for each in list(self._cursors):
            each.close()
        self._cursors.clear()
