"""The contract of the scheduler, at a database that a scenario names; not collected with the other tests."""

import os
from itertools import count

from zart.clock import Clock
from zart.scheduler import Storage
from zart.schedulers.postgres import PostgresScheduler
from zart.testing.contract import SchedulerContract

_numbers = count(1)


class TestSerializable(SchedulerContract):
    async def make(self, clock: Clock) -> Storage:
        return PostgresScheduler(os.environ["ZART_CLUSTER_DSN"], schema=f"contract_{next(_numbers)}", clock=clock)


class TestBehindPgBouncer(SchedulerContract):
    async def make(self, clock: Clock) -> Storage:
        dsn = os.environ["ZART_CLUSTER_DSN"]
        return PostgresScheduler(dsn, schema=f"contract_{next(_numbers)}", clock=clock, pooler=True)
