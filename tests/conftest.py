"""Servers that several suites share: started once in a test run, or once in each of its processes."""

import os
from collections.abc import Iterator

import pytest

from tests.servers import mariadb
from tests.servers.mariadb import MariaDbServer, MySqlServer
from tests.servers.postgres import PostgresServer, installed


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """Yield the newest PostgreSQL that there is."""
    with PostgresServer(installed()["18"]) as server:
        yield server


@pytest.fixture(scope="session")
def oldest_postgres_server() -> Iterator[PostgresServer]:
    """Yield a server of the oldest version that is supported, if the machine has one."""
    if "15" not in installed() and not os.environ.get("ZART_ALL_SERVERS"):
        pytest.skip("PostgreSQL 15 is not installed")
    with PostgresServer(installed()["15"]) as server:
        yield server


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[MariaDbServer]:
    """Yield a MariaDB server, if the machine has one."""
    if mariadb.installed() is None and not os.environ.get("ZART_ALL_SERVERS"):
        pytest.skip("MariaDB is not installed")
    with MariaDbServer() as server:
        yield server


@pytest.fixture(scope="session")
def mysql_server() -> Iterator[MariaDbServer]:
    """Yield a MySQL server, if the machine has one: Debian's stable release has none."""
    if mariadb.installed_mysql() is None:
        pytest.skip("MySQL is not installed")
    with MySqlServer() as server:
        yield server
