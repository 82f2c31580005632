"""A limit of time ends what it surrounds, and nothing else."""

import asyncio

import pytest

from zart.clock import limited
from zart.testing.clock import FakeClock


class Patient:
    """Waits for ever within a limit of five seconds; what is done about it, and afterwards, is the test's."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.begun = asyncio.Event()

    async def wait(self) -> None:
        async with limited(self.clock, 5, "too late"):
            self.begun.set()
            await asyncio.Event().wait()


async def test_what_takes_longer_is_cancelled() -> None:
    patient = Patient()
    late = asyncio.ensure_future(patient.wait())
    await patient.begun.wait()
    patient.clock.advance(4)
    await asyncio.sleep(0)
    assert not late.done()
    patient.clock.advance(1)
    with pytest.raises(TimeoutError, match="too late"):
        await late


async def test_a_cancel_from_outside_goes_through() -> None:
    patient = Patient()
    cancelled = asyncio.ensure_future(patient.wait())
    await patient.begun.wait()
    cancelled.cancel()
    patient.clock.advance(5)  # at the same time
    with pytest.raises(asyncio.CancelledError):
        await cancelled


async def test_what_ends_in_time_is_left_alone() -> None:
    clock = FakeClock()
    async with limited(clock, 5, "too late"):
        pass
    clock.advance(10)
    await asyncio.sleep(0)  # nothing is left that would cancel


async def test_it_is_a_limit_in_a_task_that_is_cancelled_and_cleans_up_too() -> None:
    patient = Patient()

    async def work() -> None:
        try:
            waiting.set()
            await asyncio.Event().wait()
        finally:
            try:
                await patient.wait()
            except TimeoutError:
                told.append("too late")

    told: list[str] = []
    waiting = asyncio.Event()
    task = asyncio.ensure_future(work())
    await waiting.wait()
    task.cancel()
    await patient.begun.wait()
    patient.clock.advance(5)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert told == ["too late"]


@pytest.mark.parametrize("instead", [None, LookupError])
async def test_what_goes_on_when_it_is_cancelled_has_not_been_cancelled_afterwards(instead: type[Exception] | None) -> None:
    patient = Patient()

    async def stubborn() -> int:
        try:
            async with limited(patient.clock, 5, "too late"):
                patient.begun.set()
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    if instead is not None:
                        raise instead from None
        except LookupError:
            pass
        task = asyncio.current_task()
        assert task is not None
        return task.cancelling()

    task = asyncio.ensure_future(stubborn())
    await patient.begun.wait()
    patient.clock.advance(5)
    assert await task == 0
