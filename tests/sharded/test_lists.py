"""Lists over shards: one order, whole pages, nothing twice."""

from functools import partial
from itertools import pairwise
from random import Random

import pytest

from zart.records import Query
from zart.status import ExecutionStatus
from zart.testing.contract.scene import new


async def paged(scheduler, limit, **query):
    found, after, more = [], None, True
    while more:
        page = await scheduler.find(Query(limit=limit, after=after, **query))
        assert len(page.executions) <= limit
        assert page.executions or not page.more
        found += page.executions
        after, more = (found[-1].id if found else None), page.more
    return found


@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize("limit", [1, 2, 7, 100])
async def test_pages_are_whole_whoever_started_when(town, limit, *, descending):
    chance = Random(limit)
    ids = [f"order-{number}" for number in range(60)]
    other = town.another()
    async with other:
        starter = town.scheduler
        for each in ids:
            if chance.random() < 0.3:
                town.clock.advance(0.000001)
                starter = chance.choice([town.scheduler, other])
            await starter.start([new(each)])
    cancelled = chance.sample(ids, 20)
    await town.scheduler.cancel(cancelled)
    found = await paged(town.scheduler, limit, descending=descending)
    assert sorted(each.id for each in found) == sorted(ids)
    times = [each.created_at for each in found]
    assert times == sorted(times, reverse=descending)
    some = await paged(town.scheduler, limit, descending=descending, statuses=(ExecutionStatus.CANCELLED,))
    assert [each.id for each in some] == [each.id for each in found if each.id in cancelled]


async def test_this_processs_starts_of_one_moment_keep_their_order(town):
    ids = [f"order-{number}" for number in range(30)]
    await town.scheduler.start([new(each) for each in ids])
    assert [each.id for each in await paged(town.scheduler, 4, descending=False)] == ids
    assert [each.id for each in await paged(town.scheduler, 4)] == ids[::-1]


async def test_the_offset_counts_over_all_shards(town):
    for number in range(12):
        await town.scheduler.start([new(f"order-{number}")])
        town.clock.advance(1)
    pages = [await town.scheduler.find(Query(limit=5, offset=offset)) for offset in (0, 5, 10, 15)]
    assert [[each.id for each in page.executions] for page in pages] == [
        [f"order-{number}" for number in range(11 - offset, max(6 - offset, -1), -1)] for offset in (0, 5, 10)
    ] + [[]]
    assert [page.more for page in pages] == [True, True, False, False]
    assert all(one.executions != other.executions for one, other in pairwise(pages))


async def test_a_late_page_asks_no_shard_for_what_came_before_it(town, monkeypatch):
    for number in range(90):
        await town.scheduler.start([new(f"order-{number}")])
        town.clock.advance(1)
    asked = []

    async def find(shard, query):
        asked.append(query.limit)
        return await type(shard).find(shard, query)

    for shard in town.shards:
        monkeypatch.setattr(shard, "find", partial(find, shard))
    page = await town.scheduler.find(Query(limit=5, after="order-10"))
    assert [each.id for each in page.executions] == [f"order-{number}" for number in (9, 8, 7, 6, 5)]
    assert asked == [5, 5, 5]
