"""The tables in a PostgreSQL database: whether they are there, and how they come there."""

from collections.abc import Mapping
from functools import reduce

from attrs import define, field

from zart.clock import Instant
from zart.schedulers.postgres.connections import Connection, Server
from zart.schedulers.postgres.queries import Names
from zart.schedulers.sql.migrate import Migration, missing, outdated

_LOCK_TIMEOUT = "2s"  # a migration that waits for a lock makes everybody else wait behind it


@define(eq=False)
class Schema:
    """The tables that these names mean, on this server."""

    server: Server
    names: Names
    _queries: Mapping[str, str] = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Put the tables' names into the statements."""
        self._queries = self.names.queries()

    async def check(self, connection: Connection) -> str | None:
        """Say what is wrong with the schema, if migrating can mend it.

        Raises:
            SchemaMismatch: the schema is newer than this code.
        """
        version = await self.version(connection)
        if missing("postgres", version, self.place):
            return outdated("postgres", version, self.place)
        return None

    async def version(self, connection: Connection) -> int:
        """Return the schema's version; 0 where there is none yet."""
        timeout = self.server.timeout
        if not await connection.fetchval(self._queries["schema.there"], timeout=timeout):
            return 0
        version: int = await connection.fetchval(self._queries["schema.version"], timeout=timeout)
        return version

    async def migrate(self, connection: Connection, now: Instant | None) -> None:
        """Bring the schema to this version; a second process that does the same waits and finds it done.

        Raises:
            SchemaMismatch: the database is newer than this code.
        """
        timeout = self.server.timeout
        async with connection.transaction():
            await connection.execute(self._queries["schema.patience"], _LOCK_TIMEOUT, timeout=timeout)
            await connection.execute(self._queries["schema.alone"], self.names.channel, timeout=timeout)
            if self.names.schema is not None and not await self._is_schema_there(connection):
                await connection.execute(f'CREATE SCHEMA "{self.names.schema}"', timeout=timeout)
            for each in missing("postgres", await self.version(connection), self.place):
                await connection.execute(self.names.apply(each.sql), timeout=timeout)
                await connection.execute(self._queries["schema.note"], each.version, each.name, now, timeout=timeout)

    def script(self, version: int) -> str:
        """Return what `migrate` would do to tables of this version, for people who do it themselves."""
        parts = [self._part(each) for each in missing("postgres", version, self.place)]
        if not parts:
            return ""
        if self.names.schema is not None:
            parts.insert(0, f'CREATE SCHEMA IF NOT EXISTS "{self.names.schema}";\n')
        return "\n".join(["BEGIN;\n", *parts, "COMMIT;\n"])

    @property
    def place(self) -> str:
        """Name database and tables for people."""
        where = "" if self.names.schema is None else f"{self.names.schema}."
        return f"{self.server.place} ({where}{self.names.prefix}*)"

    def _part(self, migration: Migration) -> str:
        values = zip(("$1", "$2", "$3"), (str(migration.version), f"'{migration.name}'", "NULL"), strict=True)
        note = reduce(lambda text, pair: text.replace(*pair), values, self._queries["schema.note"])
        return f"{self.names.apply(migration.sql)}\n{note};\n"

    async def _is_schema_there(self, connection: Connection) -> bool:
        sql = self._queries["schema.namespace"]
        there: bool = await connection.fetchval(sql, f'"{self.names.schema}"', timeout=self.server.timeout)
        return there
