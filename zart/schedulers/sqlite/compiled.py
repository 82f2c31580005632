"""The Inspector's statements as SQLite takes them. Imports SQLAlchemy, which takes longer than most uses of a scheduler."""

from functools import cache
from typing import Any

from attrs import frozen
from sqlalchemy import Select
from sqlalchemy.dialects import sqlite

from zart.records import Query
from zart.schedulers.sql import statements

_DIALECT = sqlite.dialect(paramstyle="named")


@frozen
class Compiled:
    """A statement as text for sqlite3, and its parameters; those it wants from the caller are None."""

    sql: str
    parameters: dict[str, Any]

    @classmethod
    def of(cls, statement: Select[Any]) -> "Compiled":
        """Compile a statement."""
        text = statement.compile(dialect=_DIALECT, compile_kwargs={"render_postcompile": True})
        return cls(str(text), dict(text.params))


@cache
def get(*, pinned: bool) -> Compiled:
    """Return the statement for one run, or for the last one."""
    return Compiled.of(statements.get(pinned=pinned))


@cache
def history(*, pinned: bool) -> tuple[Compiled, Compiled]:
    """Return the statements for the records and for the mail of a run, or of the last one."""
    steps, mail = statements.history(pinned=pinned)
    return Compiled.of(steps), Compiled.of(mail)


def find(query: Query) -> Compiled:
    """Return the statement for a page of current runs, and one execution more if there is another page."""
    return Compiled.of(statements.find(query))


def count(query: Query) -> Compiled:
    """Return the statement for how many current runs there are, by status."""
    return Compiled.of(statements.count(query))


@cache
def backlog() -> Compiled:
    """Return the statement for how much is due."""
    return Compiled.of(statements.backlog())
