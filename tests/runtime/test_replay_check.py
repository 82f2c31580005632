"""`replay_check` finds what it promises to find."""

import itertools
from typing import Any

import pytest

from zart import ExecutionFailure, TaskContext, TaskHandler, WaitTimedOut
from zart.testing import Harness, ReplayProblem, replay_check

passes = itertools.count()


class Sound(TaskHandler[int, list[int]]):
    async def run(self, ctx: TaskContext, data: int) -> list[int]:
        first = await ctx.step("first", self.double, data)
        event = await ctx.wait_for_event("go", int, timeout="1d")
        await ctx.sleep("nap", "2d")
        return [first, event]

    async def double(self, number: int) -> int:
        return number * 2


async def test_a_sound_workflow_passes_and_its_record_comes_back() -> None:
    record = await replay_check(Sound(), 3, [("go", 4)])
    assert (record.status, record.result) == ("completed", [6, 4])


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


class Broken(TaskHandler[None, None]):
    async def run(self, ctx: TaskContext, data: None) -> None:
        await ctx.step("a", self.nothing)
        await ctx.step("a", self.nothing)

    async def nothing(self) -> None:
        return None


async def test_a_workflow_that_fails_without_any_crash_does_not_pass() -> None:
    with pytest.raises(ReplayProblem, match=r"without any crash the execution ended failed \(DuplicateStepName: .*'a'"):
        await replay_check(Broken())


async def test_a_workflow_that_is_meant_to_fail_is_checked_as_such() -> None:
    record = await replay_check(Broken(), expect="failed")
    assert record.result["error_type"] == "DuplicateStepName"
    with pytest.raises(ReplayProblem, match="ended completed, not failed"):
        await replay_check(Sound(), 3, [("go", 4)], expect="failed")


async def test_a_harness_that_waits_in_vain_says_how_long() -> None:
    async with Harness([Sound()]) as h:
        handle = await h.client.start_for(Sound, "u", 3)
        with pytest.raises(WaitTimedOut, match="has not ended within 60 s") as late:
            await handle.result("1m")
        assert late.value.timeout == 60
        assert h.clock.monotonic() == 60
