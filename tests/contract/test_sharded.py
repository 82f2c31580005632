"""The sharded scheduler keeps the contract: unchanged where all executions are on one of its shards.

Where they are spread, a beat takes over and hands back one batch on each shard, and each shard counts crashes for itself. These
are the tests that are said anew here; all others hold as they are.
"""

from itertools import count, islice

import pytest

from tests.servers.postgres import PostgresServer
from zart import InMemoryScheduler, PostgresScheduler, ShardedScheduler, SqliteScheduler
from zart.clock import SECOND, Clock
from zart.records import SUSPECT, Query
from zart.scheduler import TAKEOVER, Storage
from zart.schedulers.sharded.buckets import BUCKETS
from zart.status import ExecutionStatus
from zart.testing import FakeClock
from zart.testing.contract import SchedulerContract
from zart.testing.contract.scene import (
    LEASE,
    beat,
    crash,
    crashed,
    deliver,
    demand,
    event,
    mailbox,
    new,
    now,
    read,
    register,
    running,
)

PENDING, RUNNING = ExecutionStatus.PENDING, ExecutionStatus.RUNNING
MANY = [f"x{number:04}" for number in range(3 * TAKEOVER + 200)]


def by_shard(scheduler, ids):
    """Return the ids of each shard, in their order."""
    found = {}
    for each in ids:
        found.setdefault(id(scheduler.shard_of(each)), []).append(each)
    return list(found.values())


def beside(scheduler, execution_id, number):
    """Return so many ids of the shard that an id is on."""
    ids = (f"x{each:05}" for each in count())
    return list(islice((each for each in ids if scheduler.shard_of(each) is scheduler.shard_of(execution_id)), number))


async def pending(scheduler):
    page = await scheduler.find(Query(statuses=(PENDING,), limit=2 * len(MANY)))
    return sorted(each.id for each in page.executions)


class Spread(SchedulerContract):
    """The contract where executions are on three shards."""

    async def test_rule_7_who_was_late_takes_over_from_those_declared_dead_by_others(self, scheduler, clock: FakeClock):
        await running(scheduler, *MANY, lease=LEASE)
        await register(scheduler, "late")
        await crash(scheduler, clock, "w")
        left = sum(max(0, len(ids) - TAKEOVER) for ids in by_shard(scheduler, MANY))
        assert (await scheduler.beat(beat("late", in_time=False))).taken_over == left > 0

    async def test_rule_7_one_beat_takes_over_one_batch_in_id_order(self, scheduler, clock: FakeClock):
        await running(scheduler, *(MANY[(index * 7) % len(MANY)] for index in range(len(MANY))), lease=LEASE)
        clock.advance(LEASE / SECOND + 1)
        parts = by_shard(scheduler, MANY)
        for first in range(0, 3 * TAKEOVER, TAKEOVER):
            batch = sum(len(ids[first : first + TAKEOVER]) for ids in parts)
            assert (await scheduler.beat(beat("other", register=True))).taken_over == batch
            assert await pending(scheduler) == sorted(each for ids in parts for each in ids[: first + TAKEOVER])

    async def test_rule_7_a_suspect_in_the_first_batch_clears_those_in_the_next(self, scheduler, clock: FakeClock):
        await crashed(scheduler, clock, SUSPECT, "a")
        ids = beside(scheduler, "a", TAKEOVER + 10)
        await running(scheduler, *ids, lease=LEASE, task="u")
        assert len(await scheduler.claim(demand())) == 1
        await crash(scheduler, clock, "w")
        assert (await read(scheduler, ids[-1])).status is RUNNING
        assert (await scheduler.beat(beat("other", register=True))).taken_over == 11
        assert [(await read(scheduler, each)).crashes for each in ("a", ids[0], ids[-1])] == [SUSPECT + 1, 0, 0]

    async def test_rule_7_a_suspect_in_the_last_batch_clears_those_in_the_first(self, scheduler, clock: FakeClock):
        await crashed(scheduler, clock, SUSPECT, "z")
        ids = beside(scheduler, "z", TAKEOVER + 10)
        await running(scheduler, *ids, lease=LEASE, task="u")
        assert len(await scheduler.claim(demand())) == 1
        await crash(scheduler, clock, "w")
        await scheduler.beat(beat("other", register=True))
        assert [(await read(scheduler, each)).crashes for each in (ids[0], ids[-1], "z")] == [0, 0, SUSPECT + 1]

    async def test_rule_7_if_a_suspect_was_there_only_it_counts(self, scheduler, clock: FakeClock):
        await crashed(scheduler, clock, SUSPECT, "m")
        near, far = (
            beside(scheduler, "m", 1)[0],
            next(each for each in MANY if scheduler.shard_of(each) is not scheduler.shard_of("m")),
        )
        await running(scheduler, near, far, lease=LEASE, task="u")
        assert len(await scheduler.claim(demand())) == 1
        await crash(scheduler, clock, "w")
        assert {each: (await read(scheduler, each)).crashes for each in (near, "m", far)} == {near: 0, "m": SUSPECT + 1, far: 1}

    async def test_rule_7_one_beat_hands_back_one_batch_in_id_order(self, scheduler, clock: FakeClock):
        await running(scheduler, *(MANY[(index * 7) % len(MANY)] for index in range(len(MANY))))
        clock.advance(1)
        parts = by_shard(scheduler, MANY)
        for batch in (TAKEOVER, 2 * TAKEOVER, 3 * TAKEOVER):
            await scheduler.beat(beat(held_at=now(clock)))
            assert await pending(scheduler) == sorted(each for ids in parts for each in ids[:batch])

    async def test_rule_7_a_dead_worker_hands_nothing_back(self, scheduler, clock: FakeClock):
        ids = beside(scheduler, "a", TAKEOVER + 1)
        await running(scheduler, *ids, lease=LEASE)
        await crash(scheduler, clock, "w")
        assert not (await scheduler.beat(beat(lease=LEASE, held_at=now(clock)))).alive
        assert (await read(scheduler, ids[-1])).status is RUNNING


