"""Hints: `wait` returns when something of interest may have happened, and never outlasts its limit."""

# ruff: noqa: S101, D102 (asserts are the point; a test's name is its sentence)

import asyncio
from collections.abc import Awaitable, Callable, Collection
from datetime import timedelta

import pytest

from zart.clock import SECOND
from zart.records import SUSPECT, Demand
from zart.scheduler import Storage
from zart.testing.clock import FakeClock
from zart.testing.contract.scene import (
    Scene,
    beat,
    claim,
    commit,
    completed,
    crashed,
    deliver,
    demand,
    event,
    new,
    now,
    register,
    returns,
    running,
    waiting,
)

HOUR = timedelta(hours=1)


async def _settled() -> None:
    """Let a task that was just made come to rest, as far as it can without the world outside."""
    for _ in range(20):
        await asyncio.gather(_nothing())


async def _nothing() -> None:
    return


class Hints(Scene):
    """What wakes a `wait` whose limit is an hour on a clock that stands still; what is said here may come early, not never."""

    async def wakes(
        self, scheduler: Storage, interest: Demand | Collection[str], happening: Callable[[], Awaitable[object]]
    ) -> None:
        """Make sure that a wait for something returns when it happens."""
        wait = asyncio.ensure_future(scheduler.wait(interest, HOUR))
        try:
            await _settled()
            await happening()
            await returns(_joined(wait))
        finally:
            wait.cancel()

    async def test_a_wait_returns_when_work_is_started(self, scheduler: Storage) -> None:
        await register(scheduler)
        await self.wakes(scheduler, demand(), lambda: scheduler.start([new()]))
        assert len(await scheduler.claim(demand())) == 1

    async def test_a_wait_returns_when_mail_makes_an_execution_due(self, scheduler: Storage) -> None:
        (claimed,) = await running(scheduler, "a")
        await commit(scheduler, claimed, move=waiting(seen=0))
        await self.wakes(scheduler, demand(), lambda: scheduler.deliver([event()]))
        assert (await claim(scheduler)).seen == 1

    async def test_a_wait_returns_when_a_move_makes_an_execution_due(self, scheduler: Storage, clock: FakeClock) -> None:
        (claimed,) = await running(scheduler, "a")
        await self.wakes(scheduler, demand(), lambda: commit(scheduler, claimed, move=waiting(now(clock))))

    async def test_a_wait_returns_when_a_beat_hands_an_execution_back(self, scheduler: Storage, clock: FakeClock) -> None:
        await running(scheduler, "a")
        clock.advance(1)
        assert list(await scheduler.claim(demand())) == []
        await self.wakes(scheduler, demand(), lambda: scheduler.beat(beat(held_at=now(clock))))
        assert (await claim(scheduler)).token.execution_id == "a"

    async def test_a_wait_returns_at_once_when_work_is_due_already(self, scheduler: Storage) -> None:
        await register(scheduler)
        await scheduler.start([new()])
        await returns(scheduler.wait(demand(), HOUR))

    async def test_a_wait_that_may_have_suspects_does_not_trust_one_that_might_not(
        self, scheduler: Storage, clock: FakeClock
    ) -> None:
        await crashed(scheduler, clock, SUSPECT, "a")
        await register(scheduler)
        assert list(await scheduler.claim(demand(suspects=0))) == []
        await scheduler.wait(demand(suspects=0), timedelta(0))  # which looks, and finds nothing for it
        await returns(scheduler.wait(demand(suspects=1), HOUR))

    async def test_all_who_wait_for_work_hear_of_it(self, scheduler: Storage) -> None:
        await register(scheduler, "v", "w")
        waits = [asyncio.ensure_future(scheduler.wait(demand(worker), HOUR)) for worker in ("v", "w")]
        try:
            await _settled()
            await scheduler.start([new()])
            for wait in waits:
                await returns(_joined(wait))
        finally:
            for wait in waits:
                wait.cancel()

    @pytest.mark.parametrize("how", ["complete", "cancel"])
    async def test_a_wait_returns_at_the_end_of_an_execution(self, scheduler: Storage, how: str) -> None:
        (claimed, _) = await running(scheduler, "a", "b")

        async def end() -> None:
            if how == "cancel":
                await scheduler.cancel(["a"])
            else:
                await commit(scheduler, claimed, move=completed())

        await self.wakes(scheduler, ["a", "b"], end)

    async def test_a_wait_returns_at_once_when_the_end_has_come_already(self, scheduler: Storage) -> None:
        await scheduler.start([new()])
        await scheduler.cancel(["a"])
        await returns(scheduler.wait({"a"}, HOUR))

    @pytest.mark.parametrize("interest", [demand(), ("a", "unknown")], ids=["demand", "ids"])
    async def test_a_wait_never_outlasts_its_limit(
        self, scheduler: Storage, clock: FakeClock, interest: Demand | Collection[str]
    ) -> None:
        await register(scheduler)
        await scheduler.start([new(delay=3600 * SECOND)])
        wait = asyncio.ensure_future(scheduler.wait(interest, timedelta(seconds=1)))
        await _settled()
        clock.advance(1)
        await returns(_joined(wait))

    async def test_a_wait_without_a_limit_to_speak_of_returns(self, scheduler: Storage) -> None:
        await register(scheduler)
        await returns(scheduler.wait(demand(), timedelta(0)))
        await returns(scheduler.wait([], timedelta(0)))

    async def test_a_wait_for_a_timer_returns_when_it_is_due_or_at_its_limit(
        self, scheduler: Storage, clock: FakeClock
    ) -> None:
        await register(scheduler)
        await scheduler.start([new(delay=60 * SECOND)])
        wait = asyncio.ensure_future(scheduler.wait(demand(), timedelta(seconds=61)))
        await _settled()
        clock.advance(60)
        await _settled()
        clock.advance(1)
        await returns(_joined(wait))
        assert len(await scheduler.claim(demand())) == 1

    async def test_a_wait_may_be_given_up(self, scheduler: Storage) -> None:
        await register(scheduler)
        wait = asyncio.ensure_future(scheduler.wait(demand(), HOUR))
        await _settled()
        wait.cancel()
        assert isinstance((await asyncio.gather(wait, return_exceptions=True))[0], asyncio.CancelledError)
        await self.wakes(scheduler, demand(), lambda: scheduler.start([new()]))

    async def test_waiting_takes_nothing_from_a_claim(self, scheduler: Storage) -> None:
        await register(scheduler)
        await scheduler.start([new()])
        await deliver(scheduler, event())
        await returns(scheduler.wait(demand(), HOUR))
        await returns(scheduler.wait(demand(), HOUR))
        assert (await claim(scheduler)).seen == 1


async def _joined(wait: asyncio.Future[None]) -> None:
    await wait
