"""When a step's function begins."""

import asyncio
from types import SimpleNamespace

from zart.calls import StepCall
from zart.codec import ANY
from zart.observe import Unobserved
from zart.pool import TaskPool
from zart.steps import PLAIN


async def test_the_lease_is_looked_at_when_the_function_begins_and_not_when_it_is_asked_for() -> None:
    begun: list[str] = []
    held_back: list[StepCall] = []
    settled = asyncio.Event()
    fresh = True

    def may_start(call: StepCall) -> bool:
        if not fresh:
            held_back.append(call)
        return fresh

    async def charge() -> None:
        begun.append("charge")

    loop = asyncio.get_running_loop()
    pool = TaskPool(loop)
    desk = SimpleNamespace(
        loop=loop,
        pool=pool,
        raises=(),
        observer=Unobserved(),
        info=SimpleNamespace(execution_id="order-1"),
        payload_limit=100,
        may_start=may_start,
        settle=lambda *_: settled.set(),
    )
    call = StepCall(desk, "charge", charge, (), PLAIN, ANY)  # type: ignore[arg-type] # as much of a desk as it asks for
    call.begin(None, None)
    fresh = False  # as after a call that has blocked the loop
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (held_back, begun, call.attempts) == ([call], [], 0)
    fresh = True
    call.resume()
    await settled.wait()
    assert (begun, call.attempts) == (["charge"], 1)
    pool.close()
