"""A record or a last word that storage cannot hold: only that is lost, whatever else its commit holds."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tests.runtime.conftest import MakeHarness
from zart import (
    EventTimeout,
    ExecutionFailed,
    ExecutionFailure,
    ExecutionStatus,
    RetryConfig,
    Step,
    StepFailed,
    TaskContext,
    TaskHandler,
)
from zart.records import Commit, Committed, Fate, Move, StepRecord
from zart.schedulers.coded import coded
from zart.status import Phase, StepKind
from zart.testing import Harness

REASON = "too large for it"
POISON = "poison"

Bad = Callable[[StepRecord | Move], bool]


@pytest.fixture(params=["memory", "sqlite"])
def harness(request: pytest.FixtureRequest, make_harness: Callable[[str], MakeHarness]) -> MakeHarness:
    """Return a function that makes a harness; storage is made to refuse, and does not do it by itself."""
    return make_harness(request.param)


def poisoned(said: StepRecord | Move) -> bool:
    """Whether it holds what users call poison, and not the plain words for it."""
    return POISON in (said.payload or "")


class Refuses:
    """Refuses a whole commit if anything in it is bad, as backends do."""

    def __init__(self, h: Harness, bad: Bad = poisoned) -> None:
        self.bad = bad
        self.refused: list[int] = []
        """How much was in each commit that was refused."""
        self._commit = h.scheduler.commit
        h.scheduler.commit = self.commit  # type: ignore[method-assign] # the point

    async def commit(self, commits: Sequence[Commit]) -> Sequence[Committed]:
        answers = []
        for each in commits:
            said: list[StepRecord | Move] = [*each.steps, *([each.move] if each.move else [])]
            if any(self.bad(one) for one in said):
                self.refused.append(len(said))
                answers.append(Committed(Fate.REFUSED, reason=REASON))
            else:
                answers += await self._commit([each])
        return answers


class Steps(TaskHandler[list[str], Any]):
    """Runs a step for each text, all at once, and returns what they came to."""

    raises = (KeyError,)

    def __init__(self, retry: RetryConfig | None = None) -> None:
        self.retry = retry
        self.calls: list[str] = []
        self.gate = asyncio.Event()
        self.begun = 0

    async def run(self, ctx: TaskContext, data: list[str]) -> Any:
        return await asyncio.gather(*(ctx.step(f"s{at}", self.say, text, len(data)) for at, text in enumerate(data)))

    async def say(self, text: str, together: int) -> str:
        self.calls.append(text)
        self.begun += 1
        if self.begun == together:
            self.gate.set()
        await self.gate.wait()  # so that all end in one flush
        return text


class Tolerant(Steps):
    """The same, and takes what failed for its words."""

    async def run(self, ctx: TaskContext, data: list[str]) -> Any:
        async def one(at: int, text: str) -> str:
            try:
                return await ctx.step(f"s{at}", self.say, text, len(data))
            except StepFailed as failed:
                return f"{failed.step}: {failed.error_type}: {failed.message}"

        said = await asyncio.gather(*(one(at, text) for at, text in enumerate(data)))
        await ctx.wait_for_event("go")
        return said


@pytest.mark.parametrize("at", range(5))
async def test_only_the_refused_outcome_fails_and_its_siblings_are_saved(harness: MakeHarness, at: int) -> None:
    texts = [POISON if number == at else f"t{number}" for number in range(5)]
    handler = Tolerant()
    async with harness(handler) as h:
        refuses = Refuses(h)
        await h.client.start("x", "Tolerant", texts)
        await h.run_to_idle()
        assert refuses.refused[0] == 5
        assert refuses.refused[-1] == 1
        steps = (await h.scheduler.history("x")).steps
        outcomes = [each for each in steps if each.phase is Phase.OUTCOME]
        assert [each.seq for each in outcomes] == [1, 2, 3, 4, 5]
        assert {each.name: each.ok for each in outcomes} == {f"s{number}": number != at for number in range(5)}
        await h.kill()
        await h.restart()
        await h.client.offer_event("x", "go")
        said = await h.client.wait_completion_with_timeout("x", list[str], "1m")
        assert said == [f"s{at}: StorageRefused: {REASON}" if text == POISON else text for text in texts]
        assert sorted(handler.calls) == sorted(texts)


async def test_two_refused_outcomes_of_one_commit_fail_and_the_others_do_not(harness: MakeHarness) -> None:
    handler = Tolerant()
    async with harness(handler) as h:
        Refuses(h)
        await h.client.start("x", "Tolerant", ["a", POISON, "b", POISON, "c"])
        await h.client.offer_event("x", "go")
        said = await h.client.wait_completion_with_timeout("x", list[str], "1m")
        assert [text.partition(":")[0] for text in said] == ["a", "s1", "b", "s3", "c"]
        assert len(handler.calls) == 5


async def test_what_is_refused_is_never_called_again_by_a_later_attempt_of_the_body(harness: MakeHarness) -> None:
    handler = Steps(RetryConfig.fixed(2, "1s"))
    async with harness(handler) as h:
        Refuses(h)
        handle = await h.client.start_for(handler, "x", ["a", POISON])
        with pytest.raises(ExecutionFailed, match=REASON) as failed:
            await handle.result("1m")
        assert sorted(handler.calls) == ["a", POISON]
        match failed.value.failure:
            case ExecutionFailure.RetriesExhausted(attempts, ExecutionFailure.StepFailure(step, error_type, _)):
                assert (attempts, step, error_type) == (3, "s1", "StorageRefused")
            case other:
                raise AssertionError(other)


async def test_an_attempt_whose_error_is_refused_is_tried_again_all_the_same(harness: MakeHarness) -> None:
    class Fails(TaskHandler[None, int]):
        calls = 0

        async def run(self, ctx: TaskContext, data: None) -> int:
            return await ctx.step_with_retry("s", RetryConfig.fixed(1, "5s"), self.fail)

        async def fail(self) -> int:
            self.calls += 1
            if self.calls == 1:
                raise ValueError(POISON)
            return self.calls

    handler = Fails()
    async with harness(handler) as h:
        refuses = Refuses(h)
        handle = await h.client.start_for(handler, "x", None)
        assert await handle.result("1m") == 2
        assert refuses.refused == [1]
        attempt = (await h.scheduler.history("x")).steps[0]
        assert (attempt.phase, attempt.attempts) == (Phase.ATTEMPT, 1)
        assert "StorageRefused" in (attempt.payload or "")


async def test_a_wait_whose_beginning_is_refused_fails_and_no_other(harness: MakeHarness) -> None:
    class Waits(TaskHandler[None, list[str]]):
        async def run(self, ctx: TaskContext, data: None) -> list[str]:
            async def one(event: str) -> str:
                try:
                    return await ctx.wait_for_event(event, str, timeout="1h")
                except (StepFailed, EventTimeout) as error:
                    return type(error).__name__

            return await asyncio.gather(one("a"), one("b"), one("c"))

    async with harness(Waits()) as h:
        Refuses(h, lambda said: isinstance(said, StepRecord) and said.name == "b" and said.phase is Phase.OPENED)
        handle = await h.client.start_for(Waits, "x", None)
        await h.run_to_idle()
        await h.client.offer_event("x", "a", "here")
        await h.client.offer_event("x", "b", "too late")
        assert await handle.result("2h") == ["here", "StepFailed", "EventTimeout"]


async def test_a_letter_whose_taking_is_refused_goes_to_the_next_wait(harness: MakeHarness) -> None:
    class Waits(TaskHandler[None, str]):
        async def run(self, ctx: TaskContext, data: None) -> str:
            try:
                return "first " + await ctx.wait_for_event("e", str, name="first")
            except StepFailed:
                return "second " + await ctx.wait_for_event("e", str, name="second")

    async with harness(Waits()) as h:
        Refuses(h, lambda said: isinstance(said, StepRecord) and said.name == "first" and said.mail is not None)
        await h.client.start("x", "Waits")
        await h.client.offer_event("x", "e", "letter")
        assert await h.client.wait_completion_with_timeout("x", str, "1m") == "second letter"
        await h.kill()


async def test_a_step_whose_beginning_is_refused_goes_on(harness: MakeHarness) -> None:
    class Takes(TaskHandler[None, str]):
        async def run(self, ctx: TaskContext, data: None) -> str:
            return await ctx.step("s", self.take, timeout="1h")

        async def take(self) -> str:
            return "done"

    async with harness(Takes()) as h:
        refuses = Refuses(h, lambda said: isinstance(said, StepRecord) and said.phase is Phase.OPENED)
        handle = await h.client.start_for(Takes, "x", None)
        assert await handle.result("1m") == "done"
        assert len(refuses.refused) in {1, 2}  # alone, or first with the outcome
        assert [each.phase for each in (await h.scheduler.history("x")).steps] == [Phase.OUTCOME]


async def test_an_execution_parks_when_the_last_that_it_had_to_say_was_left_out(harness: MakeHarness) -> None:
    class Changes(TaskHandler[None, str]):
        async def run(self, ctx: TaskContext, data: None) -> str:
            unwanted = asyncio.ensure_future(ctx.wait_for_event("a", str))
            wanted = asyncio.ensure_future(ctx.wait_for_event("c", str))
            await ctx.wait_for_event("b", str)
            unwanted.cancel()
            return await wanted

    async with harness(Changes()) as h:
        refuses = Refuses(h, lambda said: isinstance(said, StepRecord) and "abandoned" in (said.payload or ""))
        handle = await h.client.start_for(Changes, "x", None)
        await h.run_to_idle()
        await h.client.offer_event("x", "b", "")
        await h.run_to_idle()
        assert refuses.refused == [1]
        assert (await handle.record()).status is ExecutionStatus.WAITING
        await h.client.offer_event("x", "c", "good")
        assert await handle.result("1m") == "good"


async def test_a_capture_whose_value_is_refused_fails_for_good(harness: MakeHarness) -> None:
    class Captures(TaskHandler[None, str]):
        async def run(self, ctx: TaskContext, data: None) -> str:
            try:
                return await ctx.capture("c", lambda: POISON)
            except StepFailed as failed:
                return failed.message

    async with harness(Captures()) as h:
        Refuses(h)
        handle = await h.client.start_for(Captures, "x", None)
        assert await handle.result("1m") == REASON


@pytest.mark.parametrize("compensates", [False, True])
async def test_a_result_that_is_refused_fails_the_execution(harness: MakeHarness, compensates: bool) -> None:
    class Returns(TaskHandler[None, str]):
        async def run(self, ctx: TaskContext, data: None) -> str:
            return POISON

    class Compensates(Returns):
        seen = ""

        async def on_failure(self, ctx: TaskContext, data: None, failure: ExecutionFailure) -> None:
            self.seen = str(failure.error)

    handler: Any = Compensates() if compensates else Returns()
    async with harness(handler) as h:
        refuses = Refuses(h)
        handle = await h.client.start_for(handler, "x", None)
        with pytest.raises(ExecutionFailed, match=f"storage refused to save how it ended: {REASON}"):
            await handle.result("1m")
        assert refuses.refused == [1]
        if compensates:
            assert REASON in handler.seen


@pytest.mark.parametrize("retries", [0, 1])
async def test_a_failure_that_is_refused_is_replaced_and_the_policy_goes_on(harness: MakeHarness, retries: int) -> None:
    class Raises(TaskHandler[None, str]):
        max_retries = retries
        calls = 0

        async def run(self, ctx: TaskContext, data: None) -> str:
            self.calls += 1
            raise ValueError(POISON)

    handler = Raises()
    async with harness(handler) as h:
        Refuses(h)
        handle = await h.client.start_for(handler, "x", None)
        with pytest.raises(ExecutionFailed, match=REASON):
            await handle.result("1h")
        assert handler.calls == retries + 1


async def test_a_step_that_ends_together_with_a_refused_result_is_saved(harness: MakeHarness) -> None:
    class Both(Steps):
        async def run(self, ctx: TaskContext, data: list[str]) -> Any:
            ctx.schedule(Step.of("s", self.say, data[0], 1))
            return POISON

    async with harness(Both()) as h:
        Refuses(h)
        handle = await h.client.start_for(Both, "x", ["kept"])
        with pytest.raises(ExecutionFailed, match=REASON):
            await handle.result("1m")
        assert [each.payload for each in (await h.scheduler.history("x")).steps] == ['"kept"']


async def test_what_is_refused_twice_sets_the_execution_aside_and_its_siblings_stay(harness: MakeHarness) -> None:
    handler = Tolerant()
    async with harness(handler) as h:
        refuses = Refuses(h, lambda said: isinstance(said, StepRecord) and said.name == "s1")
        await h.client.start("x", "Tolerant", ["a", "b", "c"])
        await h.run_to_idle()
        record = await h.client.status("x")
        assert (record.status, record.reason) == (ExecutionStatus.WAITING, REASON)
        names = [each.name for each in (await h.scheduler.history("x")).steps if each.kind is StepKind.STEP]
        assert sorted(names) == ["s0", "s2"]
        refuses.bad = poisoned
        await h.client.offer_event("x", "go")
        await h.advance("2s")
        assert await h.client.wait_completion_with_timeout("x", list[str], "1m") == ["a", "b", "c"]
        assert sorted(handler.calls) == ["a", "b", "b", "c"]


async def test_an_execution_of_which_nothing_can_be_saved_is_let_go_without_a_loop(harness: MakeHarness) -> None:
    handler = Steps()
    async with harness(handler) as h:
        refuses = Refuses(h, lambda said: True)
        await h.client.start("x", "Steps", ["a"])
        await h.worker.claim_due()
        await h.worker.journal.flushed()
        for _ in range(200):
            await asyncio.sleep(0)
        assert h.worker.runs == []
        assert refuses.refused == [1, 1, 2]  # the outcome, the failure in its place, and the setback with its record


@pytest.mark.parametrize("backend", ["sqlite", "postgres"])
async def test_what_a_database_really_refuses_costs_nothing_else(
    make_harness: Callable[[str], MakeHarness], backend: str
) -> None:
    class Spoils:
        """Makes of some texts what no database takes."""

        allow_plain = True

        def seal(self, text: str, place: str) -> str:
            return text + "\ud800" if POISON in text else text

        def open(self, sealed: str, place: str) -> str:
            return sealed

    handler = Tolerant()
    async with make_harness(backend)(handler) as h:
        await h.client.start("x", "Tolerant", ["a", "ok", "c"])
        await h.client.offer_event("x", "go")
        assert await h.client.wait_completion_with_timeout("x", list[str], "1m") == ["a", "ok", "c"]
        storage = coded(h.scheduler, Spoils())
        h.worker.journal._scheduler = storage
        await h.client.start("y", "Tolerant", ["a", "b", "c"])
        handler.calls, handler.begun = [], 0
        handler.gate.clear()
        say = handler.say

        async def spoilt(text: str, together: int) -> str:
            await say(text, together)
            return POISON if text == "b" else text

        handler.say = spoilt  # type: ignore[method-assign] # so that what comes in is no poison
        await h.client.offer_event("y", "go")
        await h.run_to_idle()
        steps = (await storage.history("y")).steps
        assert {each.name: each.ok for each in steps if each.kind is StepKind.STEP} == {"s0": True, "s1": False, "s2": True}
        assert handler.calls == ["a", "b", "c"]
