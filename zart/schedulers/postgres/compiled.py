"""The Inspector's statements as PostgreSQL takes them. Imports SQLAlchemy, which takes longer than most uses of a scheduler."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from attrs import frozen
from sqlalchemy import BigInteger, ColumnElement, CompoundSelect, Select, func, literal_column, null, select, union_all
from sqlalchemy.dialects.postgresql import asyncpg

from zart.records import Query
from zart.schedulers.sql import statements

_DIALECT = asyncpg.dialect()  # type: ignore[no-untyped-call] # SQLAlchemy's dialects have no types
_NOW: ColumnElement[int] = func.coalesce(
    statements.NOW, literal_column("(extract(epoch FROM clock_timestamp()) * 1000000)::bigint", BigInteger)
)


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
def history(*, pinned: bool) -> Compiled:
    """Return the statement for the records and the mail of a run, or of the last one; see `_together`."""
    return Compiled.of(_together(*statements.history(pinned=pinned)))


@cache
def view(*, pinned: bool) -> Compiled:
    """Return the statement for a run, or the last one, its records and its mail; see `_together`."""
    one = statements.get(pinned=pinned, now=_NOW).subquery()
    return Compiled.of(_together(select(one), *statements.history(pinned=pinned)))


def _together(*parts: Select[Any]) -> CompoundSelect[Any]:
    """Return one statement for what several say, so that all is of one moment and takes one round trip.

    A row begins with the number of its part; then come the columns of all parts, NULL but for its own. Parts keep their order,
    and each its own by `seq`.
    """
    names = [(number, name) for number, part in enumerate(parts) for name in part.selected_columns.keys()]  # noqa: SIM118
    halves = []
    for number, part in enumerate(parts):
        own = part.order_by(None) if part.selected_columns.get("seq") is not None else part
        columns = [own.selected_columns[name] if of == number else null() for of, name in names]
        labelled = [each.label(f"{name}_{of}") for each, (of, name) in zip(columns, names, strict=True)]
        halves.append(own.with_only_columns(literal_column(str(number)).label("part"), *labelled))
    return union_all(*halves).order_by("part", *(f"{name}_{of}" for of, name in names if name == "seq"))


def find(query: Query) -> Compiled:
    """Return the statement for a page of current runs, and one execution more if there is another page."""
    return Compiled.of(statements.find(query, _NOW))


def count(query: Query) -> Compiled:
    """Return the statement for how many current runs there are, by status."""
    return Compiled.of(statements.count(query))


@cache
def backlog() -> Compiled:
    """Return the statement for how much is due."""
    return Compiled.of(statements.backlog(_NOW))
