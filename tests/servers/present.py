"""Which servers this machine has, and what becomes of a test that wants one that is not there."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.servers import mariadb, pgbouncer, postgres

SERVERS: Mapping[str, Callable[[], bool]] = {
    "PostgreSQL 18": lambda: "18" in postgres.installed(),
    "PostgreSQL 15": lambda: "15" in postgres.installed(),
    "PgBouncer": lambda: pgbouncer.program() is not None,
    "MariaDB": lambda: mariadb.installed() is not None,
    "MySQL": lambda: mariadb.installed_mysql() is not None,
}
"""What tests may start for themselves. Those that are packages, of the system's or of Python's, are installed by `.ci/run`.

Of MySQL itself Debian has no package: its tests run where `ZART_MYSQLD` names its program, or it is on the path, and are left
out elsewhere.
"""


def told() -> str:
    """Return a line that says which servers this run uses, and which it has not."""
    found = {name: is_there() for name, is_there in SERVERS.items()}
    used = ", ".join(name for name, is_there in found.items() if is_there)
    absent = ", ".join(name for name, is_there in found.items() if not is_there)
    return f"servers: {used or 'none'}; absent: {absent or 'none'}"


def need(name: str) -> None:
    """Skip the test at hand where there is no such server; fail it where `ZART_ALL_SERVERS` says that packaged ones are."""
    if SERVERS[name]():
        return
    if os.environ.get("ZART_ALL_SERVERS"):
        pytest.fail(f"{name} is not installed, and ZART_ALL_SERVERS is set: install it as .ci/run does, or unset that")
    pytest.skip(f"{name} is not installed")


def newest_postgres() -> Path:
    """Return the folder of the programs of the newest PostgreSQL that there is; where there is none, do as `need` does.

    Where `ZART_ALL_SERVERS` is set, that is the newest that is supported.
    """
    found = postgres.installed()
    if not found or os.environ.get("ZART_ALL_SERVERS"):
        need("PostgreSQL 18")
    return next(iter(found.values()))
