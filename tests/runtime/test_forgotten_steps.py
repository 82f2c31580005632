"""A step that a body makes and does nothing with is told: Python does so for coroutines, and a lost step is a lost charge."""

import asyncio
import gc
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import zart
from zart import NoActiveExecution, Registry, Step, TaskContext, TaskHandler, zart_durable, zart_step
from zart.testing import Harness, ReplayProblem, StepNotAwaited, replay_check

MESSAGE = "step 'charge-7' of execution {} was made and never awaited; write `await charge(...)`"
OUTSIDE = "made-outside"

Handler = TaskHandler[Any, Any]


@zart_step("charge-{cents}")
async def charge(cents: int, *, currency: str = "EUR") -> int:
    return cents


@Registry.step("look")
def look() -> int:
    return 1


outside = charge(1).named(OUTSIDE)


@zart_durable("forgets")
async def forgets() -> None:
    charge(7)  # the mistake


@zart_durable("forgets-and-goes-on")
async def forgets_and_goes_on() -> int:
    charge(7)
    await zart.sleep("nap", "2d")
    return await charge(8)


@zart_durable("forgets-by-another-name")
async def forgets_by_another_name() -> None:
    charge(8).named("charge-7")


@zart_durable("forgets-with-a-keyword")
async def forgets_with_a_keyword() -> None:
    charge(7, currency="CHF")


class Told:
    """Observes, and wants to know of mistakes."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def step_started(self, execution_id: str, name: str, attempt: int) -> None: ...

    def handed_over(self, execution_id: str, name: str, value: Any) -> None: ...

    def never_awaited(self, message: str) -> None:
        self.told.append(message)


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.message for each in caplog.records if each.name == "zart.context"]


@pytest.mark.parametrize("handler", [forgets, forgets_and_goes_on, forgets_by_another_name, forgets_with_a_keyword])
async def test_a_step_that_is_not_awaited_fails_the_test_and_is_in_the_log(
    handler: Handler, caplog: pytest.LogCaptureFixture
) -> None:
    async with Harness([handler]) as harness:
        handle = await harness.client.start_for(handler, "x-1", None)
        with pytest.raises(StepNotAwaited) as caught:
            await handle.result("3d")
        assert str(caught.value) == MESSAGE.format("x-1")
        await harness.advance("3d")
        assert (await handle.record()).status == "completed"  # it is told, and nothing else changes
    assert set(told(caplog)) == {str(caught.value)}
    record = next(each for each in caplog.records if each.name == "zart.context")
    assert record.levelno == logging.WARNING
    tags = record.__dict__
    assert (tags["execution_id"], tags["task"], tags["step"]) == ("x-1", handler.name, "charge-7")


async def test_a_step_that_is_not_awaited_does_not_pass_the_replay_check() -> None:
    with pytest.raises(ReplayProblem) as caught:
        await replay_check(forgets_and_goes_on)
    assert str(caught.value) == MESSAGE.format("replay-check")


async def awaited() -> None:
    await charge(1)
    await charge(2).named("two")
    await look()


async def required() -> None:
    await zart.require(charge(1))
    await zart.step(charge(2))
    await zart.step_or(charge(3), 0)
    await zart.step_or_else(charge(4), lambda _: 0)


async def scheduled() -> None:
    await zart.wait([zart.schedule(charge(1))])
    zart.schedule(charge(2))


async def side_by_side() -> None:
    await asyncio.gather(charge(1), charge(2))
    async with asyncio.TaskGroup() as group:
        group.create_task(charge(3))
    await asyncio.wait_for(charge(4), 60)
    await asyncio.shield(charge(5))
    for each in asyncio.as_completed([asyncio.create_task(charge(6))]):
        await each


async def cancelled_before_it_begins() -> None:
    task = asyncio.create_task(charge(1))
    task.cancel()
    await asyncio.wait([task])


async def parked_in_between() -> None:
    later = charge(1)
    await zart.sleep("nap", "1d")
    await later


async def kept() -> None:
    later = [charge(1)]
    later.append(charge(2))
    later.extend(charge(number) for number in (3, 4))
    either = charge(5) or charge(6)
    del later, either


async def made_outside() -> None:
    assert outside.name == OUTSIDE


async def in_a_step() -> None:
    def function() -> None:
        charge(1)

    await zart.z_step("function", function)


async def failing() -> None:
    later = charge(1)
    try:
        raise ValueError("no")
    finally:
        del later


BODIES = [awaited, required, scheduled, side_by_side, cancelled_before_it_begins, parked_in_between, kept, made_outside]


@pytest.mark.parametrize("body", [*BODIES, in_a_step])
async def test_a_step_that_is_used_is_not_told(body: Callable[[], Awaitable[None]], caplog: pytest.LogCaptureFixture) -> None:
    @zart_durable("body")
    async def durable() -> None:
        await body()

    async with Harness([durable]) as harness:
        await harness.client.start_and_wait_for(durable, "x-1", None, "2d")
    await replay_check(durable)
    assert told(caplog) == []


async def test_a_body_that_fails_is_told_nothing_more(caplog: pytest.LogCaptureFixture) -> None:
    record = await replay_check(zart_durable("fails")(failing), expect="failed")
    assert "no" in str(record.reason)
    assert told(caplog) == []


async def test_a_parked_body_that_returns_is_told_nothing(caplog: pytest.LogCaptureFixture) -> None:
    @zart_durable("stubborn")
    async def stubborn() -> None:
        later = charge(1)
        try:
            await zart.sleep("nap", "1d")
        except asyncio.CancelledError:
            return
        await later

    async with Harness([stubborn]) as harness:
        await harness.client.start_and_wait_for(stubborn, "x-1", None, "2d")
    assert told(caplog) == []


async def test_a_step_made_where_no_body_is_is_not_told(caplog: pytest.LogCaptureFixture) -> None:
    charge(7)
    with pytest.raises(NoActiveExecution):
        await charge(8)
    Step.of("charge-9", look.fn)
    assert told(caplog) == []


async def test_the_harness_leaves_it_to_an_observer_that_wants_to_know() -> None:
    strict = Told()
    async with Harness([forgets], observer=strict) as harness:
        await harness.client.start_and_wait_for(forgets, "x-1", None, "1m")
    assert strict.told == [MESSAGE.format("x-1")]


@pytest.mark.parametrize("forgotten", [False, True])
async def test_a_forgotten_step_keeps_no_body_in_memory(forgotten: bool) -> None:
    @zart_durable("holds")
    async def holds() -> None:
        held = zart.functions._body("test")  # as a step in a class may hold it

        @zart_step("with-the-context")
        def with_the_context() -> None:
            assert held is not None

        later = with_the_context()
        if not forgotten:
            await zart.wait_for_event("never")
            await later

    before = [each for each in gc.get_objects() if isinstance(each, TaskContext)]  # what other tests have left
    async with Harness([holds], observer=Told()) as harness:
        await harness.client.start_for(holds, "first", None)  # for what is made once
        await harness.run_to_idle()
        gc.collect()
        gc.disable()
        try:
            await harness.client.start_for(holds, "second", None)
            await harness.run_to_idle()
            known = set(map(id, before))
            left = [each for each in gc.get_objects() if isinstance(each, TaskContext) and id(each) not in known]
        finally:
            gc.enable()
    assert not left
