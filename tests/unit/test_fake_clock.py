"""The clock that tests move by hand."""

import asyncio
import contextvars
from datetime import UTC, datetime, timedelta

import pytest

from zart.clock import Clock
from zart.spawner import ThreadSpawner
from zart.testing.clock import FakeClock

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def clock():
    return FakeClock()


def test_it_stands_still_until_it_is_moved(clock):
    assert clock.now() == clock.now() == START
    assert clock.monotonic() == 0.0


def test_it_starts_when_it_is_told():
    start = datetime(2024, 2, 29, 12, tzinfo=UTC)
    assert FakeClock(start).now() == start
    with pytest.raises(ValueError, match="time zone"):
        FakeClock(datetime(2024, 2, 29))  # noqa: DTZ001


def test_it_is_a_clock(clock):
    port: Clock = clock
    assert port.now().tzinfo is UTC


@pytest.mark.parametrize("duration", ["1h30m", 5400, 5400.0, timedelta(hours=1.5)])
def test_advancing_moves_both_times(clock, duration):
    clock.advance(duration)
    assert clock.now() == START + timedelta(hours=1.5)
    assert clock.monotonic() == 5400.0


def test_time_does_not_go_back(clock):
    with pytest.raises(ValueError, match="between 0 and 100 years"):
        clock.advance(-1)


async def test_a_jump_moves_the_wall_clock_only(clock):
    fired = []
    clock.call_later(5, lambda: fired.append(clock.now()))
    clock.jump(timedelta(days=-1))
    assert (clock.now(), clock.monotonic()) == (START - timedelta(days=1), 0.0)
    clock.jump(timedelta(days=2))
    assert not fired
    clock.advance(5)
    assert fired == [START + timedelta(days=1, seconds=5)]


async def test_timers_fire_in_order_at_their_moments(clock):
    fired = []
    for seconds in (3, 1, 2, 1):
        clock.call_later(seconds, lambda seconds=seconds: fired.append((seconds, clock.monotonic(), clock.now())))
    clock.advance(2)
    assert fired == [(seconds, float(seconds), START + timedelta(seconds=seconds)) for seconds in (1, 1, 2)]
    clock.advance(0.999999)
    assert len(fired) == 3
    clock.advance(0.000001)
    assert fired[3][0] == 3
    assert clock.monotonic() == 3.0


async def test_timers_of_one_moment_fire_in_the_order_they_were_set(clock):
    fired = []
    for number in range(5):
        clock.call_later(1, lambda number=number: fired.append(number))
    clock.advance(1)
    assert fired == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("seconds", [60, 0.1, 1 / 3, 7e-7, 86400 * 365.25])
async def test_a_timer_fires_when_just_its_time_has_passed(clock, seconds):
    fired = []
    clock.advance(0.3)
    clock.call_later(seconds, lambda: fired.append(1))
    clock.advance(timedelta(seconds=seconds))
    assert fired == [1]


async def test_a_cancelled_timer_does_not_fire(clock):
    fired = []
    timer = clock.call_later(1, lambda: fired.append("cancelled"))
    other = clock.call_later(1, lambda: fired.append("fired"))
    timer.cancel()
    clock.advance(1)
    other.cancel()
    clock.advance(1)
    assert fired == ["fired"]


async def test_a_timer_may_cancel_another_of_its_moment(clock):
    fired = []
    timers = []
    clock.call_later(1, lambda: [timer.cancel() for timer in timers])
    timers.append(clock.call_later(1, lambda: fired.append("later")))
    clock.advance(2)
    assert fired == []


async def test_timers_set_by_timers_fire_in_the_same_stretch(clock):
    fired = []

    def again():
        fired.append(clock.monotonic())
        clock.call_later(10, again)

    clock.call_later(10, again)
    clock.advance(35)
    assert fired == [10.0, 20.0, 30.0]
    clock.advance(5)
    assert fired == [10.0, 20.0, 30.0, 40.0]


async def test_a_timer_may_move_the_time_further(clock):
    clock.call_later(1, lambda: clock.advance(10))
    clock.advance(2)
    assert clock.monotonic() == 11.0


@pytest.mark.parametrize("seconds", [0, -1])
async def test_at_once_means_the_loops_next_turn(clock, seconds):
    fired = []
    clock.call_later(seconds, lambda: fired.append(1))
    cancelled = clock.call_later(seconds, lambda: fired.append(2))
    cancelled.cancel()
    assert fired == []
    await asyncio.sleep(0)
    assert fired == [1]


async def test_what_a_callback_raises_comes_out_at_its_moment(clock):
    fired = []
    clock.call_later(1, lambda: 1 / 0)
    clock.call_later(2, lambda: fired.append(2))
    with pytest.raises(ZeroDivisionError):
        clock.advance(5)
    assert clock.monotonic() == 1.0
    clock.advance(1)
    assert fired == [2]


@pytest.mark.parametrize("seconds", [0, 1])
async def test_a_timer_fires_in_an_empty_context(clock, seconds):
    variable = contextvars.ContextVar("variable", default="nobody's")
    variable.set("the test's")
    fired = []
    clock.call_later(seconds, lambda: fired.append(variable.get()))
    clock.advance(1)
    await asyncio.sleep(0)
    assert fired == ["nobody's"]


async def test_a_timer_fires_on_the_loop_it_was_set_from(clock):
    here = asyncio.get_running_loop()
    ready = asyncio.Event()
    fired = here.create_future()

    async def there():
        loop, done = asyncio.get_running_loop(), asyncio.Event()

        def fire():
            here.call_soon_threadsafe(fired.set_result, asyncio.get_running_loop() is loop is not here)
            done.set()

        clock.call_later(1, fire)
        here.call_soon_threadsafe(ready.set)
        await done.wait()

    ThreadSpawner().loop("there", there)
    await ready.wait()
    clock.advance(1)
    assert await fired


async def test_a_timer_cancelled_on_its_way_to_its_loop_does_not_fire(clock):
    timers, fired = [], []
    clock.call_later(1, lambda: [timer.cancel() for timer in timers])
    timers.append(clock.call_later(1, lambda: fired.append("cancelled")))
    # Moved in another thread: both are due and on their way here before the first of them is called.
    await ThreadSpawner().call("mover", lambda: clock.advance(1))
    await asyncio.sleep(0)
    assert clock.monotonic() == 1.0
    assert fired == []


def test_a_timer_whose_loop_is_gone_is_dropped(clock):
    async def leave():
        clock.call_later(1, lambda: 1 / 0)

    asyncio.run(leave())
    clock.advance(1)
    assert clock.monotonic() == 1.0


def test_a_timer_needs_a_loop(clock):
    with pytest.raises(RuntimeError, match="no running event loop"):
        clock.call_later(1, lambda: None)
