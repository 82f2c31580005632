"""What a storage is asked besides when it is a shard, on every backend."""

from itertools import count

import pytest

from zart import InMemoryScheduler, PostgresScheduler, SqliteScheduler
from zart.clock import SECOND
from zart.records import SUSPECT, Query
from zart.schedulers.mysql import MySqlScheduler
from zart.testing import FakeClock
from zart.testing.contract.scene import commit, crashed, demand, new, now, register, waiting

_numbers = count(1)


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture(params=["memory", "sqlite", "postgres", "mysql"])
async def storage(request, clock, tmp_path):
    """Return an open storage of each kind."""
    name = f"shardable_{next(_numbers)}"
    match request.param:
        case "memory":
            made = InMemoryScheduler(clock=clock)
        case "sqlite":
            made = SqliteScheduler(tmp_path / "zart.db", clock=clock)
        case "postgres":
            made = PostgresScheduler(request.getfixturevalue("postgres_server").dsn, schema=name, clock=clock)
        case _:
            made = MySqlScheduler(request.getfixturevalue("mariadb_server").url, prefix=f"{name}_", clock=clock)
    async with made:
        await made.migrate()
        yield made


async def test_the_first_that_is_remembered_is_kept(storage):
    assert await storage.recall("place") is None
    assert await storage.remember("place", "here 'and' 🦊") == "here 'and' 🦊"
    assert await storage.remember("place", "there") == "here 'and' 🦊"
    assert await storage.recall("place") == "here 'and' 🦊"
    assert await storage.recall("Place") is None
    await storage.migrate()
    assert await storage.recall("place") == "here 'and' 🦊"


async def test_the_front_is_what_a_claim_would_take(storage, clock):
    at = now(clock)
    await storage.start([new(f"{task}{age}", task, queue=f"q{age % 2}", at=at - age) for task in "tu" for age in range(5)])
    await storage.start([new("later", delay=1), new("other", "v", at=0)])
    asked = demand(tasks={"t": None, "u": 5 * SECOND}, queues=("q0", "q1", "q0"), limit=7)
    front = await storage.front(asked)
    assert list(front) == [(at - age, False) for age in (4, 4, 3, 3, 2, 2, 1)]
    assert list(await storage.front(demand(tasks={}, queues=("q0",)))) == []
    assert list(await storage.front(demand(limit=0, tasks={"t": None}, queues=("q0",)))) == []
    await register(storage)
    claims = await storage.claim(asked)
    assert len(claims) == len(front), "looking takes nothing"


async def test_the_front_tells_suspects(storage, clock):
    await crashed(storage, clock, SUSPECT, "a", "b")
    await register(storage)
    clock.advance(1)
    await storage.start([new("c")])
    for suspects in (0, 1, 2):
        kinds = [suspect for _, suspect in await storage.front(demand(suspects=suspects))]
        assert kinds == [True] * suspects + [False]
    (claimed,) = await storage.claim(demand(suspects=0))
    await commit(storage, claimed, move=waiting(now(clock)))
    assert (await claim_ids(storage)) == {"a", "b", "c"}


async def claim_ids(storage):
    return {each.token.execution_id for each in await storage.claim(demand())}


@pytest.mark.parametrize("descending", [True, False])
async def test_a_list_may_begin_at_a_time(storage, clock, *, descending):
    times = []
    for each in "abcd":
        times.append(now(clock))
        await storage.start([new(each)])
        clock.advance(1)
    page = await storage.find(Query(started=times[1], descending=descending, limit=10))
    assert [each.id for each in page.executions] == (["b", "a"] if descending else ["b", "c", "d"])
