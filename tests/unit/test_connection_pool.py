"""Connections that are handed out in turn, on any number of loops, in any number of processes."""

import asyncio
import gc

import pytest

from zart.errors import StorageUnavailable
from zart.schedulers.sql import pool as pooling
from zart.schedulers.sql.pool import Pool, Pools


class Wire:
    """A connection."""

    def __init__(self):
        self.is_usable = True
        self.dropped = 0

    def drop(self):
        self.dropped += 1


class Server:
    """Opens wires, unless something is wrong, and when it may."""

    def __init__(self):
        self.wires = []
        self.error = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def connect(self):
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        self.wires.append(Wire())
        return self.wires[-1]

    def pools(self, size=2):
        return Pools(lambda: Pool("there", size, self.connect, lambda wire: wire.is_usable, Wire.drop))


@pytest.fixture
async def server():
    return Server()


async def test_what_is_given_back_sound_is_used_again_and_the_rest_is_dropped(server):
    pools = server.pools()
    pool = pools.here()
    first = await pool.take()
    pool.give_back(first, sound=True)
    assert await pool.take() is first
    pool.give_back(first, sound=False)
    second = await pool.take()
    assert (first.dropped, second is first) == (1, False)
    pool.give_back(second, sound=True)
    second.is_usable = False
    assert await pool.take() not in {first, second}
    assert second.dropped == 1
    await pools.close()
    assert [each.dropped for each in server.wires] == [1, 1, 1]


async def test_turns_go_by_the_order_of_asking_whoever_gives_up(server):
    pools = server.pools(1)
    pool = pools.here()
    held = await pool.take()
    order = []

    async def want(name):
        wire = await pool.take()
        order.append(name)
        pool.give_back(wire, sound=True)

    tasks = [asyncio.create_task(want(name)) for name in "abcd"]
    await asyncio.sleep(0)
    tasks[1].cancel()
    pool.give_back(held, sound=True)
    tasks[0].cancel()  # after its turn has come
    await asyncio.gather(*tasks, return_exceptions=True)
    assert order == ["c", "d"]
    await pools.close()


async def test_who_cannot_connect_leaves_his_turn(server):
    pools = server.pools(1)
    server.error = ConnectionRefusedError()
    for _ in range(3):
        with pytest.raises(ConnectionRefusedError):
            await pools.here().take()
    server.error = None
    assert (await pools.here().take()).is_usable
    await pools.close()


async def test_closing_waits_for_nobody_and_tells_those_who_wait(server):
    pools = server.pools(1)
    pool = pools.here()
    server.gate.clear()
    opening, waiting = asyncio.create_task(pool.take()), asyncio.create_task(pool.take())
    await asyncio.sleep(0)
    await pools.close()
    for each in (opening, waiting):
        with pytest.raises(StorageUnavailable, match="the scheduler of there was closed meanwhile"):
            await each
    assert server.wires == []


async def test_a_child_leaves_to_its_parent_what_the_parent_has_opened(server, monkeypatch):
    pools = server.pools()
    pool = pools.here()
    used, free = await pool.take(), await pool.take()
    pool.give_back(free, sound=True)
    with monkeypatch.context() as child:
        child.setattr(pooling.os, "getpid", lambda: -1)
        child.setattr(pooling, "_inherited", [])
        own = await pools.here().take()
        assert own not in {used, free}
        await pools.close()
        assert [each.dropped for each in (used, free, own)] == [0, 0, 1]
        another = server.pools()
        await another.here().take()
    gc.collect()
    assert [each.dropped for each in (used, free)] == [0, 0]
    assert pool.keeper is not None
    pool.keeper.cancel()
    await asyncio.wait([pool.keeper])
    await another.close()
