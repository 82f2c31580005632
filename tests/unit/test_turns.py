"""A body rests when nothing of it is queued, and not a turn earlier."""

import asyncio
from collections.abc import Awaitable, Callable, Generator
from contextvars import copy_context
from typing import Any

import pytest

from zart.turns import CURRENT, Turns, install


class _Scope:
    unused = None

    def __init__(self, turns: Turns) -> None:
        self.turns = turns


def play(body: Callable[[], Awaitable[Any]], rests: list[str], state: list[str]) -> tuple[Turns, asyncio.Task[Any]]:
    """Start a body and note its state at each rest."""
    loop = asyncio.get_running_loop()
    install(loop)
    turns = Turns(lambda: rests.append(state[-1]))
    context = copy_context()
    context.run(CURRENT.set, _Scope(turns))
    return turns, loop.create_task(_run(body), context=context)


async def _run(body: Callable[[], Awaitable[Any]]) -> Any:
    return await body()


@pytest.mark.parametrize("hops", [0, 1, 50])
async def test_a_body_that_hops_does_not_rest_before_it_waits(hops: int) -> None:
    rests: list[str] = []
    state = ["moving"]
    gate = asyncio.get_running_loop().create_future()
    waiting = asyncio.Event()

    async def body() -> None:
        for _ in range(hops):
            await asyncio.sleep(0)
        state.append("waiting")
        waiting.set()
        await gate
        state.append("done")

    turns, task = play(body, rests, state)
    await waiting.wait()
    assert set(rests) <= {"waiting"}
    gate.set_result(None)
    assert not turns.resting
    await task
    assert "moving" not in rests
    assert rests[-1] == "done"


async def test_a_cancelled_callback_does_not_keep_a_body_from_resting() -> None:
    rests: list[str] = []
    state = ["moving"]

    async def body() -> None:
        asyncio.get_running_loop().call_soon(state.append, "never").cancel()
        state.append("cancelled one")

    turns, task = play(body, rests, state)
    await task
    assert turns.resting
    assert rests == ["cancelled one"]
    assert "never" not in state


async def test_tasks_of_a_body_hash_by_the_order_of_their_creation() -> None:
    orders = []

    async def body() -> None:
        tasks = {asyncio.create_task(asyncio.sleep(0), name=str(n)) for n in range(20)}
        orders.append([task.get_name() for task in tasks])
        await asyncio.gather(*tasks)

    for _ in range(3):
        _, task = play(body, [], [""])
        await task
    assert orders[0] == orders[1] == orders[2]


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt()])
async def test_an_exit_stays_in_the_task_that_raised_it(error: BaseException) -> None:
    async def body() -> None:
        raise error

    _, task = play(body, [], [""])
    done, _ = await asyncio.wait([task])
    assert done.pop().exception() is error


async def test_what_is_no_body_is_not_counted() -> None:
    rests: list[str] = []
    turns, task = play(lambda: asyncio.sleep(0), rests, [""])
    await task
    seen = len(rests)
    await asyncio.create_task(asyncio.sleep(0))
    assert turns.resting
    assert len(rests) == seen


async def test_a_task_of_a_body_takes_whatever_can_be_awaited() -> None:
    class Answers:
        def __await__(self) -> Generator[Any, None, int]:
            yield from asyncio.sleep(0).__await__()
            return 42

    answers: Any = Answers()

    async def body() -> list[int]:
        tasks = [asyncio.create_task(answers) for _ in range(2)]
        return [await task for task in tasks]

    _, task = play(body, [], ["moving"])
    assert await task == [42, 42]
    with pytest.raises(TypeError, match="a coroutine was expected"):
        await asyncio.create_task(answers)  # outside a body nothing is different


async def test_a_task_of_a_body_refuses_what_cannot_be_awaited() -> None:
    async def body() -> None:
        nothing: Any = 3
        with pytest.raises(TypeError, match="a coroutine was expected"):
            await asyncio.create_task(nothing)

    _, task = play(body, [], ["moving"])
    await task


async def test_cancelled_callbacks_do_not_pile_up() -> None:
    many = 200
    most = 0
    state = ["moving"]

    async def body() -> None:
        nonlocal most
        for _ in range(many):
            asyncio.get_running_loop().call_soon(state.append, "called").cancel()
            await asyncio.sleep(0)
            most = max(most, len(turns.queued))

    turns, task = play(body, [], state)
    await task
    assert most < many / 10
    assert state == ["moving"]
