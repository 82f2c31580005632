"""The loop under the simulation: virtual time, first in first out, and processes that vanish or stand still."""

import asyncio
import signal
from contextvars import Context

import pytest

from zart.testing.simulation.loop import Process, SimulationLoop, SimulationStuck

MOST = 10_000


@pytest.fixture
def loop():
    loop = SimulationLoop()
    yield loop
    loop.close()


def test_time_passes_only_when_nothing_is_ready(loop):
    seen = []

    async def main():
        loop.call_later(3600, seen.append, "an hour")
        loop.call_later(0.5, seen.append, "half a second")
        for number in range(3):
            seen.append((number, loop.time()))
            await asyncio.sleep(0)
        await asyncio.sleep(7200)
        return loop.time()

    assert loop.play(main(), MOST) == 7200
    assert seen == [(0, 0), (1, 0), (2, 0), "half a second", "an hour"]


def test_callbacks_run_in_the_order_in_which_they_were_queued(loop):
    seen = []

    async def main():
        for number in range(5):
            loop.call_soon(seen.append, number)
        loop.call_at(1, seen.append, "first of one time")
        loop.call_at(1, seen.append, "second")
        loop.call_soon_threadsafe(seen.append, 5).cancel()
        await asyncio.sleep(1)
        await asyncio.sleep(0)

    loop.play(main(), MOST)
    assert seen == [0, 1, 2, 3, 4, "first of one time", "second"]


def test_what_was_killed_never_runs_again_not_even_its_clean_up(loop):
    process, seen = Process("victim"), []

    async def life():
        try:
            seen.append("begins")
            await asyncio.sleep(1)
            seen.append("goes on")
        finally:
            seen.append("cleans up")

    async def main():
        loop.spawn(life(), process, "life")
        await asyncio.sleep(0.5)
        process.alive = False
        await asyncio.sleep(10)

    loop.play(main(), MOST)
    assert seen == ["begins"]
    loop.bury([process])
    assert seen == ["begins", "cleans up"]


def test_the_timers_of_a_paused_process_ring_when_it_goes_on(loop):
    process, seen = Process("sleeper"), []

    async def life():
        for _ in range(3):
            await asyncio.sleep(1)
            seen.append(loop.time())

    async def main():
        task = loop.spawn(life(), process, "life")
        await asyncio.sleep(1.5)
        process.paused = True
        await asyncio.sleep(8)
        loop.resume(process)
        await task

    loop.play(main(), MOST)
    assert seen == [1, 9.5, 10.5]


def test_a_task_of_a_task_belongs_to_the_same_process(loop):
    process, seen = Process("parent"), []

    async def child():
        await asyncio.sleep(1)
        seen.append("child")

    async def life():
        await asyncio.gather(child(), child())

    async def main():
        loop.spawn(life(), process, "life")
        await asyncio.sleep(0.5)
        process.alive = False
        await asyncio.sleep(5)

    loop.play(main(), MOST)
    assert not seen
    loop.bury([process])


@pytest.mark.parametrize("callbacks", [0, 1, 7])
def test_a_process_can_be_struck_after_any_number_of_its_callbacks(loop, callbacks):
    process, seen = Process("victim"), []

    async def life():
        while True:
            seen.append(1)
            await asyncio.sleep(0)

    async def main():
        loop.spawn(life(), process, "life")

        def kill():
            process.alive = False

        process.after(callbacks, kill)
        await asyncio.sleep(1)

    loop.play(main(), MOST)
    assert len(seen) == callbacks
    loop.bury([process])


def test_what_can_never_go_on_is_told(loop):
    async def main():
        await loop.create_future()

    with pytest.raises(SimulationStuck, match="nothing is ready and no timer is set"):
        loop.play(main(), MOST)
    loop.bury([])


def test_endless_turning_is_told(loop):
    async def main():
        while True:
            await asyncio.sleep(0)

    with pytest.raises(SimulationStuck, match="10000 callbacks were not enough"):
        loop.play(main(), MOST)
    loop.bury([])


def test_an_instant_without_end_is_told(loop, monkeypatch):
    monkeypatch.setattr("zart.testing.simulation.loop.LONGEST_INSTANT", 100)

    async def main():
        await asyncio.sleep(1)
        while True:
            await asyncio.sleep(0)

    with pytest.raises(SimulationStuck, match=r"time does not pass any more at 1\.000 s"):
        loop.play(main(), MOST)
    loop.bury([])


def test_an_error_that_nobody_awaits_is_kept_and_ends_nothing(loop):
    def fail():
        raise ValueError("nobody looks")

    async def main():
        loop.call_soon(fail, context=Context())
        await asyncio.sleep(1)

    loop.play(main(), MOST)
    assert len(loop.faults) == 1
    assert "nobody looks" in loop.faults[0]


def test_there_is_no_world_outside(loop):
    with pytest.raises(NotImplementedError):
        loop.add_reader(0, print)
    with pytest.raises(NotImplementedError):
        loop.add_signal_handler(signal.SIGTERM, print)
