"""Reading executions from PostgreSQL for people and programs: the Inspector."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any

from attrs import define, fields

from zart.records import Backlog, Execution, History, Page, Query, StepRecord
from zart.schedulers.postgres.connections import Connections, Row, Talk
from zart.schedulers.sql import rows
from zart.status import ExecutionStatus

_FIELDS = [each.name for each in fields(Execution)]
_PAYLOADS = [_FIELDS.index(name) for name in ("payload", "result", "reason")]
_STEP_PAYLOAD = [[each.name for each in fields(StepRecord)].index("payload")]


@define(eq=False)
class Inspection:
    """Reads what is durable."""

    _connections: Connections
    """Their plans go by what the tables hold."""
    _planned: Connections
    """Theirs are made once: for the statement that programs wait by."""
    _named: Callable[[str], str]
    """Puts the tables' names in, and remembers."""

    async def get(self, execution_id: str, run: int | None) -> Execution | None:
        """Return one run of an execution, the current one by default."""
        statement, asked = _statements().get(pinned=run is not None), {"execution_id": execution_id, "run": run}
        found = await self._planned.run(lambda talk: self._ask(talk, statement, asked))
        return _executions(found)[0] if found else None

    async def history(self, execution_id: str, run: int | None) -> History:
        """Return the records and mail of a run; empty when there is none."""
        steps, mail = await self._together(_statements().history(pinned=run is not None), execution_id, run)
        return _history(steps, mail)

    async def view(self, execution_id: str, run: int | None) -> tuple[Execution, History] | None:
        """Return one run of an execution with its history."""
        found, steps, mail = await self._together(_statements().view(pinned=run is not None), execution_id, run)
        return (_executions(found)[0], _history(steps, mail)) if found else None

    async def find(self, query: Query) -> Page:
        """Return a page of executions; one after an unknown id is empty."""
        found = await self._all(_statements().find(query), _statements().page_of(query))
        return Page(_executions(found[: query.limit]), more=len(found) > query.limit)

    async def count(self, query: Query) -> Mapping[ExecutionStatus, int]:
        """Return how many executions match, by status; `limit`, `offset` and `after` do not apply."""
        return rows.counts((status, number) for status, number in await self._all(_statements().count(query), {}))

    async def backlog(self) -> Backlog:
        """Return how much is due and claimed by nobody."""
        ((due, oldest),) = await self._all(_statements().backlog(), {})
        return Backlog(due, max(0, oldest))

    async def _together(self, statement: Any, execution_id: str, run: int | None) -> list[list[Row]]:
        """Return the rows of each part."""
        asked = {"execution_id": execution_id, "run": run}
        parts: list[list[Row]] = [[] for _ in statement.readers]
        for row in await self._planned.run(lambda talk: self._ask(talk, statement, asked)):
            parts[row[0]].append(statement.readers[row[0]](row))
        return parts

    async def _all(self, statement: Any, asked: Mapping[str, Any]) -> list[Row]:
        return await self._connections.run(lambda talk: self._ask(talk, statement, asked))

    async def _ask(self, talk: Talk, statement: Any, asked: Mapping[str, Any]) -> list[Row]:
        arguments = statement.arguments({"now": talk.now, **asked})
        return await talk.connection.fetch(self._named(statement.sql), *arguments, timeout=talk.timeout)


def _statements() -> Any:
    # Not before it is needed: to import SQLAlchemy takes longer than most commands, and no worker reads.
    return import_module("zart.schedulers.postgres.compiled")


def _history(found: Iterable[Row], letters: Iterable[Row]) -> History:
    return rows.history([_decoded(row, _STEP_PAYLOAD) for row in found], map(list, letters))


def _executions(found: Iterable[Row]) -> list[Execution]:
    return [rows.execution(_decoded(row, _PAYLOADS)) for row in found]


def _decoded(row: Row, places: Sequence[int]) -> list[Any]:
    """Return the columns of a row, with texts for bytes; those that are no UTF-8 are left as they are."""
    columns = list(row)
    for place in places:
        if columns[place] is not None:
            with suppress(UnicodeDecodeError):
                columns[place] = columns[place].decode()
    return columns
