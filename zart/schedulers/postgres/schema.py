"""The tables in a PostgreSQL database: whether they are there, and how they come there."""

from functools import reduce

from attrs import define

from zart.clock import Instant
from zart.schedulers.postgres.connections import Connection, Server
from zart.schedulers.postgres.queries import Names
from zart.schedulers.sql.migrate import Migration, missing, outdated

_LOCK_TIMEOUT = "2s"  # a migration that waits for a lock makes everybody else wait behind it
_NOTE = (
    "INSERT INTO zart_schema VALUES ($1, $2, coalesce($3::bigint, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint))"
)


@define(eq=False)
class Schema:
    """The tables that these names mean, on this server."""

    server: Server
    names: Names

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
        if await connection.fetchval("SELECT to_regclass($1)", self.names.apply("zart_schema"), timeout=timeout) is None:
            return 0
        sql = self.names.apply("SELECT coalesce(max(version), 0) FROM zart_schema")
        version: int = await connection.fetchval(sql, timeout=timeout)
        return version

    async def migrate(self, connection: Connection, now: Instant | None) -> None:
        """Bring the schema to this version; a second process that does the same waits and finds it done.

        Raises:
            SchemaMismatch: the database is newer than this code.
        """
        timeout = self.server.timeout
        async with connection.transaction():
            await connection.execute(f"SET LOCAL lock_timeout TO '{_LOCK_TIMEOUT}'", timeout=timeout)
            # Of the transaction, not of the session: so it works behind a pooler too.
            lock = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))"
            await connection.execute(lock, self.names.channel, timeout=timeout)
            if self.names.schema is not None and not await self._is_schema_there(connection):
                await connection.execute(f'CREATE SCHEMA "{self.names.schema}"', timeout=timeout)
            for each in missing("postgres", await self.version(connection), self.place):
                await connection.execute(self.names.apply(each.sql), timeout=timeout)
                note = self.names.apply(_NOTE)
                await connection.execute(note, each.version, each.name, now, timeout=timeout)

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
        note = reduce(lambda text, pair: text.replace(*pair), values, _NOTE)
        return self.names.apply(f"{migration.sql}\n{note};\n")

    async def _is_schema_there(self, connection: Connection) -> bool:
        # Asked first: CREATE SCHEMA IF NOT EXISTS wants the right to create even where there is nothing to do.
        sql = "SELECT to_regnamespace($1) IS NOT NULL"
        there: bool = await connection.fetchval(sql, f'"{self.names.schema}"', timeout=self.server.timeout)
        return there
