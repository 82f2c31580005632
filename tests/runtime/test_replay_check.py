"""`replay_check` finds what it promises to find."""

import itertools
from typing import Any

import pytest

from zart import ExecutionFailure, TaskContext, TaskHandler
from zart.testing import ReplayProblem, replay_check

passes = itertools.count()


class Sound(TaskHandler[int, list[int]]):
    async def run(self, ctx: TaskContext, data: int) -> list[int]:
        first = await ctx.step("first", self.double, data)
        event = await ctx.wait_for_event("go", int, timeout="1d")
        await ctx.sleep("nap", "2d")
        return [first, event]

    async def double(self, number: int) -> int:
        return number * 2


async def test_a_sound_workflow_passes() -> None:
    await replay_check(Sound(), 3, [("go", 4)])


async def test_an_event_that_never_comes_is_named() -> None:
    class Forever(TaskHandler[None, None]):
        async def run(self, ctx: TaskContext, data: None) -> None:
            await ctx.wait_for_event("never")

    with pytest.raises(ReplayProblem, match="'never'"):
        await replay_check(Forever())


async def test_a_name_that_changes_is_a_divergence() -> None:
    class Renames(TaskHandler[None, None]):
        async def run(self, ctx: TaskContext, data: None) -> None:
            await ctx.step(f"step-{next(passes)}", self.nothing)
            await ctx.sleep("nap", "1h")

        async def nothing(self) -> None:
            return None

    with pytest.raises(ReplayProblem, match="step-"):
        await replay_check(Renames())


async def test_an_output_from_outside_the_steps_is_found() -> None:
    class Counts(TaskHandler[None, int]):
        async def run(self, ctx: TaskContext, data: None) -> int:
            return next(passes)

    with pytest.raises(ReplayProblem, match="depends on more than its steps"):
        await replay_check(Counts())


async def test_a_failing_workflow_passes_when_it_fails_alike() -> None:
    class Fails(TaskHandler[None, str]):
        async def run(self, ctx: TaskContext, data: None) -> str:
            await ctx.step("fails", self.fail)
            return "no"

        async def fail(self) -> Any:
            raise ValueError("always")

        async def on_failure(self, ctx: TaskContext, data: None, failure: ExecutionFailure) -> str:
            return await ctx.step("mends", self.mend)

        async def mend(self) -> str:
            return "mended"

    await replay_check(Fails())
