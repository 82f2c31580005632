"""The thread that beats looks after the loop: one that does not turn deserves no lease, one that was put to sleep does."""

import asyncio

import pytest

from zart.heartbeat import Pulse
from zart.testing.clock import FakeClock

INTERVAL, MAX_STALL = 1.0, 4.0


class Standing:
    """A loop that turns when it is told to."""

    def __init__(self):
        self.calls = []

    def call_soon_threadsafe(self, callback, *arguments):
        self.calls.append((callback, arguments))

    def turn(self):
        calls, self.calls = self.calls, []
        for callback, arguments in calls:
            callback(*arguments)


class Here:
    """A spawner that leaves the thread's work to the test."""

    def stack(self):
        return lambda: "somewhere"

    def loop(self, name, run):
        self.run = run


class Beats:
    """A heartbeat that counts; each beat may take a while."""

    lease = 30.0

    def __init__(self, clock):
        self.clock = clock
        self.number = 0
        self.takes = 0.0

    async def once(self):
        self.clock.advance(self.takes)
        self.number += 1


@pytest.fixture
async def scene():
    clock, here, loop = FakeClock(), Here(), Standing()
    beats = Beats(clock)
    pulse = Pulse(beats, here, INTERVAL, MAX_STALL, lambda _: None)
    pulse._owner = loop
    running = asyncio.ensure_future(here.run())

    async def passes(seconds):
        """Let time pass and the thread do what it then does; return how many beats that were."""
        before = beats.number
        await settled()
        clock.advance(seconds)
        await settled()
        return beats.number - before

    yield passes, loop, beats
    pulse.stop()
    await running


async def settled():
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_loop_that_does_not_turn_is_given_up_and_beaten_for_again_when_it_does(scene, caplog):
    passes, loop, _ = scene
    assert [await passes(INTERVAL) for _ in range(7)] == [1, 1, 1, 1, 0, 0, 0]
    assert [each.message.split(";")[0] for each in caplog.records if each.levelname == "ERROR"] == [
        "the event loop has not turned for 4 s, giving the lease up"
    ]
    (warning,) = [each.message for each in caplog.records if each.levelname == "WARNING"]
    assert warning.endswith("; make it a plain function, which gets a thread, or use asyncio.to_thread")
    loop.turn()
    assert [await passes(INTERVAL) for _ in range(2)] == [1, 1]


async def test_a_process_that_was_stopped_for_long_beats_on(scene, caplog):
    passes, loop, _ = scene
    assert await passes(INTERVAL) == 1
    loop.turn()
    assert await passes(10 * MAX_STALL) == 1
    loop.turn()
    assert await passes(INTERVAL) == 1
    assert not caplog.records


async def test_a_storage_that_is_slow_is_not_taken_for_a_loop_that_does_not_turn(scene, caplog):
    passes, loop, beats = scene
    beats.takes = 10 * MAX_STALL
    for _ in range(3):
        assert await passes(INTERVAL) == 1
        loop.turn()
    assert not caplog.records
