"""A shard that is away stops its own executions and no others; when it is back, so are they."""

import asyncio
from datetime import timedelta

import pytest

from tests.sharded.shards import Town
from zart.clock import SECOND
from zart.errors import StorageUnavailable, WorkerNotAlive
from zart.records import Commit, Fate, Held, Query
from zart.schedulers.sharded.shard import PATIENCE, REST
from zart.status import ExecutionStatus
from zart.testing import FakeClock
from zart.testing.contract.scene import LEASE, beat, completed, demand, event, new, now, outcome, register, returns

HOUR = timedelta(hours=1)


async def one_on_each(town, worker="w", lease=LEASE):
    """Let a worker claim one execution of each shard."""
    await register(town.scheduler, worker, lease=lease)
    ids = [town.ids(shard, 1)[0] for shard in range(3)]
    await town.scheduler.start([new(each) for each in ids])
    claims = {claim.token.execution_id: claim for claim in await town.scheduler.claim(demand(worker))}
    return [claims[each] for each in ids]


def fates(answers):
    return [each.fate for each in answers]


def commits(claims, seq=1):
    return [Commit(each.token, [outcome(seq)], 0) for each in claims]


async def settled(*, turns=50):
    for _ in range(turns):
        await asyncio.sleep(0)


async def test_what_one_shard_holds_waits_and_the_rest_goes_on(town):
    claims = await one_on_each(town)
    town.shards[1].away = True
    assert fates(await town.scheduler.commit(commits(claims))) == [Fate.APPLIED, Fate.BUSY, Fate.APPLIED]
    here, there = [town.ids(shard, 2)[1] for shard in (0, 1)]
    await town.scheduler.start([new(here)])
    assert [each.token.execution_id for each in await town.scheduler.claim(demand())] == [here]
    for call in (
        town.scheduler.start([new(there)]),
        town.scheduler.get(there),
        town.scheduler.deliver([event(there)]),
        town.scheduler.cancel([there]),
        town.scheduler.find(Query()),
        town.scheduler.count(Query()),
        town.scheduler.backlog(),
    ):
        with pytest.raises(StorageUnavailable, match="nobody is there"):
            await call


async def test_a_start_of_many_does_what_it_can_and_may_be_repeated(town):
    starts = [new(town.ids(shard, 1)[0]) for shard in range(3)]
    town.shards[1].away = True
    with pytest.raises(StorageUnavailable):
        await town.scheduler.start(starts)
    town.shards[1].away = False
    assert await town.scheduler.get(starts[0].id) is not None
    assert [each.accepted for each in await town.scheduler.start(starts)] == [True] * 3
    assert await town.scheduler.count(Query()) == {ExecutionStatus.PENDING: 3}


async def test_a_shard_that_does_not_answer_is_not_waited_for_long_and_not_again(town):
    claims = await one_on_each(town)
    town.shards[1].silent = True
    saying = asyncio.ensure_future(town.scheduler.commit(commits(claims)))
    await settled()
    town.patience.advance(PATIENCE - 0.1)
    await settled()
    assert not saying.done()
    town.patience.advance(0.2)
    assert fates(await returns(joined(saying))) == [Fate.APPLIED, Fate.BUSY, Fate.APPLIED]
    assert fates(await returns(town.scheduler.commit(commits(claims)))) == [Fate.APPLIED, Fate.BUSY, Fate.APPLIED]
    assert await returns(town.scheduler.claim(demand())) == []
    town.shards[1].silent = False
    assert fates(await town.scheduler.commit(commits(claims))) == [Fate.APPLIED, Fate.BUSY, Fate.APPLIED], "it still rests"
    town.patience.advance(REST)
    assert fates(await town.scheduler.commit(commits(claims))) == [Fate.APPLIED] * 3


async def test_a_beat_that_gets_through_ends_its_rest(town):
    claims = await one_on_each(town)
    town.shards[1].away = True
    await town.scheduler.commit(commits(claims))
    town.shards[1].away = False
    await town.scheduler.beat(beat(lease=LEASE, held=[Held(each.token, 0) for each in claims]))
    assert fates(await town.scheduler.commit(commits(claims))) == [Fate.APPLIED] * 3


async def test_where_nobody_is_there_everything_says_so(town):
    claims = await one_on_each(town)
    for shard in town.shards:
        shard.away = True
    for call in (
        lambda: town.scheduler.commit(commits(claims)),
        lambda: town.scheduler.claim(demand()),
        lambda: town.scheduler.beat(beat()),
        lambda: town.scheduler.wait(demand(), HOUR),
    ):
        with pytest.raises(StorageUnavailable):
            await call()


async def test_a_worker_lives_while_one_shard_hears_it(town):
    claims = await one_on_each(town)
    town.shards[1].away = True
    held = [Held(each.token, 0) for each in claims]
    for seconds in (1, 8):
        town.advance(seconds)
        reply = await town.scheduler.beat(beat(lease=LEASE, held=held))
        assert (reply.alive, list(reply.lost)) == (True, [])
    town.advance(2)
    reply = await town.scheduler.beat(beat(lease=LEASE, held=held))
    assert (reply.alive, list(reply.lost)) == (True, [claims[1].token]), "two thirds of the lease have passed there"
    assert fates(await town.scheduler.commit(commits([claims[0], claims[2]]))) == [Fate.APPLIED] * 2