class TestSpreadOverMemory(Spread):
    async def make(self, clock: Clock) -> Storage:
        return ShardedScheduler([InMemoryScheduler(clock=clock) for _ in range(3)])


class TestSpreadOverSqlite(Spread):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path):
        self.folder = tmp_path

    async def make(self, clock: Clock) -> Storage:
        return ShardedScheduler([SqliteScheduler(self.folder / f"{number}.db", clock=clock) for number in range(3)])


class TestOnOneOfThree(SchedulerContract):
    async def make(self, clock: Clock) -> Storage:
        return ShardedScheduler([InMemoryScheduler(clock=clock) for _ in range(3)], buckets=[1] * BUCKETS)


class TestAlone(SchedulerContract):
    async def make(self, clock: Clock) -> Storage:
        return ShardedScheduler([InMemoryScheduler(clock=clock)])


@pytest.fixture
def databases(postgres_server: PostgresServer):
    """Three databases of one server."""
    names = [f"shard_{number}" for number in range(3)]
    postgres_server.run(*(f"CREATE DATABASE {name}" for name in names))
    yield [postgres_server.dsn.replace("/postgres", f"/{name}") for name in names]
    postgres_server.run(*(f"DROP DATABASE {name} WITH (FORCE)" for name in names))


async def test_three_postgresql_databases_are_one(databases, clock):
    ids = [f"order-{number}" for number in range(30)]
    async with ShardedScheduler([PostgresScheduler(dsn, clock=clock) for dsn in databases]) as scheduler:
        await scheduler.migrate()
        await register(scheduler)
        await scheduler.start([new(each, at=now(clock) - number * SECOND) for number, each in enumerate(ids)])
        assert len(by_shard(scheduler, ids)) == 3
        await deliver(scheduler, *(event(each, payload=each) for each in ids))
        taken = []
        while claims := await scheduler.claim(demand(limit=7)):
            taken.append({each.token.execution_id for each in claims})
        assert taken == [set(ids[::-1][first : first + 7]) for first in range(0, 30, 7)], "those due longest come first"
        page = await scheduler.find(Query(limit=30, descending=False))
        assert {each.status for each in page.executions} == {RUNNING}
        assert [await mailbox(scheduler, each) for each in ids] == [[(1, each)] for each in ids]
        assert dict(await scheduler.count(Query())) == {RUNNING: 30}
        assert (await scheduler.backlog()).due == 0
        assert sorted((await scheduler.cancel(ids[:10])).items()) == sorted(
            (each, (ExecutionStatus.CANCELLED, True)) for each in ids[:10]
        )
