"""The Inspector's statements as PostgreSQL takes them. Imports SQLAlchemy, which takes longer than most uses of a scheduler."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from attrs import frozen
from sqlalchemy import BigInteger, ColumnElement, Select, func, literal_column
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
    def of(cls, statement: Select[Any]) -> "Compiled":
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
def history(*, pinned: bool) -> tuple[Compiled, Compiled]:
    """Return the statements for the records and for the mail of a run, or of the last one."""
    steps, mail = statements.history(pinned=pinned)
    return Compiled.of(steps), Compiled.of(mail)


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
