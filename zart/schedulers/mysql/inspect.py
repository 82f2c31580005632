"""Reading executions from MySQL for people and programs: the Inspector."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from attrs import define

from zart.records import Backlog, Execution, History, Page, Query
from zart.schedulers.mysql.connections import Connections
from zart.schedulers.mysql.queries import Names
from zart.schedulers.mysql.talk import Answer, Talk, all_rows
from zart.schedulers.sql import rows
from zart.status import ExecutionStatus


@define(eq=False)
class Inspection:
    """Reads what is durable."""

    _connections: Connections
    _names: Names

    async def get(self, execution_id: str, run: int | None) -> Execution | None:
        """Return one run of an execution, the current one by default."""
        (found,) = await self._ask([_statements().get(pinned=run is not None)], {"execution_id": execution_id, "run": run})
        return rows.execution(found.rows[0]) if found.rows else None

    async def history(self, execution_id: str, run: int | None) -> History:
        """Return the records and mail of a run; empty when there is none."""
        both = _statements().history(pinned=run is not None)
        steps, mail = await self._ask(both, {"execution_id": execution_id, "run": run}, one_view=True)
        return rows.history(steps.rows, mail.rows)

    async def find(self, query: Query) -> Page:
        """Return a page of executions; one after an unknown id is empty."""
        (found,) = await self._ask([_statements().find(query)], {})
        return Page([rows.execution(row) for row in found.rows[: query.limit]], more=len(found.rows) > query.limit)

    async def count(self, query: Query) -> Mapping[ExecutionStatus, int]:
        """Return how many executions match, by status; `limit`, `offset` and `after` do not apply."""
        (found,) = await self._ask([_statements().count(query)], {})
        return rows.counts(found.rows)

    async def backlog(self) -> Backlog:
        """Return how much is due and claimed by nobody."""

        async def read(talk: Talk) -> Backlog:
            clock, places = await talk.ask(talk.say("beat.now"), talk.say("wait.places"))
            now = talk.now = clock.rows[0][0]
            asked = [{"queue": queue, "task": task, "suspect": kind} for queue, task in places.rows for kind in (0, 1)]
            found = [row for row in all_rows(await talk.ask(*talk.each("wait.backlog", asked))) if row[0]]
            return Backlog(sum(number for number, _ in found), now - min((since for _, since in found), default=now))

        return await self._connections.run(read)

    async def _ask(self, statements: Any, asked: Mapping[str, object], *, one_view: bool = False) -> list[Answer]:
        async def read(talk: Talk) -> list[Answer]:
            values = {"now": talk.now_said, **asked}
            return await talk.ask(*(each.say(self._names, talk.literal, values) for each in statements))

        return await self._connections.run(read, one_view=one_view)


def _statements() -> Any:
    # Not before it is needed: to import SQLAlchemy takes longer than most commands, and no worker reads.
    return import_module("zart.schedulers.mysql.compiled")
