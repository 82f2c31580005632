"""The SQLite scheduler keeps the contract."""

import pytest

from zart.clock import Clock
from zart.scheduler import Storage
from zart.schedulers.sqlite import SqliteScheduler
from zart.testing.contract import SchedulerContract


class TestSqlite(SchedulerContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path):
        self.folder = tmp_path

    async def make(self, clock: Clock) -> Storage:
        return SqliteScheduler(self.folder / "zart.db", clock=clock)
