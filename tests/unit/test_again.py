"""Saying a whole transaction again: how often, for how long, and after what."""

import pytest

from zart.errors import StorageUnavailable
from zart.schedulers.sql.again import Passing, Patience
from zart.testing import FakeClock


class Chance:
    """Always the same."""

    def __init__(self, value):
        self.value = value

    def random(self):
        return self.value


class Timed(FakeClock):
    """Lets the time of each pause pass at once, and keeps its length."""

    def __init__(self):
        super().__init__()
        self.pauses = []

    def call_later(self, seconds, callback):
        self.pauses.append(seconds)
        timer = super().call_later(seconds, callback)
        self.advance(seconds)
        return timer


def failing(times, *, takes=0.0, clock=None):
    """Return work that fails so often with something that passes."""
    done = []

    async def work():
        if takes:
            clock.advance(takes)
        done.append(1)
        if len(done) <= times:
            raise Passing("the server had to give up")
        return len(done)

    return work


async def test_it_is_said_again_until_it_is_done_with_pauses_of_full_jitter():
    clock = Timed()
    assert await Patience(60, clock=clock, randomness=Chance(0.5)).until_done(failing(4)) == 5
    assert clock.pauses == [0.025, 0.05, 0.1, 0.2]
    assert await Patience(60, clock=Timed(), randomness=Chance(0.0)).until_done(failing(1)) == 2


async def test_after_five_times_it_is_given_up_with_the_last_reason():
    work = failing(5)
    with pytest.raises(StorageUnavailable, match="had to give up; look at the server and the network") as caught:
        await Patience(60, clock=Timed(), randomness=Chance(0.5)).until_done(work)
    assert isinstance(caught.value.__cause__, Passing)
    assert await work() == 6


async def test_no_try_begins_after_the_time_is_up():
    clock = Timed()
    work = failing(2, takes=6, clock=clock)
    with pytest.raises(StorageUnavailable):
        await Patience(10, clock=clock, randomness=Chance(0.5)).until_done(work)
    assert await work() == 3


async def test_what_does_not_pass_comes_out_at_once():
    async def work():
        raise LookupError

    clock = Timed()
    with pytest.raises(LookupError):
        await Patience(10, clock=clock).until_done(work)
    assert clock.pauses == []
