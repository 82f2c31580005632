"""The handler that the workers run: its input is a list of words, each of which says what to do next.

A word is `verb` or `verb:rest`; the whole word is the step's name.

- `step`: a step. `hold`: one that waits until its process is released, if its process holds. `both`: two steps side by side.
- `book`: a transaction with a row of the user's own. `mixed`: a step and a transaction side by side.
- `nap`: a short timer. `rest`: one that is long enough to park. `wait:event`: an event.
- `stop`: a step whose last act is to stop its own process, if that one stops. `die`: one that kills it.
- `raise:kind`: a step that raises an error of a database's. `wrong:kind`: a transaction with a statement that fails.
"""

import asyncio
import os
import signal
import sqlite3
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
from attrs import define, field
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection

from tests.chaos.ledger import Quill
from zart import RetryConfig, StorageUnavailable, TaskContext, TaskHandler

FAULTS: dict[str, Callable[[], Exception]] = {
    "deadlock": lambda: asyncpg.DeadlockDetectedError("deadlock detected"),
    "serialization": lambda: asyncpg.SerializationError("could not serialize access"),
    "gone": lambda: asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation"),
    "shutdown": lambda: asyncpg.AdminShutdownError("terminating connection due to administrator command"),
    "locked": lambda: sqlite3.OperationalError("database is locked"),
    "sqlalchemy": lambda: OperationalError("SELECT 1", {}, sqlite3.OperationalError("database is locked")),
    "reset": lambda: ConnectionResetError("connection reset by peer"),
    "storage": lambda: StorageUnavailable("some other storage, not this one's"),
}
STATEMENTS = {
    "zero": "SELECT 1 / 0",
    "nothing": "SELECT nothing FROM nowhere",
    "cancelled": "SET LOCAL statement_timeout TO '50ms'; SELECT pg_sleep(10)",
    "suicide": "SELECT pg_terminate_backend(pg_backend_pid())",
    "deadlock": "SET LOCAL deadlock_timeout TO '1s'; SELECT pg_advisory_xact_lock(1); SELECT pg_advisory_xact_lock(2)",
    "serialization": "DO $$ BEGIN RAISE 'so unlucky' USING ERRCODE = '40001'; END $$",
}
PATIENT = RetryConfig.fixed(50, "50ms")


@define(eq=False)
class Errand(TaskHandler[list[str], list[Any]]):
    """Does what it is told, and notes all of it."""

    name = "errand"
    quill: Quill
    bookings: str
    """The user's table."""
    holds: bool = False
    stops: bool = False
    patient: bool = False
    """Whether transactions are tried again when they fail."""
    released: asyncio.Event = field(factory=asyncio.Event)

    async def run(self, ctx: TaskContext, data: list[str]) -> list[Any]:
        execution_id = ctx.info.execution_id
        self.quill.note("body", execution_id)
        values: list[Any] = []
        try:
            for word in data:
                values += await self._do(ctx, execution_id, word)
        except asyncio.CancelledError:
            self.quill.note("cancelled", execution_id)
            raise
        self.quill.note("done", execution_id)
        return values

    async def _do(self, ctx: TaskContext, execution_id: str, word: str) -> list[Any]:
        verb, _, rest = word.partition(":")
        match verb:
            case "nap" | "rest":
                await ctx.sleep(word, "50ms" if verb == "nap" else "1.1s")
                return []
            case "wait":
                return [await ctx.wait_for_event(rest)]
            case "both" | "mixed":
                names = [f"{word}.a", f"{word}.b"] if verb == "both" else [f"{word}.plain", f"book.{word}"]
                return await asyncio.gather(*(self._saved(ctx, execution_id, name) for name in names))
            case "raise":
                return [await ctx.step(word, self._fail, execution_id, word, retry=RetryConfig.none())]
            case "wrong":
                return [await ctx.transaction(word, self._go_wrong, execution_id, word)]
            case _:
                return [await self._saved(ctx, execution_id, word)]

    async def _saved(self, ctx: TaskContext, execution_id: str, name: str) -> str:
        work: Awaitable[str]
        if name.startswith("book"):
            retry = PATIENT if self.patient else RetryConfig.none()
            work = ctx.transaction(name, self._book, execution_id, name, retry=retry)
        else:
            work = ctx.step(name, self._work, execution_id, name)
        value = await work
        self.quill.note("saved", execution_id, name, value)  # the awaiter goes on only when the outcome is durable
        return value

    async def _work(self, execution_id: str, name: str) -> str:
        value = self._begun(execution_id, name)
        if name.startswith("hold") and self.holds:
            await self.released.wait()
        self.quill.note("end", execution_id, name, value)
        if name.startswith("stop") and self.stops:
            os.kill(os.getpid(), signal.SIGSTOP)
        if name.startswith("die"):
            os.kill(os.getpid(), signal.SIGKILL)
        return value

    async def _book(self, connection: AsyncConnection, execution_id: str, name: str) -> str:
        value = self._begun(execution_id, name)
        insert = text(f"INSERT INTO {self.bookings} (id, step, value) VALUES (:id, :step, :value)")
        await connection.execute(insert, {"id": execution_id, "step": name, "value": value})
        if (name.startswith("book-hold") and self.holds) or (name.startswith("book-stop") and self.stops):
            await self.released.wait()
        self.quill.note("end", execution_id, name, value)
        return value

    async def _fail(self, execution_id: str, name: str) -> str:
        self._begun(execution_id, name)
        fault = FAULTS[name.partition(":")[2]]
        raise fault()

    async def _go_wrong(self, connection: AsyncConnection, execution_id: str, name: str) -> str:
        value = self._begun(execution_id, name)
        insert = text(f"INSERT INTO {self.bookings} (id, step, value) VALUES (:id, :step, :value)")
        await connection.execute(insert, {"id": execution_id, "step": name, "value": value})
        for each in STATEMENTS[name.partition(":")[2]].split("; "):
            await connection.exec_driver_sql(each)
        return value

    def _begun(self, execution_id: str, name: str) -> str:
        self.quill.note("begin", execution_id, name)
        return f"{name} by {os.getpid()}"
