"""Where `zart bench` measures on MySQL and MariaDB: in tables of its own in the user's database, removed afterwards."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from zart.errors import SchedulerError, StorageUnavailable
from zart.scheduler import Storage
from zart.schedulers.mysql import MySqlScheduler
from zart.schedulers.mysql.address import Address
from zart.schedulers.mysql.connections import Connections, Server
from zart.schedulers.mysql.queries import Names
from zart.schedulers.mysql.schema import made_tables

_PATIENCE = 10.0
"""Seconds that removing them may take."""


@asynccontextmanager
async def ground(url: str, name: str) -> AsyncIterator[Storage]:
    """Open an empty storage whose tables' names begin with `name`, and remove its tables afterwards.

    Raises:
        StorageUnavailable: the server cannot be reached, or they could not be removed.
    """
    address = Address.of(url)
    prefix = f"{name}_"
    async with MySqlScheduler(address, **{**address.options, "prefix": prefix}) as storage:
        try:
            await storage.migrate()
            yield storage
        finally:
            await _remove(address, prefix)


async def _remove(address: Address, prefix: str) -> None:
    # Zart's own names, and no pattern: nobody else's tables can be among them.
    drop = Names(prefix).apply(f"DROP TABLE IF EXISTS {', '.join(made_tables())}")
    connections = Connections(Server(address, _PATIENCE, has_warned=True), {}, lambda: None, 1)
    connections.open()
    try:
        await connections.run(lambda talk: talk.ask(drop))
    except SchedulerError as error:
        raise StorageUnavailable(f"the tables {prefix}* could not be removed ({error}); remove them with: {drop}") from error
    finally:
        await connections.close()
