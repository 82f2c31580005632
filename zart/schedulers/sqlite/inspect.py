"""Reading executions from SQLite for people and programs: the Inspector."""

import sqlite3
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from attrs import define

from zart.clock import Clock, instant
from zart.records import Backlog, Execution, History, Page, Query
from zart.schedulers.sql import rows
from zart.schedulers.sqlite.reader import Reader
from zart.status import ExecutionStatus


@define(eq=False)
class Inspection:
    """Reads what is durable."""

    _reader: Reader
    _clock: Clock

    async def get(self, execution_id: str, run: int | None) -> Execution | None:
        """Return one run of an execution, the current one by default."""
        asked = {"execution_id": execution_id, "run": run, "now": instant(self._clock.now())}

        def read(connection: sqlite3.Connection) -> Any:
            return _ask(connection, _statements().get(pinned=run is not None), asked)

        found = await self._reader.call(read)
        return rows.execution(found[0]) if found else None

    async def history(self, execution_id: str, run: int | None) -> History:
        """Return the records and mail of a run; empty when there is none."""
        asked = {"execution_id": execution_id, "run": run}

        def read(connection: sqlite3.Connection) -> History:
            steps, mail = _statements().history(pinned=run is not None)
            connection.execute("BEGIN")  # one view of both
            try:
                return rows.history(_ask(connection, steps, asked), _ask(connection, mail, asked))
            finally:
                connection.execute("ROLLBACK")

        return await self._reader.call(read)

    async def find(self, query: Query) -> Page:
        """Return a page of executions; one after an unknown id is empty."""
        asked = {"now": instant(self._clock.now())}
        found = await self._reader.call(lambda connection: _ask(connection, _statements().find(query), asked))
        return Page([rows.execution(row) for row in found[: query.limit]], more=len(found) > query.limit)

    async def count(self, query: Query) -> Mapping[ExecutionStatus, int]:
        """Return how many executions match, by status; `limit`, `offset` and `after` do not apply."""
        return rows.counts(await self._reader.call(lambda connection: _ask(connection, _statements().count(query), {})))

    async def backlog(self) -> Backlog:
        """Return how much is due and claimed by nobody."""
        asked = {"now": instant(self._clock.now())}
        ((due, oldest),) = await self._reader.call(lambda connection: _ask(connection, _statements().backlog(), asked))
        return Backlog(due, max(0, oldest))


def _statements() -> Any:
    # Not before it is needed, and then in the lane: to import SQLAlchemy takes longer than most commands, and no worker reads.
    return import_module("zart.schedulers.sqlite.compiled")


def _ask(connection: sqlite3.Connection, statement: Any, asked: Mapping[str, object]) -> list[Any]:
    parameters = statement.parameters | asked
    try:
        return connection.execute(statement.sql, parameters).fetchall()
    except sqlite3.OperationalError as error:
        if "Could not decode to UTF-8" not in str(error):
            raise
    connection.text_factory = _text_or_bytes
    try:
        return connection.execute(statement.sql, parameters).fetchall()
    finally:
        connection.text_factory = str


def _text_or_bytes(stored: bytes) -> str | bytes:
    try:
        return stored.decode()
    except UnicodeDecodeError:
        return stored
