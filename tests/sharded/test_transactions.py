"""Transactions over shards: each belongs to one, and so do the executions that it speaks of."""

from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from zart import DurableScheduler, InMemoryScheduler, NotSupported, ShardedScheduler, connect, transaction, zart_durable
from zart.scheduler import Transactional
from zart.sealing import Sealed, new_key
from zart.testing.contract.scene import event, new

IDS = [f"order-{number}" for number in range(9)]


async def note(connection, execution_id):
    await connection.execute(text("INSERT INTO notes VALUES (:id)"), {"id": execution_id})


@zart_durable("noting")
async def noting(execution_id: str) -> None:
    await transaction("note", note, execution_id)


def engine_of(storage):
    return create_async_engine(f"sqlite+aiosqlite:///{storage._path}")


async def shards_with_notes(harness):
    for each in harness.scheduler._group.shards:
        engine = engine_of(each.storage)
        async with engine.begin() as connection:
            await connection.execute(text("CREATE TABLE notes (id TEXT PRIMARY KEY)"))
        await engine.dispose()


async def notes(storage):
    engine = engine_of(storage)
    async with engine.connect() as connection:
        found = list((await connection.execute(text("SELECT id FROM notes ORDER BY id"))).scalars())
    await engine.dispose()
    return found


async def test_a_steps_transaction_is_where_its_execution_is(make_harness):
    async with make_harness("sqlite")(noting) as harness:
        await shards_with_notes(harness)
        for each in IDS:
            await harness.client.start(each, "noting", each)
        await harness.run_to_idle()
        for each in IDS:
            assert (await harness.client.status(each)).status == "completed"
            assert each in await notes(harness.scheduler.shard_of(each))


async def test_start_in_counts_where_the_connection_leads(make_harness):
    async with make_harness("sqlite")(noting) as harness:
        scheduler = harness.scheduler
        here = scheduler.shard_of(IDS[0])
        there = next(each for each in IDS if scheduler.shard_of(each) is not here)
        client = DurableScheduler(scheduler)
        engine = engine_of(here)
        async with engine.begin() as connection:
            await client.start_in(connection, IDS[0], "noting", IDS[0])
        assert await scheduler.get(IDS[0]) is not None
        async with engine.connect() as connection:
            with pytest.raises(TypeError, match=rf"execution '{there}' belongs to shard \d, .*shard_of\(id\)"):
                await client.start_in(connection, there, "noting", there)
            with pytest.raises(TypeError, match=rf"execution '{there}' belongs to shard \d"):
                await scheduler.bind(connection).deliver([event(there)])
            with pytest.raises(NotSupported, match="no one transaction has both"):
                await scheduler.bind(connection).start([new(IDS[0]), new(there)])
        assert await scheduler.get(there) is None
        await engine.dispose()


async def test_what_a_transaction_says_must_be_of_its_shard(make_harness):
    async with make_harness("sqlite")(noting) as harness:
        with pytest.raises(NotSupported, match="there are several shards; open the transaction on one of them"):
            async with harness.scheduler.transaction(timedelta(seconds=1)):
                raise AssertionError


def test_storages_without_transactions_make_none():
    assert not isinstance(ShardedScheduler([InMemoryScheduler(), InMemoryScheduler()]), Transactional)


async def test_sealed_storages_may_be_shards(tmp_path):
    codec = Sealed({"k1": new_key()})
    urls = [f"sqlite:///{tmp_path}/{number}.db" for number in range(3)]
    async with ShardedScheduler([connect(url, payload_codec=codec) for url in urls]) as scheduler:
        await scheduler.migrate()
        await scheduler.start([new(each) for each in IDS])
        assert {(await scheduler.get(each)).payload for each in IDS} == {"input"}
        assert isinstance(scheduler, Transactional)
