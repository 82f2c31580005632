"""A PostgreSQL server of the benchmarks' own, as durable as one in production: `fsync` and `synchronous_commit` on."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers.postgres import PostgresServer, installed

OPTIONS = {
    "synchronous_commit": "on",
    "max_wal_size": "4GB",
    "log_min_messages": "fatal",
}


def versions() -> list[str]:
    """Return the versions that can be started here, the newest first."""
    return list(installed())


@contextmanager
def server(version: str, scratch: Path) -> Iterator[PostgresServer]:
    """Run a server with its data on the disk of `scratch`."""
    before, tempfile.tempdir = tempfile.tempdir, str(scratch.resolve()) if _open_to_all(scratch.resolve()) else None
    try:
        running = PostgresServer(installed()[version], fsync=True, options=OPTIONS)
    finally:
        tempfile.tempdir = before
    with running:
        yield running


def _open_to_all(folder: Path) -> bool:
    """Return whether somebody who is not root could get there: as root, the server runs as nobody."""
    return os.geteuid() != 0 or all(each.stat().st_mode & 0o001 for each in (folder, *folder.parents))


def fresh_database(running: PostgresServer, name: str) -> str:
    """Make an empty database, in place of one of that name, and return its URL."""
    drop_database(running, name)
    running.run(f'CREATE DATABASE "{name}"', "CHECKPOINT")
    return running.dsn.rpartition("/")[0] + f"/{name}"


def drop_database(running: PostgresServer, name: str) -> None:
    """Remove a database."""
    running.run(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
