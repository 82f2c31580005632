"""Interleavings: who comes first must not matter, and what was seen once is seen for ever."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import pytest

from tests.runtime.conftest import MakeHarness
from zart import (
    BodyFailure,
    EventTimeout,
    ExecutionFailed,
    ExecutionFailure,
    ExecutionStatus,
    PayloadTooLarge,
    RetryConfig,
    Step,
    StepFailed,
    StorageUnavailable,
    TaskContext,
    TaskHandler,
    WorkerConfig,
)
from zart.errors import WorkerNotAlive
from zart.records import Commit, Committed


async def test_two_branches_share_one_event_first_come_first_served(harness: MakeHarness) -> None:
    class Branches(TaskHandler[None, list[int]]):
        async def run(self, ctx: TaskContext, data: None) -> list[int]:
            return list(await asyncio.gather(ctx.wait_for_event("e", int), ctx.wait_for_event("e", int)))

    async with harness(Branches()) as h:
        handle = await h.client.start_for(Branches, "x", None)
        await handle.send("e", 1)
        await h.run_to_idle()
        record = await handle.record()
        assert record.status is ExecutionStatus.WAITING
        assert [w.name for w in record.waiting_for] == ["e#2"]
        await handle.send("e", 2)
        assert await handle.result("1s") == [1, 2]


async def test_a_timed_out_wait_whose_event_came_first_takes_the_event(harness: MakeHarness) -> None:
    class Waits(TaskHandler[None, str]):
        async def run(self, ctx: TaskContext, data: None) -> str:
            try:
                return str(await ctx.wait_for_event("e", str, timeout="500ms"))
            except EventTimeout:
                return "timed out"

    async with harness(Waits()) as h:
        handle = await h.client.start_for(Waits, "x", None)
        await h.run_to_idle()
        assert len(h.worker.runs) == 1  # its timer is near: it stays in memory, and has not heard of the event
        await handle.send("e", "came")
        h.clock.advance("500ms")
        assert await handle.result("1s") == "came"


async def test_a_timeout_saved_first_stays_and_a_later_event_is_left(harness: MakeHarness) -> None:
    class Waits(TaskHandler[None, list[str]]):
        async def run(self, ctx: TaskContext, data: None) -> list[str]:
            found = []
            for _ in range(2):
                try:
                    found.append(await ctx.wait_for_event("e", str, timeout="1h"))
                except EventTimeout:
                    found.append("timed out")
            return found

    async with harness(Waits()) as h:
        handle = await h.client.start_for(Waits, "x", None)
        await h.advance("1h")
        await handle.send("e", "late")
        assert await handle.result("1s") == ["timed out", "late"]


async def test_as_completed_replays_in_the_order_it_ran(harness: MakeHarness) -> None:
    orders: list[list[str]] = []

    class Races(TaskHandler[None, list[str]]):
        async def run(self, ctx: TaskContext, data: None) -> list[str]:
            gates = {name: asyncio.Event() for name in "abc"}

            async def work(name: str, opens: str) -> str:
                if name != "c":
                    await gates[name].wait()
                if opens:
                    gates[opens].set()
                return name

            tasks = [
                asyncio.create_task(ctx.step("a", work, "a", "")),
                asyncio.create_task(ctx.step("b", work, "b", "a")),
                asyncio.create_task(ctx.step("c", work, "c", "b")),
            ]
            order = [await done for done in asyncio.as_completed(tasks)]
            orders.append(order)
            await ctx.sleep("nap", "1h")
            return order

    async with harness(Races()) as h:
        handle = await h.client.start_for(Races, "x", None)
        await h.run_to_idle()
        await h.kill()
        await h.restart()
        assert await handle.result("2h") == ["c", "b", "a"]
        assert orders == [["c", "b", "a"]] * 2


async def test_a_repeated_start_is_the_same_start_even_after_the_end(harness: MakeHarness) -> None:
    class Quick(TaskHandler[None, int]):
        async def run(self, ctx: TaskContext, data: None) -> int:
            calls.append(1)
            return len(calls)

    calls: list[int] = []
    async with harness(Quick()) as h:
        first = await h.client.start_for(Quick, "x", None, start_key="k")
        assert await first.result("1s") == 1
        again = await h.client.start_for(Quick, "x", None, start_key="k")
        assert again.run == first.run
        assert again.status is ExecutionStatus.COMPLETED
        other = await h.client.start_for(Quick, "x", None)
        assert other.run == first.run + 1
        assert await other.result("1s") == 2


async def test_a_crash_inside_on_failure_never_runs_the_body_again(harness: MakeHarness) -> None:
    calls: list[str] = []

    class Compensates(TaskHandler[None, str]):
        failure_timeout = "2h"

        async def run(self, ctx: TaskContext, data: None) -> str:
            calls.append("body")
            raise ValueError("no")

        async def on_failure(self, ctx: TaskContext, data: None, failure: ExecutionFailure) -> str:
            calls.append(f"on_failure {failure}")
            await ctx.step("one", self.one)
            await ctx.sleep("nap", "1h")
            return "mended"

        async def one(self) -> None:
            calls.append("one")

    async with harness(Compensates()) as h:
        handle = await h.client.start_for(Compensates, "x", None)
        await h.run_to_idle()
        await h.kill()
        await h.restart()
        assert await handle.result("2h") == "mended"
        said = f"on_failure {BodyFailure('ValueError', 'no')}"
        assert calls == ["body", said, "one", said]


async def test_a_failing_on_failure_keeps_the_first_failure(harness: MakeHarness) -> None:
    class Compensates(TaskHandler[None, None]):
        async def run(self, ctx: TaskContext, data: None) -> None:
            raise ValueError("first")

        async def on_failure(self, ctx: TaskContext, data: None, failure: ExecutionFailure) -> None:
            raise KeyError("second")

    async with harness(Compensates()) as h:
        handle = await h.client.start_for(Compensates, "x", None)
        with pytest.raises(ExecutionFailed) as failed:
            await handle.result("1s")
        assert failed.value.failure == BodyFailure("ValueError", "first")
        assert "second" in ((await handle.record()).reason or "")


async def test_a_long_retry_delay_parks_only_when_the_other_branch_is_done(harness: MakeHarness) -> None:
    calls: list[str] = []

    class Two(TaskHandler[None, list[str]]):
        async def run(self, ctx: TaskContext, data: None) -> list[str]:
            async def flaky() -> str:
                calls.append("flaky")
                if calls.count("flaky") == 1:
                    raise ValueError("once")
                return "flaky"

            async def slow() -> str:
                await gate.wait()
                return "slow"

            return list(
                await asyncio.gather(ctx.step_with_retry("flaky", RetryConfig.fixed(1, "1h"), flaky), ctx.step("slow", slow))
            )

    gate = asyncio.Event()
    async with harness(Two()) as h:
        handle = await h.client.start_for(Two, "x", None)
        await h.worker.claim_due()
        await h.worker.journal.flushed()
        assert len(h.worker.runs) == 1
        gate.set()
        await h.run_to_idle()
        assert not h.worker.runs
        await h.advance("1h")
        assert await handle.result("1s") == ["flaky", "slow"]
        assert calls == ["flaky", "flaky"]


async def test_a_takeover_while_a_flush_is_in_flight_loses_the_old_workers_words(harness: MakeHarness) -> None:
    class Steps(TaskHandler[None, int]):
        async def run(self, ctx: TaskContext, data: None) -> int:
            return await ctx.step("s", self.work)

        async def work(self) -> int:
            calls.append(1)
            return len(calls)

    calls: list[int] = []
    async with harness(Steps()) as h:
        handle = await h.client.start_for(Steps, "x", None)
        real, held, go = h.scheduler.commit, asyncio.Event(), asyncio.Event()

        async def slow(commits: Sequence[Commit]) -> Sequence[Committed]:
            held.set()
            await go.wait()
            return await real(commits)

        h.scheduler.commit = slow  # type: ignore[method-assign] # the flush is in flight for as long as the test likes
        old = h.worker
        await old.claim_due()
        await held.wait()
        h.scheduler.commit = real  # type: ignore[method-assign]
        await h.restart()
        await h.run_to_idle()
        assert await handle.result("1s") == 2
        go.set()
        await old.journal.flushed()
        assert not old.runs
        assert (await handle.record()).result == 2
        old.abandon()
        await h.run_to_idle()


async def test_a_worker_that_wakes_after_three_leases_writes_nothing_and_joins_again(harness: MakeHarness) -> None:
    class Steps(TaskHandler[None, str]):
        async def run(self, ctx: TaskContext, data: None) -> str:
            await ctx.step("first", self.hang)
            return "old" if calls == 1 else "new"

        async def hang(self) -> None:
            nonlocal calls
            calls += 1
            started.set()
            if calls == 1:
                await asyncio.get_running_loop().create_future()

    calls = 0
    started = asyncio.Event()
    async with harness(Steps()) as h:
        handle = await h.client.start_for(Steps, "x", None)
        old = h.worker
        await old.claim_due()
        await started.wait()
        h.clock.advance("45s")
        await h.restart()
        assert await handle.result("1s") == "new"
        first_id = old.id
        with pytest.raises(WorkerNotAlive):
            await old.claim_due()
        await old.beat()
        while old.id == first_id or not old.lease_is_fresh():
            await asyncio.sleep(0)  # the worker joins again by itself and tells nobody
        assert not old.runs
        assert await old.claim_due() == 0
        old.abandon()
        await h.run_to_idle()


async def test_a_park_whose_save_finds_new_mail_goes_on(harness: MakeHarness) -> None:
    class Waits(TaskHandler[None, str]):
        async def run(self, ctx: TaskContext, data: None) -> str:
            return str(await ctx.wait_for_event("e", str))

    async with harness(Waits()) as h:
        handle = await h.client.start_for(Waits, "x", None)
        real = h.scheduler.commit

        async def meddle(commits: Sequence[Commit]) -> Sequence[Committed]:
            if any(commit.move is not None and commit.move.status is ExecutionStatus.WAITING for commit in commits):
                h.scheduler.commit = real  # type: ignore[method-assign]
                await handle.send("e", "in between")
            return await real(commits)

        h.scheduler.commit = meddle  # type: ignore[method-assign] # mail arrives between the decision to park and its save
        await h.run_to_idle()
        assert await handle.result("1s") == "in between"


async def test_a_body_that_swallows_cancelled_error_is_left_and_can_do_nothing(
    harness: MakeHarness, caplog: pytest.LogCaptureFixture
) -> None:
    class Stubborn(TaskHandler[None, str]):
        async def run(self, ctx: TaskContext, data: None) -> str:
            while True:
                try:
                    await ctx.wait_for_event("e", timeout="1h", name=f"w{len(passes)}")
                except EventTimeout:
                    return "timed out"
                except asyncio.CancelledError:
                    passes.append(1)
                    if len(passes) > 3:
                        raise

    passes: list[int] = []
    async with harness(Stubborn()) as h:
        handle = await h.client.start_for(Stubborn, "x", None)
        await h.run_to_idle()
        assert (await handle.record()).status is ExecutionStatus.WAITING
        assert len(passes) == 4
        passes.clear()
        assert await handle.result("2h") == "timed out"


async def test_a_result_that_cannot_be_encoded_is_final(harness: MakeHarness) -> None:
    class Odd(TaskHandler[None, str]):
        max_retries = 3

        async def run(self, ctx: TaskContext, data: None) -> str:
            await ctx.step("odd", self.work, retry=RetryConfig.fixed(5, "1s"))
            return "no"

        async def work(self) -> Any:
            calls.append(1)
            return object()

    calls: list[int] = []
    async with harness(Odd()) as h:
        handle = await h.client.start_for(Odd, "x", None)
        with pytest.raises(ExecutionFailed):
            await handle.result("1h")
        assert len(calls) == 1


async def test_a_result_that_is_too_large_is_final(harness: MakeHarness) -> None:
    class Large(TaskHandler[None, str]):
        async def run(self, ctx: TaskContext, data: None) -> str:
            try:
                await ctx.step("large", self.work)
            except PayloadTooLarge as error:
                return error.what
            return "no"

        async def work(self) -> str:
            return "x" * 2000

    async with harness(Large(), config=WorkerConfig(park_after=0, payload_limit=1000)) as h:
        handle = await h.client.start_for(Large, "x", None)
        assert "large" in await handle.result("1s")


async def test_storage_that_is_away_for_a_while_loses_nothing(harness: MakeHarness, caplog: pytest.LogCaptureFixture) -> None:
    class Steps(TaskHandler[None, int]):
        async def run(self, ctx: TaskContext, data: None) -> int:
            return await ctx.step("s", self.work)

        async def work(self) -> int:
            calls.append(1)
            return len(calls)

    calls: list[int] = []
    caplog.set_level(logging.CRITICAL)
    async with harness(Steps()) as h:
        handle = await h.client.start_for(Steps, "x", None)
        real, failed = h.scheduler.commit, asyncio.Event()

        async def away(commits: Sequence[Commit]) -> Sequence[Committed]:
            failed.set()
            raise StorageUnavailable("away")

        h.scheduler.commit = away  # type: ignore[method-assign]
        await h.worker.claim_due()
        await failed.wait()
        h.scheduler.commit = real  # type: ignore[method-assign]
        h.clock.advance("1s")
        assert await handle.result("1s") == 1
        assert calls == [1]


async def test_changed_code_is_found_out_and_healed(harness: MakeHarness, caplog: pytest.LogCaptureFixture) -> None:
    version = ["old"]
    calls: list[str] = []

    class Changes(TaskHandler[None, str]):
        async def run(self, ctx: TaskContext, data: None) -> str:
            await ctx.step("first" if version[0] == "old" else "other", self.work, "first")
            await ctx.sleep("nap", "1h")
            await ctx.step("second", self.work, "second")
            return version[0]

        async def work(self, name: str) -> None:
            calls.append(name)

    async with harness(Changes()) as h:
        handle = await h.client.start_for(Changes, "x", None)
        await h.run_to_idle()
        version[0] = "new"
        await h.advance("1h1s")
        record = await handle.record()
        assert record.status is ExecutionStatus.WAITING
        assert record.reason is not None
        assert "'first'" in record.reason
        assert "'other'" in record.reason
        assert calls == ["first"]
        version[0] = "old"
        assert await handle.result("1h") == "old"
        assert calls == ["first", "second"]


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError("by hand"), GeneratorExit()])
@pytest.mark.parametrize("where", ["body", "step", "thread", "task"])
async def test_nothing_that_user_code_raises_ends_the_worker(harness: MakeHarness, error: BaseException, where: str) -> None:
    class Rude(TaskHandler[str, None]):
        async def run(self, ctx: TaskContext, data: str) -> None:
            match data:
                case "body":
                    raise error
                case "step":
                    await ctx.step("s", self.rude)
                case "thread":
                    await ctx.step("s", self.rude_sync)
                case "task":
                    await asyncio.create_task(self.rude())

        async def rude(self) -> None:
            raise error

        def rude_sync(self) -> None:
            raise error

    class Polite(TaskHandler[None, str]):
        async def run(self, ctx: TaskContext, data: None) -> str:
            return "fine"

    async with harness(Rude(), Polite()) as h:
        rude = await h.client.start_for(Rude, "rude", where)
        await h.run_to_idle()
        with pytest.raises(ExecutionFailed):
            await rude.result("1s")
        polite = await h.client.start_for(Polite, "polite", None)
        assert await polite.result("1s") == "fine"


class _BadText(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize("error", [ValueError("nul \x00"), ValueError("surrogate \ud800"), _BadText(), ValueError("x" * 10**6)])
async def test_hostile_error_texts_are_recorded_failures(harness: MakeHarness, error: Exception) -> None:
    class Rude(TaskHandler[None, str]):
        async def run(self, ctx: TaskContext, data: None) -> str:
            try:
                await ctx.require(Step.of("s", self.rude))
            except StepFailed as failed:
                return failed.error_type.rpartition(".")[2]
            return ""

        async def rude(self) -> None:
            raise error

    async with harness(Rude()) as h:
        handle = await h.client.start_for(Rude, "x", None)
        assert await handle.result("1s") == type(error).__name__
