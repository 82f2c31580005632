"""The roles that are shipped, on a server of the tests."""

from importlib.resources import files

import asyncpg

from tests.servers.postgres import PostgresServer
from zart.schedulers.postgres import PostgresScheduler

ROLES = ("owner", "worker", "client", "inspector", "reader")
SCRIPT = (files("zart.schedulers.sql") / "roles" / "postgres.sql").read_text("utf-8")


async def grant(server: PostgresServer, schema: str) -> None:
    """Make the tables in a schema and give the roles their rights on them; each has a user `as_ROLE`."""
    connection = await asyncpg.connect(server.dsn)
    try:
        scheduler = PostgresScheduler(server.dsn, schema=schema)
        await connection.execute(await scheduler.migration_script())
        await connection.execute(f"SET search_path TO {schema}")
        await connection.execute(SCRIPT)
        for role in ROLES:
            if not await connection.fetchval("SELECT true FROM pg_roles WHERE rolname = $1", f"as_{role}"):
                await connection.execute(f"CREATE ROLE as_{role} LOGIN IN ROLE zart_{role}")
    finally:
        await connection.close()


def dsn_of(server: PostgresServer, role: str) -> str:
    """Return where a user with one role comes in."""
    return server.dsn.replace("zart@", f"as_{role}@")
