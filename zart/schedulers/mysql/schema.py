"""The tables in a MySQL database: whether they are there, and how they come there."""

import re
from collections.abc import Mapping
from contextlib import suppress

from asyncmy.errors import MySQLError
from attrs import define

from zart.errors import SchemaMismatch, StorageUnavailable
from zart.schedulers.mysql.connections import Server
from zart.schedulers.mysql.queries import NOW, Names
from zart.schedulers.mysql.talk import Talk
from zart.schedulers.sql.migrate import Migration, migrations, missing, outdated

_THERE = "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name IN ({tables})"
_TABLE = re.compile(r"CREATE TABLE IF NOT EXISTS (?P<name>zart_\w+) \((?P<body>[^;]+);")
_COMMENT = re.compile(r"--[^\n]*")
_NOTE = "INSERT INTO zart_schema VALUES ({version}, '{name}', {now})"


@define(eq=False)
class Schema:
    """The tables that these names mean, on this server."""

    server: Server
    names: Names

    async def check(self, talk: Talk) -> str | None:
        """Say what is wrong with the schema, if migrating can mend it.

        Raises:
            SchemaMismatch: the schema is newer than this code.
        """
        version = await self.version(talk)
        if missing("mysql", version, self.place):
            return outdated("mysql", version, self.place)
        return None

    async def version(self, talk: Talk) -> int:
        """Return the schema's version; 0 where there is none yet, or its first migration was broken off."""
        if not await self._there(talk, "zart_schema"):
            return 0
        (answer,) = await talk.ask(self.names.apply("SELECT COALESCE(MAX(version), 0) FROM zart_schema"))
        return int(answer.rows[0][0])

    async def migrate(self, talk: Talk) -> None:
        """Bring the schema to this version; a second process that does the same waits and finds it done.

        Every statement commits by itself. So each may be run again, and a migration that was broken off goes on where it was.

        Raises:
            SchemaMismatch: the database is newer than this code, or has other tables of these names.
        """
        lock = talk.literal(self.names.lock(self.server.address.database))
        (answer,) = await talk.ask(f"SELECT GET_LOCK({lock}, {self.server.timeout / 2})")
        if answer.rows[0][0] != 1:
            raise StorageUnavailable(f"{self.place} is being migrated by somebody else; try again")
        try:
            if not await self._there(talk, "zart_schema") and (others := await self._there(talk, *made_tables())):
                raise SchemaMismatch(
                    f"{self.place} cannot be migrated: it has {', '.join(others)} of its own; rename what is in the way, or"
                    " name another prefix"
                )
            for each in missing("mysql", await self.version(talk), self.place):
                for statement in each.statements():
                    await talk.ask(self._said(statement))
                await talk.ask(self._note(each, NOW if talk.now is None else str(talk.now)))
        finally:
            with suppress(OSError, MySQLError):  # one that was lost has let it go
                await talk.ask(f"DO RELEASE_LOCK({lock})")

    def script(self, version: int) -> str:
        """Return what `migrate` would do to tables of this version, for people who do it themselves."""
        parts = [
            f"{self.names.apply(each.sql, mariadb=self.server.is_mariadb)}\n{self._note(each, NOW)};\n"
            for each in missing("mysql", version, self.place)
        ]
        return "\n".join(parts)

    @property
    def place(self) -> str:
        """Name database and tables for people."""
        return f"{self.server.place} ({self.names.prefix}*)"

    def _said(self, statement: str) -> str:
        """Return a statement of a file without the comments and the semicolon around it."""
        lines = [line for line in statement.splitlines() if line.strip() and not line.lstrip().startswith("--")]
        return self.names.apply("\n".join(lines).strip().removesuffix(";"), mariadb=self.server.is_mariadb)

    def _note(self, migration: Migration, now: str) -> str:
        return self.names.apply(_NOTE.format(version=migration.version, name=migration.name, now=now))

    async def _there(self, talk: Talk, *tables: str) -> list[str]:
        """Return which of these tables are there."""
        said = ", ".join(talk.literal(self.names.apply(each).strip("`")) for each in tables)
        (answer,) = await talk.ask(_THERE.format(tables=said))
        return [row[0] for row in answer.rows]


def made_tables() -> Mapping[str, str]:
    """Return the tables that the migrations make, each with what is said of its columns and keys."""
    sql = "".join(_COMMENT.sub("", each.sql) for each in migrations("mysql"))
    return {each["name"]: each["body"] for each in _TABLE.finditer(sql)}
