"""Reading executions from SQLite for people and programs: the Inspector."""

import sqlite3
from collections.abc import Mapping
from functools import cache
from typing import Any

from attrs import define
from sqlalchemy import Select
from sqlalchemy.dialects import sqlite

from zart.clock import Clock, instant
from zart.records import Execution, History, Page, Query
from zart.schedulers.sql import rows, statements
from zart.schedulers.sqlite.reader import Reader
from zart.status import ExecutionStatus

_DIALECT = sqlite.dialect(paramstyle="named")


def compiled(statement: Select[Any]) -> tuple[str, dict[str, Any]]:
    """Return a statement as text for sqlite3, and its parameters; those it wants from the caller are None."""
    text = statement.compile(dialect=_DIALECT, compile_kwargs={"render_postcompile": True})
    return str(text), dict(text.params)


@cache
def _get(*, pinned: bool) -> tuple[str, dict[str, Any]]:
    return compiled(statements.get(pinned=pinned))


@cache
def _history(*, pinned: bool) -> tuple[str, str, dict[str, Any]]:
    (steps, constants), (mail, more) = (compiled(each) for each in statements.history(pinned=pinned))
    return steps, mail, constants | more


@define(eq=False)
class Inspection:
    """Reads what is durable."""

    _reader: Reader
    _clock: Clock

    async def get(self, execution_id: str, run: int | None) -> Execution | None:
        """Return one run of an execution, the current one by default."""
        sql, constants = _get(pinned=run is not None)
        asked = constants | {"execution_id": execution_id, "run": run, "now": instant(self._clock.now())}
        row = await self._reader.call(lambda connection: connection.execute(sql, asked).fetchone())
        return None if row is None else rows.execution(row)

    async def history(self, execution_id: str, run: int | None) -> History:
        """Return the records and mail of a run; empty when there is none."""
        steps, mail, constants = _history(pinned=run is not None)
        asked = constants | {"execution_id": execution_id, "run": run}

        def read(connection: sqlite3.Connection) -> History:
            connection.execute("BEGIN")  # one view of both
            try:
                return History(
                    [rows.record(row) for row in connection.execute(steps, asked).fetchall()],
                    [rows.mail(row) for row in connection.execute(mail, asked).fetchall()],
                )
            finally:
                connection.execute("ROLLBACK")

        return await self._reader.call(read)

    async def find(self, query: Query) -> Page:
        """Return a page of executions; one after an unknown id is empty."""
        found = await self._all(statements.find(query), now=instant(self._clock.now()))
        return Page([rows.execution(row) for row in found[: query.limit]], more=len(found) > query.limit)

    async def count(self, query: Query) -> Mapping[ExecutionStatus, int]:
        """Return how many executions match, by status; `limit`, `offset` and `after` do not apply."""
        return {ExecutionStatus(status): number for status, number in await self._all(statements.count(query))}

    async def _all(self, statement: Select[Any], **asked: object) -> list[tuple[Any, ...]]:
        sql, parameters = compiled(statement)
        return await self._reader.call(lambda connection: connection.execute(sql, parameters | asked).fetchall())
