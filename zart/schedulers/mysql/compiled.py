"""The Inspector's statements as MySQL takes them. Imports SQLAlchemy, which takes longer than most uses of a scheduler."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from attrs import frozen
from sqlalchemy import Select
from sqlalchemy.dialects.mysql import asyncmy

from zart.records import Query
from zart.schedulers.mysql.queries import Literal, Names, Statement
from zart.schedulers.sql import statements

_DIALECT = asyncmy.dialect(paramstyle="named")


@frozen
class Compiled:
    """A statement, and its own values; those it wants from the caller are None."""

    sql: str
    values: Mapping[str, Any]

    @classmethod
    def of(cls, statement: Select[Any]) -> "Compiled":
        """Compile a statement."""
        text = statement.compile(dialect=_DIALECT, compile_kwargs={"render_postcompile": True})
        return cls(str(text), text.params)

    def say(self, names: Names, literal: Literal, asked: Mapping[str, object]) -> str:
        """Return the text with all values put in."""
        return Statement.of(names.apply(self.sql)).say(literal, {**self.values, **asked})


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
