"""Reading executions from PostgreSQL for people and programs: the Inspector."""

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from importlib import import_module
from typing import Any

from attrs import define, field, fields

from zart.records import Backlog, Execution, History, Page, Query
from zart.schedulers.postgres.claim import mail_of, records, text
from zart.schedulers.postgres.connections import Connections, Row, Talk
from zart.schedulers.sql import rows
from zart.status import ExecutionStatus

_FIELDS = [each.name for each in fields(Execution)]
_PAYLOADS = [_FIELDS.index(name) for name in ("payload", "result", "reason")]


@define(eq=False)
class Inspection:
    """Reads what is durable."""

    _connections: Connections
    """Their plans go by what the tables hold."""
    _planned: Connections
    """Theirs are made once: for the statement that programs wait by."""
    _named: Callable[[str], str] = field(converter=lru_cache(maxsize=256))
    """Puts the tables' names in."""

    async def get(self, execution_id: str, run: int | None) -> Execution | None:
        """Return one run of an execution, the current one by default."""
        statement, asked = _statements().get(pinned=run is not None), {"execution_id": execution_id, "run": run}
        found = await self._planned.run(lambda talk: self._ask(talk, statement, asked))
        return _executions(found)[0] if found else None

    async def history(self, execution_id: str, run: int | None) -> History:
        """Return the records and mail of a run; empty when there is none."""
        statement, asked = _statements().history(pinned=run is not None), {"execution_id": execution_id, "run": run}
        found = await self._planned.run(lambda talk: self._ask(talk, statement, asked))
        steps = [columns for *columns, is_letter in found if not is_letter]
        mail = [(seq, name, payload, at) for seq, name, _, _, _, payload, *_, at, is_letter in found if is_letter]
        return History(records(steps), [mail_of(row) for row in mail])

    async def find(self, query: Query) -> Page:
        """Return a page of executions; one after an unknown id is empty."""
        found = await self._all(_statements().find(query), {})
        return Page(_executions(found[: query.limit]), more=len(found) > query.limit)

    async def count(self, query: Query) -> Mapping[ExecutionStatus, int]:
        """Return how many executions match, by status; `limit`, `offset` and `after` do not apply."""
        return {ExecutionStatus(status): number for status, number in await self._all(_statements().count(query), {})}

    async def backlog(self) -> Backlog:
        """Return how much is due and claimed by nobody."""
        ((due, oldest),) = await self._all(_statements().backlog(), {})
        return Backlog(due, max(0, oldest))

    async def _all(self, statement: Any, asked: Mapping[str, Any]) -> list[Row]:
        return await self._connections.run(lambda talk: self._ask(talk, statement, asked))

    async def _ask(self, talk: Talk, statement: Any, asked: Mapping[str, Any]) -> list[Row]:
        arguments = statement.arguments({"now": talk.now, **asked})
        return await talk.connection.fetch(self._named(statement.sql), *arguments, timeout=talk.timeout)


def _statements() -> Any:
    # Not before it is needed: to import SQLAlchemy takes longer than most commands, and no worker reads.
    return import_module("zart.schedulers.postgres.compiled")


def _executions(found: Iterable[Row]) -> list[Execution]:
    executions = []
    for row in found:
        columns = list(row)
        for place in _PAYLOADS:
            columns[place] = text(columns[place])
        executions.append(rows.execution(columns))
    return executions
