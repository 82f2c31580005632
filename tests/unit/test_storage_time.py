"""Storage's time as a worker sees it, between the answers that tell it."""

from datetime import timedelta

from zart.clock import SECOND
from zart.heartbeat import StorageTime
from zart.testing import FakeClock


def test_it_moves_on_by_itself() -> None:
    clock = FakeClock()
    time = StorageTime(clock)
    time.tell(1000 * SECOND)
    clock.advance(timedelta(seconds=3))
    assert time.now() == 1003 * SECOND


def test_an_answer_that_was_long_on_its_way_does_not_set_it_back() -> None:
    clock = FakeClock()
    time = StorageTime(clock)
    time.tell(1000 * SECOND)
    clock.advance(timedelta(seconds=3))
    time.tell(1002 * SECOND)
    assert time.now() == 1003 * SECOND


def test_a_clock_that_runs_faster_than_storages_is_never_ahead_for_long() -> None:
    clock = FakeClock()
    time = StorageTime(clock)
    time.tell(1000 * SECOND)
    for second in range(1, 100):
        clock.advance(timedelta(seconds=1.01))
        time.tell((1000 + second) * SECOND)
        assert time.now() <= (1000 + second) * SECOND + SECOND // 5


def test_it_follows_a_storage_whose_clock_was_set_back() -> None:
    clock = FakeClock()
    time = StorageTime(clock)
    time.tell(1000 * SECOND)
    clock.advance(timedelta(seconds=11))
    time.tell(500 * SECOND)
    assert time.now() == 500 * SECOND
