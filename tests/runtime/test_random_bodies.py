"""Random bodies that compose asyncio freely replay as they ran, with a crash after every save."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from zart import EventTimeout, StepFailed, TaskContext, TaskHandler
from zart.testing import replay_check

Play = Callable[[TaskContext], Awaitable[Any]]
EVENTS = [("red", 1), ("blue", 2), ("red", 3)]


class Program:
    """Builds a body out of a seed."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._names = 0

    def _leaf(self) -> Play:
        self._names += 1
        name, kind = f"s{self._names}", self._chance.random()
        hops, fails = self._chance.choice((0, 0, 1, 2, 7)), self._chance.random() < 0.2
        if kind < 0.6:

            async def work() -> str:
                for _ in range(hops):
                    await asyncio.sleep(0)
                if fails:
                    raise ValueError(name)
                return name

            return lambda ctx: ctx.step(name, work)
        if kind < 0.75:
            length = self._chance.choice((0, 1, 30))
            return lambda ctx: ctx.sleep(name, length)
        if kind < 0.9:
            event, timeout = self._chance.choice(("red", "blue")), self._chance.choice((0, 10, 60))
            return lambda ctx: ctx.wait_for_event(event, int, name=name, timeout=timeout)
        return lambda ctx: ctx.capture(name, lambda: name)

    def body(self, depth: int = 3) -> Play:
        """Return a random body."""
        if depth == 0 or self._chance.random() < 0.15:
            return self._leaf()
        parts = [self.body(depth - 1) for _ in range(self._chance.randint(2, 3))]
        hops = self._chance.choice((1, 2, 5, 30))
        shapes = (_sequence, _gather, _group, _first, _each, _guard, _hop, _chain, _lock, _queue, _tidy)
        return self._chance.choice(shapes)(parts, hops)


def _sequence(parts: list[Play], hops: int) -> Play:
    async def play(ctx: TaskContext) -> Any:
        return [await part(ctx) for part in parts]

    return play


def _gather(parts: list[Play], hops: int) -> Play:
    async def play(ctx: TaskContext) -> Any:
        return _shown(await asyncio.gather(*(part(ctx) for part in parts), return_exceptions=hops > 1))

    return play


def _group(parts: list[Play], hops: int) -> Play:
    async def play(ctx: TaskContext) -> Any:
        tasks: list[asyncio.Task[Any]] = []
        failures: list[str] = []
        try:
            async with asyncio.TaskGroup() as group:
                tasks += [group.create_task(_as_coroutine(part, ctx)) for part in parts]
        except* (StepFailed, EventTimeout) as errors:
            failures += map(str, errors.exceptions)
        return failures or [str(task.result()) for task in tasks]

    return play


def _first(parts: list[Play], hops: int) -> Play:
    async def play(ctx: TaskContext) -> Any:
        tasks = [asyncio.create_task(_as_coroutine(part, ctx)) for part in parts]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            return [tasks.index(task) for task in done]
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    return play


def _each(parts: list[Play], hops: int) -> Play:
    async def play(ctx: TaskContext) -> Any:
        found = []
        for done in asyncio.as_completed([asyncio.create_task(_as_coroutine(part, ctx)) for part in parts]):
            try:
                found.append(await done)
            except (StepFailed, EventTimeout, ExceptionGroup) as error:
                found.append(str(error))
        return found

    return play


def _guard(parts: list[Play], hops: int) -> Play:
    async def play(ctx: TaskContext) -> Any:
        try:
            return await parts[0](ctx)
        except (StepFailed, EventTimeout, ExceptionGroup):
            return await parts[1](ctx)

    return play


def _hop(parts: list[Play], hops: int) -> Play:
    async def play(ctx: TaskContext) -> Any:
        for part in parts:
            for _ in range(hops):
                await asyncio.sleep(0)
            await part(ctx)

    return play


def _chain(parts: list[Play], hops: int) -> Play:
    async def play(ctx: TaskContext) -> Any:
        future: Any = asyncio.gather(*(part(ctx) for part in parts), return_exceptions=True)
        for _ in range(hops):
            future = asyncio.shield(asyncio.gather(future))
        return str(await future)

    return play


def _lock(parts: list[Play], hops: int) -> Play:
    async def play(ctx: TaskContext) -> Any:
        lock = asyncio.Lock()

        async def one(part: Play) -> Any:
            async with lock:
                return await part(ctx)

        return _shown(await asyncio.gather(*map(one, parts), return_exceptions=True))

    return play


def _queue(parts: list[Play], hops: int) -> Play:
    async def play(ctx: TaskContext) -> Any:
        queue: asyncio.Queue[Any] = asyncio.Queue(1)

        async def feed() -> None:
            for part in parts:
                try:
                    await queue.put(await part(ctx))
                except (StepFailed, EventTimeout, ExceptionGroup) as error:
                    await queue.put(str(error))

        task = asyncio.create_task(feed())
        try:
            return [await queue.get() for _ in parts]
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    return play


def _tidy(parts: list[Play], hops: int) -> Play:
    async def play(ctx: TaskContext) -> Any:
        try:
            return await parts[0](ctx)
        except (Exception, asyncio.CancelledError):
            await parts[1](ctx)  # compensates, also when it has lost a race
            raise

    return play


async def _as_coroutine(part: Play, ctx: TaskContext) -> Any:
    return await part(ctx)


def _shown(results: list[Any]) -> list[Any]:
    return [str(each) if isinstance(each, BaseException) else each for each in results]


class Random(TaskHandler[int, str]):
    async def run(self, ctx: TaskContext, data: int) -> str:
        program = Program(data)
        found = []
        for _ in range(2):
            try:
                found.append(await program.body()(ctx))
            except (StepFailed, EventTimeout, ExceptionGroup) as error:
                found.append(str(error))
        return str(found)


@pytest.mark.parametrize("block", range(8))
async def test_random_bodies_replay_as_they_ran(block: int) -> None:
    for seed in range(block * 10, block * 10 + 10):
        await replay_check(Random(), seed, EVENTS)
