"""The map is kept on every shard, and nothing is served under another."""

import pytest

from zart import InMemoryScheduler, ShardedScheduler, SqliteScheduler
from zart.errors import SchemaMismatch, StorageUnavailable
from zart.schedulers.sharded.buckets import BUCKETS
from zart.testing.contract.scene import new


async def opened(scheduler):
    async with scheduler:
        return await scheduler.get("a")


async def migrated(shards, **options):
    await ShardedScheduler(shards, **options).migrate()
    return shards


async def test_the_same_map_is_welcome_again(tmp_path):
    files = [SqliteScheduler(tmp_path / f"{number}.db") for number in range(2)]
    async with ShardedScheduler(await migrated(files)) as scheduler:
        await scheduler.start([new("a"), new("b"), new("c")])
    again = [SqliteScheduler(tmp_path / f"{number}.db") for number in range(2)]
    await ShardedScheduler(again).migrate()
    assert (await opened(ShardedScheduler(again))).id == "a"


async def test_another_map_is_refused():
    shards = await migrated([InMemoryScheduler() for _ in range(3)])
    other = [bucket % 3 for bucket in range(BUCKETS)]
    other[7] = 2
    for refused in (opened, ShardedScheduler.migrate):
        with pytest.raises(SchemaMismatch, match=r"another map: bucket 7 is one of 1 that were on another shard; nothing"):
            await refused(ShardedScheduler(shards, buckets=other))
    with pytest.raises(SchemaMismatch, match=r"shard 0 of 2, .*was set up as one of 3 shards"):
        await opened(ShardedScheduler(shards[:2]))


async def test_another_order_is_refused():
    first, second = await migrated([InMemoryScheduler(), InMemoryScheduler()])
    with pytest.raises(SchemaMismatch, match=r"was set up as shard [01]; give the shards in their order"):
        await opened(ShardedScheduler([second, first]))


async def test_two_names_of_one_storage_are_found_out(tmp_path):
    with pytest.raises(
        SchemaMismatch, match=r"shard 1 of 2, .*was set up as shard 0; give the shards in their order, each once"
    ):
        await ShardedScheduler([SqliteScheduler(tmp_path / "one.db"), SqliteScheduler(tmp_path / "one.db")]).migrate()


async def test_shards_of_different_storages_are_not_mixed():
    one, other = [await migrated([InMemoryScheduler(), InMemoryScheduler()]) for _ in range(2)]
    for refused in (opened, ShardedScheduler.migrate):
        with pytest.raises(SchemaMismatch, match="belongs to other shards than the first of these"):
            await refused(ShardedScheduler([one[0], other[1]]))


async def test_an_empty_storage_in_the_place_of_the_first_is_refused():
    _, second = await migrated([InMemoryScheduler(), InMemoryScheduler()])
    with pytest.raises(SchemaMismatch, match=r"shard 0, .* has no map while others have; is it the right database\?"):
        await ShardedScheduler([InMemoryScheduler(), second]).migrate()


async def test_without_its_place_a_shard_serves_nothing():
    first, _ = await migrated([InMemoryScheduler(), InMemoryScheduler()])
    second = InMemoryScheduler()
    async with ShardedScheduler([first, second]) as scheduler:
        here, there = (next(each for each in "abcdefgh" if scheduler.shard_of(each) is shard) for shard in (first, second))
        assert await scheduler.get(here) is None
        with pytest.raises(SchemaMismatch, match=r"shard 1, .* has not been given its place; run migrate"):
            await scheduler.get(there)
        await scheduler.migrate()
        assert await scheduler.get("a") is None


async def test_executions_of_before_are_not_lost_sight_of():
    old = InMemoryScheduler()
    await old.start([new("a")])
    with pytest.raises(SchemaMismatch, match=r"has executions that were started without shards"):
        await ShardedScheduler([InMemoryScheduler(), old]).migrate()
    await ShardedScheduler([old]).migrate()
    assert (await opened(ShardedScheduler([old]))).id == "a"


async def test_shards_that_are_not_migrated_say_so(tmp_path):
    async with ShardedScheduler([SqliteScheduler(tmp_path / f"{number}.db") for number in range(2)]) as scheduler:
        with pytest.raises(SchemaMismatch, match="has no Zart tables"):
            await scheduler.get("a")
        await scheduler.migrate()
        assert await scheduler.get("a") is None


async def test_it_cannot_be_migrated_in_part(town):
    town.shards[1].away = True
    with pytest.raises(StorageUnavailable):
        await ShardedScheduler(town.shards).migrate()
