"""Where `zart bench` measures: on the user's database, in tables of its own that nobody else sees, removed afterwards."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib import import_module
from pathlib import Path
from urllib.parse import unquote, urlsplit

import asyncpg

from zart.cli.database import storage_at
from zart.cli.errors import Exit, Refused
from zart.cli.settings import masked
from zart.errors import StorageUnavailable
from zart.ids import SystemRandomness
from zart.scheduler import Storage
from zart.schedulers import urls_of
from zart.schedulers.address import Address
from zart.schedulers.postgres import PostgresScheduler
from zart.schedulers.postgres.verified import verified


def ground(url: str) -> AbstractAsyncContextManager[Storage]:
    """Open an empty storage beside the user's own: a schema of its own on PostgreSQL, tables on MySQL, a file beside a file.

    Killed half-way, it leaves them behind; all are called `zart_bench_…`.

    Raises:
        Refused: (78) it is no URL of a database that Zart knows, and can make room in.
    """
    known = storage_at(url)  # says what is wrong with the URL, in the same words as every command
    if len(shards := urls_of(url)) > 1:
        message = f"zart bench measures one database, and {masked(url)} are {len(shards)}"
        raise Refused("bad_database_url", message, "name one of the shards with --database-url", Exit.CONFIGURATION)
    parts = urlsplit(url)
    match parts.scheme.partition("+")[0]:
        case "postgresql" | "postgres":
            return _schema(url)
        case "sqlite":
            return _file(Path(unquote(parts.path[1:])))
        case "memory":
            return known
        case "mysql" | "mariadb":
            # By name: its driver is an extra.
            ground: AbstractAsyncContextManager[Storage] = import_module("zart.cli.bench.mysql").ground(url, _own_name())
            return ground
        case kind:  # never in the user's own tables
            hint = "measure on sqlite:///, postgresql:// or mysql://"
            raise Refused("bad_database_url", f"zart bench cannot measure on {kind} yet", hint, Exit.CONFIGURATION)


def _own_name() -> str:
    return f"zart_bench_{SystemRandomness().uuid().hex[-12:]}"


@asynccontextmanager
async def _file(path: Path) -> AsyncIterator[Storage]:
    own = path.with_name(f"{_own_name()}.db")
    try:
        async with storage_at(f"sqlite:///{own}") as storage:
            yield storage
    finally:
        for each in own.parent.glob(f"{own.name}*"):  # SQLite keeps files beside it
            each.unlink()


@asynccontextmanager
async def _schema(url: str) -> AsyncIterator[Storage]:
    name, address = _own_name(), Address.of(url)
    storage = PostgresScheduler(address.dsn, **{**address.options, "schema": name})
    await storage.migrate()  # all or nothing: what fails here leaves nothing behind
    try:
        async with storage:
            yield storage
    finally:
        try:
            connection = await asyncpg.connect(
                verified(f"postgresql://{address.dsn.partition('://')[2]}"), statement_cache_size=0
            )
            try:
                await connection.execute(f'DROP SCHEMA "{name}" CASCADE')
            finally:
                await connection.close()
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            mend = f'remove it with: DROP SCHEMA "{name}" CASCADE'
            raise StorageUnavailable(f"the schema {name} could not be removed ({error}); {mend}") from error
