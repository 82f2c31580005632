"""The Inspector's statements as PostgreSQL takes them. Imports SQLAlchemy, which takes longer than most uses of a scheduler."""

from collections.abc import Callable, Mapping
from functools import cache
from operator import itemgetter
from typing import Any

from attrs import frozen
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    CompoundSelect,
    Select,
    and_,
    func,
    literal_column,
    null,
    or_,
    select,
    union_all,
)
from sqlalchemy.dialects.postgresql import asyncpg

from zart.records import SUSPECT, Query
from zart.schedulers.sql import statements
from zart.schedulers.sql.tables import executions
from zart.status import ExecutionStatus

_DIALECT = asyncpg.dialect()  # type: ignore[no-untyped-call] # SQLAlchemy's dialects have no types
_NOW: ColumnElement[int] = func.coalesce(
    statements.NOW, literal_column("(extract(epoch FROM clock_timestamp()) * 1000000)::bigint", BigInteger)
)


_IMPLIED: dict[ExecutionStatus, tuple[ColumnElement[bool], ...]] = {
    # What is always so in a status, and what a partial index says: few run or are due, among however many that have ended.
    ExecutionStatus.RUNNING: (executions.c.worker.is_not(None),),
    ExecutionStatus.PENDING: (
        executions.c.due_at.is_not(None),
        or_(executions.c.crashes < literal_column(str(SUSPECT)), executions.c.crashes >= literal_column(str(SUSPECT))),
    ),
}


@frozen
class Compiled:
    """A statement as text for asyncpg, and its parameters in their order; those it wants from the caller are None."""

    sql: str
    parameters: dict[str, Any]

    @classmethod
    def of(cls, statement: Select[Any] | CompoundSelect[Any]) -> "Compiled":
        """Compile a statement."""
        text = statement.compile(dialect=_DIALECT, compile_kwargs={"render_postcompile": True})
        return cls(str(text), {name: text.params[name] for name in text.positiontup or ()})

    def arguments(self, asked: Mapping[str, Any]) -> list[Any]:
        """Return what the statement is given, in the order of its parameters."""
        return [asked.get(name, constant) for name, constant in self.parameters.items()]


@cache
def get(*, pinned: bool) -> Compiled:
    """Return the statement for one run, or for the last one."""
    return Compiled.of(statements.get(pinned=pinned, now=_NOW))


@cache
def history(*, pinned: bool) -> "Together":
    """Return the statement for the records and the mail of a run, or of the last one."""
    return Together.of_parts(*statements.history(pinned=pinned))


@cache
def view(*, pinned: bool) -> "Together":
    """Return the statement for a run, or the last one, its records and its mail."""
    one = statements.get(pinned=pinned, now=_NOW).subquery()
    return Together.of_parts(select(one), *statements.history(pinned=pinned))


@frozen
class Together(Compiled):
    """One statement for what several ask: all is of one moment, and takes one round trip.

    A row begins with the number of its part; columns of one name share a place, and what a part does not have is NULL.
    """

    readers: tuple[Callable[[Any], tuple[Any, ...]], ...]
    """For each part what takes its columns out of a row."""

    @classmethod
    def of_parts(cls, *parts: Select[Any]) -> "Together":
        """Compile statements; the types of columns are those of the first two parts."""
        names = list(dict.fromkeys(each.name for part in parts for each in part.selected_columns))
        told = []
        for number, part in enumerate(parts):
            there = {each.name: each for each in part.selected_columns}
            columns = [there.get(name, null()).label(name) for name in names]
            told.append(part.with_only_columns(literal_column(str(number)).label("part"), *columns).order_by(None))
        whole = Compiled.of(union_all(*told).order_by("part", "seq"))
        places = [[names.index(each.name) + 1 for each in part.selected_columns] for part in parts]
        return cls(whole.sql, whole.parameters, tuple(itemgetter(*each) for each in places))


def find(query: Query) -> Compiled:
    """Return the statement for a page of current runs; its parameters are those of `statements.page_of`."""
    return _find(query.statuses, len(query.tasks), query.descending, query.after is not None, query.started is not None)


@cache
def _find(statuses: tuple[ExecutionStatus, ...], tasks: int, descending: bool, after: bool, started: bool) -> Compiled:
    shape = Query((), ("",) * tasks, after="" if after else None, descending=descending, started=0 if started else None)
    each = (and_(executions.c.status == literal_column(f"'{status}'"), *_IMPLIED.get(status, ())) for status in statuses)
    statement = statements.find(shape, _NOW)
    return Compiled.of(statement.where(or_(*each)) if statuses else statement)


page_of: Callable[[Query], dict[str, Any]] = statements.page_of
"""Return what the parameters of `find` are for a query."""


def count(query: Query) -> Compiled:
    """Return the statement for how many current runs there are, by status."""
    return Compiled.of(statements.count(query))


@cache
def backlog() -> Compiled:
    """Return the statement for how much is due."""
    return Compiled.of(statements.backlog(_NOW))
