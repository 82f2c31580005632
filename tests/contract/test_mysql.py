"""The MySQL scheduler keeps the contract, on MariaDB and on MySQL."""

from itertools import count

import pytest

from tests.servers.mariadb import MariaDbServer
from zart.clock import Clock
from zart.scheduler import Storage
from zart.schedulers.mysql import MySqlScheduler
from zart.testing.contract import SchedulerContract

_numbers = count(1)


class TestMariaDb(SchedulerContract):
    @pytest.fixture(autouse=True)
    def _server(self, mariadb_server: MariaDbServer):
        self.url = mariadb_server.url

    async def make(self, clock: Clock) -> Storage:
        return MySqlScheduler(self.url, prefix=f"contract_{next(_numbers)}_", clock=clock)


class TestMySql(SchedulerContract):
    @pytest.fixture(autouse=True)
    def _server(self, mysql_server: MariaDbServer):
        self.url = mysql_server.url

    async def make(self, clock: Clock) -> Storage:
        return MySqlScheduler(self.url, prefix=f"contract_{next(_numbers)}_", clock=clock)
