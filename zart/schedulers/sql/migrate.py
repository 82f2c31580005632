"""Migrations: numbered SQL files, applied in order, each once."""

import re
import sqlite3
from functools import cache
from importlib.resources import files

from attrs import frozen

from zart.errors import SchemaMismatch

_NAME = re.compile(r"(\d{4})_\w+\.sql")


@frozen
class Migration:
    """One step from the schema's version before to `version`."""

    version: int
    name: str
    sql: str

    def statements(self) -> list[str]:
        """Return the file's statements one by one, for drivers that run one at a time."""
        statements: list[str] = []
        pending = ""
        for line in self.sql.splitlines(keepends=True):
            pending += line
            if sqlite3.complete_statement(pending):
                statements.append(pending)
                pending = ""
        return statements


@cache
def migrations(dialect: str) -> tuple[Migration, ...]:
    """Return the migrations for a dialect ("sqlite"), in order; the last one's version is what this code needs."""
    folder = files(__package__) / "migrations" / dialect
    found = [(match, entry) for entry in folder.iterdir() if (match := _NAME.fullmatch(entry.name))]
    return tuple(
        Migration(int(match[1]), entry.name, entry.read_text("utf-8"))
        for match, entry in sorted(found, key=lambda pair: pair[1].name)
    )


def missing(dialect: str, version: int, where: str) -> tuple[Migration, ...]:
    """Return the migrations that a database of this version lacks; 0 is a database without Zart's tables.

    Raises:
        SchemaMismatch: the database is newer than this code; `where` names it.
    """
    known = migrations(dialect)
    if version > known[-1].version:
        raise SchemaMismatch(
            f"{where} has schema version {version}, but this Zart knows versions up to {known[-1].version}; install the Zart "
            f"that migrated it, or a newer one"
        )
    return tuple(each for each in known if each.version > version)


def outdated(dialect: str, version: int, where: str) -> str:
    """Say that a database has to be migrated first."""
    needed = migrations(dialect)[-1].version
    found = f"has schema version {version}" if version else "has no Zart tables"
    return f"{where} {found}, this Zart needs version {needed}; run `zart migrate`, or await the scheduler's migrate()"
