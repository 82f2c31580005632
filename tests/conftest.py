"""Servers that several suites share: started once in a test run, or once in each of its processes."""

import os
from collections.abc import Iterator

import pytest

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