async def test_what_it_lost_there_comes_back_with_the_shard(town):
    claims = await one_on_each(town)
    held = [Held(each.token, 0) for each in claims]
    town.advance(1)
    await town.scheduler.beat(beat(lease=LEASE, held=held))
    town.shards[1].away = True
    town.advance(11)
    await town.scheduler.beat(beat(lease=LEASE, held=held))
    town.shards[1].away = False
    left = [held[0], held[2]]
    for _ in range(2):
        town.advance(1)
        told = now(town.clock)
        await town.scheduler.beat(beat(lease=LEASE, held=left, held_at=told - SECOND))
    (again,) = await town.scheduler.claim(demand())
    assert (again.token.execution_id, again.crashes) == (claims[1].token.execution_id, 0)


async def test_one_that_is_dead_to_one_shard_loses_only_what_was_there_and_joins_there_again(town):
    claims = await one_on_each(town)
    other = town.another()
    async with other:
        await register(other, "other", lease=LEASE)
        town.shards[1].away = True
        for _ in range(4):
            town.advance(5)
            for who in (town.scheduler, other):
                await who.beat(beat("w" if who is town.scheduler else "other", lease=LEASE))
        town.shards[1].away = False
        for _ in range(2):  # its own lease has passed there too, so it declares nobody dead until others had the time to come
            assert (await other.beat(beat("other", lease=LEASE))).taken_over == 0
        town.advance(LEASE / SECOND - 1)
        await other.beat(beat("other", lease=LEASE))
        town.shards[0].away = town.shards[2].away = True
        town.advance(2)
        assert (await other.beat(beat("other", lease=LEASE))).taken_over == 1
        town.shards[0].away = town.shards[2].away = False
    held = [Held(each.token, 0) for each in claims]
    reply = await town.scheduler.beat(beat(lease=LEASE, held=held))
    assert (reply.alive, list(reply.lost)) == (True, [claims[1].token])
    (again,) = await town.scheduler.claim(demand())
    assert (again.token.execution_id, again.crashes) == (claims[1].token.execution_id, 1)
    assert (await town.shards[1].get(again.token.execution_id)).worker == "w~1"
    assert fates(await town.scheduler.commit([Commit(again.token, [], 0, completed())])) == [Fate.APPLIED]


async def test_one_that_no_shard_knows_is_not_alive(town):
    with pytest.raises(WorkerNotAlive):
        await town.scheduler.claim(demand())
    assert not (await town.scheduler.beat(beat())).alive


async def test_a_shard_that_is_away_at_the_start_joins_later(town):
    town.shards[1].away = True
    there = town.ids(1, 1)[0]
    late = town.another()
    async with late:
        await register(late, "w", lease=LEASE)
        with pytest.raises(StorageUnavailable):
            await late.get(there)
        town.shards[1].away = False
        town.advance(REST)
        assert await late.get(there) is None
        await late.start([new(there)])
        assert (await late.beat(beat(lease=LEASE))).alive
        assert [each.token.execution_id for each in await late.claim(demand())] == [there]


async def test_without_any_shard_it_does_not_open():
    town = Town()
    for shard in town.shards:
        shard.away = True
    with pytest.raises(StorageUnavailable):
        async with town.scheduler:
            raise AssertionError


async def test_a_wait_hears_of_every_shard(town):
    await register(town.scheduler)
    for shard in range(3):
        execution_id = town.ids(shard, 1)[0]
        wait = asyncio.ensure_future(town.scheduler.wait(demand(), HOUR))
        await settled()
        assert not wait.done()
        await town.scheduler.start([new(execution_id)])
        await returns(joined(wait))
        await town.scheduler.claim(demand())


async def test_a_wait_for_ends_hears_of_every_shard(town):
    for shard in range(3):
        execution_id = town.ids(shard, 1)[0]
        await town.scheduler.start([new(execution_id)])
        ending = asyncio.ensure_future(town.scheduler.wait([town.ids(number, 1)[0] for number in range(shard, 3)], HOUR))
        await settled()
        assert not ending.done()
        await town.scheduler.cancel([execution_id])
        await returns(joined(ending))


async def test_a_wait_goes_on_without_a_shard_that_went_away(town):
    await register(town.scheduler)
    town.shards[1].away = True
    wait = asyncio.ensure_future(town.scheduler.wait(demand(), HOUR))
    await settled()
    assert not wait.done()
    await town.scheduler.start([new(town.ids(2, 1)[0])])
    await returns(joined(wait))


async def test_clocks_that_disagree_hand_nothing_back_that_is_held(town):
    behind = FakeClock(town.clock.now() - timedelta(seconds=100))
    town.shards[0]._clock = behind
    first = await town.scheduler.beat(beat(register=True))
    assert first.now == now(behind), "no shard's time is behind it"
    claims = []
    for shard in range(3):
        await town.scheduler.start([new(town.ids(shard, 1)[0], delay=0)])
        claims += await town.scheduler.claim(demand())
    await town.scheduler.beat(beat(held_at=first.now))
    assert fates(await town.scheduler.commit(commits(claims))) == [Fate.APPLIED] * 3, "they were claimed after that beat"
    town.advance(1)
    behind.advance(1)
    later = await town.scheduler.beat(beat())
    await town.scheduler.beat(beat(held_at=later.now))
    assert fates(await town.scheduler.commit(commits(claims))) == [Fate.LOST] * 3, "on each shard by its own time"


async def joined(task):
    return await task
