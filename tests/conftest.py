"""Servers that several suites share: started once in a test run, or once in each of its processes."""

from collections.abc import Iterator

import pytest

from tests.servers.mariadb import MariaDbServer, MySqlServer
from tests.servers.postgres import PostgresServer, installed
from tests.servers.present import SERVERS, need, newest_postgres, told


def pytest_report_header() -> str:
    """Say which servers this run uses."""
    return told()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what wants MySQL itself where that is not installed: MariaDB speaks for the same backend.

    The header says so, and the report counts them as deselected. A `ZART_MYSQLD` that names no MySQL server ends the run.
    """
    if SERVERS["MySQL"]():
        return
    left_out = [each for each in items if _wants_mysql(each)]
    items[:] = [each for each in items if not _wants_mysql(each)]
    config.hook.pytest_deselected(items=left_out)


def _wants_mysql(item: pytest.Item) -> bool:
    """Whether a test asks for the server, or is parametrized with its name."""
    if not isinstance(item, pytest.Function):
        return False
    parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()
    return "mysql_server" in item.fixturenames or "mysql_server" in parameters


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """Yield the newest PostgreSQL that there is."""
    with PostgresServer(newest_postgres()) as server:
        yield server


@pytest.fixture(scope="session")
def oldest_postgres_server() -> Iterator[PostgresServer]:
    """Yield a server of the oldest version that is supported."""
    need("PostgreSQL 15")
    with PostgresServer(installed()["15"]) as server:
        yield server


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[MariaDbServer]:
    """Yield a MariaDB server."""
    need("MariaDB")
    with MariaDbServer() as server:
        yield server


@pytest.fixture(scope="session")
def mysql_server() -> Iterator[MariaDbServer]:
    """Yield a MySQL server."""
    with MySqlServer() as server:
        yield server
