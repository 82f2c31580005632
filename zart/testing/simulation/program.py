"""Random bodies: compositions of every operation, each a pure function of the number that it is made of.

A body takes down what it is handed, in the order in which it is handed it. Names carry what the witness needs: a sleep's its
length, a wait's its event and its timeout.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from zart.clock import Clock, pause
from zart.context import TaskContext
from zart.durations import Duration
from zart.errors import ZartError
from zart.functions import context
from zart.outcome import BusinessErr, Ok
from zart.retry import RetryConfig
from zart.steps import Step
from zart.testing.simulation.loop import PROCESS, Process

Seen = list[list[Any]]
"""What a body was handed: name, value or error in words, and whether it took it down when it was handed it."""
Play = Callable[[TaskContext, Seen], Awaitable[None]]
EVENTS = ("go", "more")


class OutOfStock(Exception):
    """A business error of the workflows."""


class World:
    """What the functions of steps reach: clock and chance of the process that they run in, and the way to kill it."""

    def __init__(self) -> None:
        self.clocks: dict[str, Clock] = {}
        self.chances: dict[str, Callable[[], float]] = {}
        self.crash: Callable[[Process], None] = lambda _: None
        self.worked: Callable[[str], None] = lambda _: None

    def here(self) -> Process:
        """Return the process that runs."""
        process = PROCESS.get()
        if process is None:
            raise RuntimeError("this runs in no simulated process")
        return process

    async def work(self, seconds: float) -> None:
        """Take some time."""
        await pause(self.clocks[self.here().name], seconds)
        self.worked(context().execution_id)

    def chance(self) -> float:
        """Return a number that no other call returns."""
        return self.chances[self.here().name]()


class Program:
    """A body and how it ends, made out of a number."""

    def __init__(self, seed: int, world: World) -> None:
        self._chance = random.Random(seed)  # noqa: S311 # one number must reproduce a run; nothing here is a secret
        self._world = world
        self._names = 0
        self.failing_attempts: int = self._chance.choice((0, 0, 0, 0, 1, 2))
        """So many first attempts of the body fail at their end."""
        self.play: Play = self._composition(self._chance.choice((1, 2, 2, 3)))

    def _name(self, kind: str) -> str:
        self._names += 1
        return f"{kind}{self._names}"

    def _leaf(self) -> Play:
        kind = self._chance.random()
        if kind < 0.5:
            return self._step()
        if kind < 0.65:
            return self._sleep()
        if kind < 0.85:
            return self._wait()
        return self._capture()

    def _step(self) -> Play:
        chance, world = self._chance, self._world
        name = self._name("s")
        length = chance.choice((0.0, 0.0, 0.05, 0.3, 2.0, 6.0))
        fails, hops, exits = chance.choice((0, 0, 0, 0, 1, 2, 9)), chance.choice((0, 0, 1, 3)), chance.random()
        retry = RetryConfig.fixed(2, chance.choice((0.05, 1, 8))) if chance.random() < 0.6 else RetryConfig.none()
        timeout: Duration | None = 4 if chance.random() < 0.15 else None
        business, goes_on = chance.random() < 0.3, chance.random() < 0.93

        def result(attempt: int) -> list[Any]:
            if attempt <= fails:
                raise OutOfStock(name) if business else ValueError(name)
            return [name, world.chance()]

        async def work() -> list[Any]:
            for _ in range(hops):
                await asyncio.sleep(0)
            if length:
                await world.work(length)
            return result(context().current_attempt + 1)

        def call_in_thread() -> list[Any]:
            return result(context().current_attempt + 1)

        fn: Callable[..., Any] = call_in_thread if exits < 0.2 else work

        async def play(ctx: TaskContext, seen: Seen) -> None:
            took = ctx.step(name, fn, returns=list[Any], retry=retry, timeout=timeout, raises=OutOfStock)
            await _take_down(seen, name, took, goes_on=goes_on)

        return play

    def _sleep(self) -> Play:
        length = self._chance.choice((0, 0.2, 1, 3, 12, 25))
        name = f"{self._name('z')}:{length}"

        async def play(ctx: TaskContext, seen: Seen) -> None:
            await _take_down(seen, name, ctx.sleep(name, length))

        return play

    def _wait(self) -> Play:
        event, timeout = self._chance.choice(EVENTS), self._chance.choice((0, 0.5, 5, 20, 40))
        name = f"{self._name('w')}:{event}:{timeout}"

        async def play(ctx: TaskContext, seen: Seen) -> None:
            await _take_down(seen, name, ctx.wait_for_event(event, name=name, timeout=timeout))

        return play

    def _capture(self) -> Play:
        name = self._name("c")
        what = self._chance.randrange(3)

        async def play(ctx: TaskContext, seen: Seen) -> None:
            if what == 0:
                await _take_down(seen, name, ctx.random(name))
            elif what == 1:
                await _take_down(seen, name, _as_text(ctx.uuid(name)))
            else:
                await _take_down(seen, name, ctx.capture(name, self._world.chance))

        return play

    def _composition(self, depth: int) -> Play:
        if depth == 0 or self._chance.random() < 0.1:
            return self._leaf()
        shape = self._chance.choice((_sequence, _sequence, _gather, _group, self._race))
        if self._chance.random() < 0.12:
            return self._scheduled()
        return shape([self._composition(depth - 1) for _ in range(self._chance.randint(2, 3))])

    def _race(self, parts: list[Play]) -> Play:
        """Go on with a step that is named after who was first: so a replay with another winner is found out."""
        name, world = self._name("r"), self._world

        async def prize() -> float:
            return world.chance()

        async def play(ctx: TaskContext, seen: Seen) -> None:
            tasks = [asyncio.create_task(_run(part, ctx, seen)) for part in parts]
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                first = "".join(str(number) for number, task in enumerate(tasks) if task.done())
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            await _take_down(seen, f"{name}.{first}", ctx.step(f"{name}.{first}", prize))

        return play

    def _scheduled(self) -> Play:
        world = self._world
        plan = [(self._name("h"), self._chance.choice((0.0, 0.5, 3.0)), self._chance.random() < 0.25) for _ in range(3)]
        waits = self._chance.randint(0, 3)

        async def play(ctx: TaskContext, seen: Seen) -> None:
            handles = [ctx.schedule(_scheduled_step(world, *each)) for each in plan]
            for (name, _, _), outcome in zip(plan[:waits], await ctx.wait(handles[:waits]), strict=True):
                match outcome:
                    case Ok(value):
                        seen.append([name, value, False])
                    case BusinessErr(error):
                        seen.append([name, words(error), False])
                    case _:
                        seen.append([name, words(outcome.error), False])

        return play


def _scheduled_step(world: World, name: str, length: float, fails: bool) -> Step[list[Any]]:
    async def work() -> list[Any]:
        if length:
            await world.work(length)
        if fails:
            raise OutOfStock(name)
        return [name, world.chance()]

    return Step.of(name, work, returns=list[Any], raises=OutOfStock)


def words(error: BaseException) -> str:
    """Return an error as text to compare."""
    return f"{type(error).__name__}: {error}"


async def _take_down(seen: Seen, name: str, operation: Awaitable[Any], *, goes_on: bool = True) -> None:
    try:
        value = await operation
    except (ZartError, OutOfStock) as error:
        seen.append([name, words(error), True])
        if not goes_on:
            raise
    else:
        seen.append([name, value, True])


async def _as_text(operation: Awaitable[Any]) -> str:
    return str(await operation)


async def _run(part: Play, ctx: TaskContext, seen: Seen) -> None:
    await part(ctx, seen)


def _sequence(parts: list[Play]) -> Play:
    async def play(ctx: TaskContext, seen: Seen) -> None:
        for part in parts:
            await part(ctx, seen)

    return play


def _gather(parts: list[Play]) -> Play:
    async def play(ctx: TaskContext, seen: Seen) -> None:
        await asyncio.gather(*(part(ctx, seen) for part in parts), return_exceptions=True)

    return play


def _group(parts: list[Play]) -> Play:
    async def play(ctx: TaskContext, seen: Seen) -> None:
        with suppress(ExceptionGroup):
            async with asyncio.TaskGroup() as group:
                for part in parts:
                    group.create_task(_run(part, ctx, seen))

    return play
