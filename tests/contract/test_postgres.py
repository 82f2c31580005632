"""The PostgreSQL scheduler keeps the contract: on the newest version of the server, on the oldest, and behind a pooler."""

from itertools import count

import pytest

from tests.servers.postgres import PostgresServer
from zart.clock import Clock
from zart.scheduler import Storage
from zart.schedulers.postgres import PostgresScheduler
from zart.testing.contract import SchedulerContract

_numbers = count(1)


class TestPostgres(SchedulerContract):
    @pytest.fixture(autouse=True)
    def _server(self, postgres_server: PostgresServer):
        self.dsn = postgres_server.dsn

    async def make(self, clock: Clock) -> Storage:
        return PostgresScheduler(self.dsn, schema=f"contract_{next(_numbers)}", clock=clock)


class TestOldestPostgres(SchedulerContract):
    @pytest.fixture(autouse=True)
    def _server(self, oldest_postgres_server: PostgresServer):
        self.dsn = oldest_postgres_server.dsn

    async def make(self, clock: Clock) -> Storage:
        return PostgresScheduler(self.dsn, schema=f"contract_{next(_numbers)}", clock=clock, pooler=True)
