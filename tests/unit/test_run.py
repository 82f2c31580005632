"""One claim by itself: a real run of a real body, whose worker, journal and time are in the test's hands."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from zart.clock import SECOND, Instant, Timer, instant
from zart.codec import ANY
from zart.context import TaskContext
from zart.errors import ExecutionFailure
from zart.handler import TaskHandler
from zart.ids import SystemRandomness
from zart.journal import Author
from zart.observe import Unobserved
from zart.operations import ExecutionInfo
from zart.outcome import error_summary, failure_of, save_failure
from zart.pool import TaskPool
from zart.records import Claim, Commit, Committed, Fate, Mail, Move, StepRecord, Token
from zart.registry import Registry
from zart.replay import body_record
from zart.retry import RetryConfig
from zart.run import Run
from zart.scheduler import OpenTransaction
from zart.spawner import ThreadSpawner
from zart.status import ExecutionStatus, Phase, StepKind
from zart.steps import Step
from zart.testing import FakeClock
from zart.turns import install

Body = Callable[[TaskContext], Awaitable[Any]]
MAX_CRASHES = 3
PARK_AFTER = 5.0
MANY = 100
"""More commits than any of these bodies needs."""


class Plays(TaskHandler[Any, Any]):
    """Does what a test says."""

    name = "plays"

    def __init__(self, body: Body, retries: int = 0) -> None:
        self._body = body
        self.max_retries = retries

    async def run(self, ctx: TaskContext, data: Any) -> Any:
        return await self._body(ctx)


class Mends(Plays):
    """Has something to say of its failure."""

    name = "plays"

    async def on_failure(self, ctx: TaskContext, data: Any, failure: ExecutionFailure) -> Any:
        return f"mended: {failure.error}"


class Books:
    """A journal that hands over to the test who wants to write."""

    def __init__(self) -> None:
        self.waiting: list[Author] = []
        self.paused: list[Author] = []

    def write(self, author: Author) -> None:
        self.waiting.append(author)

    def write_later(self, author: Author, tries: int) -> None:
        self.paused.append(author)

    def hurry(self, author: Author | None = None) -> None:
        self.waiting += self.paused
        self.paused = []

    def forget(self, author: Author) -> None:
        self.paused = []


class Ticks(FakeClock):
    """Remembers the timers that were set on it."""

    def __init__(self) -> None:
        super().__init__()
        self.timers: list[Any] = []

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Timer:
        self.timers.append(super().call_later(seconds, callback))
        return self.timers[-1]  # type: ignore[no-any-return]


class Watches(Unobserved):
    """Notes what reaches the body, and may trip over it."""

    def __init__(self) -> None:
        self.handed: list[str] = []
        self.fault: Exception | None = None
        self.meanwhile: Callable[[], object] = lambda: None

    def handed_over(self, execution_id: str, name: str, value: Any) -> None:
        self.handed.append(name)
        self.meanwhile()
        if self.fault is not None:
            raise self.fault


class ByHand:
    """A worker of one run, which does nothing unless the test says so."""

    def __init__(self, **claimed: Any) -> None:
        self.loop = asyncio.get_running_loop()
        install(self.loop)
        self.pool = TaskPool(self.loop)
        self.clock = Ticks()
        self.randomness = SystemRandomness()
        self.spawner = ThreadSpawner()
        self.observer = Watches()
        self.payload_limit = 1000
        self.open_transaction: OpenTransaction | None = None
        self.journal: Any = Books()
        self.park_after = PARK_AFTER
        self.is_full = False
        self.is_stale = False
        self.lag = 0
        """Microseconds by which the worker's view of storage's time is behind."""
        self.fault: Exception | None = None
        self.left = 0
        self.ends = 0
        self.commits: list[Commit] = []
        self.claimed = claimed
        self.run: Run

    def now(self) -> Instant:
        return instant(self.clock.now()) - self.lag

    def lease_is_fresh(self) -> bool:
        return not self.is_stale

    def has_free_slots(self) -> bool:
        return not self.is_full

    def leaving(self, run: Run) -> None:
        assert run is self.run
        self.left += 1
        if self.fault is not None:
            raise self.fault

    def ended(self, run: Run) -> None:
        assert run is self.run
        self.ends += 1

    # ---- what a test does with it -----------------------------------------------------------------------------------

    def begin(self, body: Body, *, kind: type[Plays] = Plays, retries: int = 0, **claimed: Any) -> None:
        """Start a body; `deadline` is in microseconds from now."""
        if (deadline := claimed.pop("deadline", None)) is not None:
            deadline += self.now()
        task = Registry([kind(body, retries)])["plays"]
        claim = Claim(
            **{
                "token": Token("x", 1, 1, 1),
                "task": "plays",
                "queue": "default",
                "payload": '{"some":"data"}',
                "attempt": 0,
                "crashes": 0,
                "crashed_workers": (),
                "scheduled_at": self.now(),
                "deadline": deadline,
                "steps": [],
                "mail": [],
                "seen": 0,
                "now": self.now(),
            }
            | claimed
        )
        self.run = Run(claim, task, self, MAX_CRASHES)  # type: ignore[arg-type] # for a test its clock and observer are more
        self.run.start_safely()

    async def turn(self) -> None:
        """Let everything happen that can happen without time or storage."""
        for _ in range(30):
            await asyncio.sleep(0)

    def take(self) -> Commit | None:
        """Take what is to be saved; None if there is nothing."""
        while self.journal.waiting:
            author = self.journal.waiting.pop(0)
            if (commit := author.take()) is not None:
                self.commits.append(commit)
                return commit  # type: ignore[no-any-return]
        return None

    def answer(self, commit: Commit | None, fate: Fate = Fate.APPLIED, mail: Sequence[Mail] = ()) -> None:
        assert commit is not None
        self.run.saved(commit, Committed(fate, mail))

    async def settle(self) -> None:
        """Let everything happen that can happen without time: all is saved."""
        await self.turn()
        while (commit := self.take()) is not None:
            assert len(self.commits) < MANY, "it never comes to an end"
            self.answer(commit)
            await self.turn()

    async def passes(self, seconds: float) -> None:
        await self.settle()
        self.clock.advance(seconds)
        await self.settle()

    @property
    def said(self) -> list[tuple[str, Phase]]:
        """What was taken to be saved so far."""
        return [(record.name, record.phase) for commit in self.commits for record in commit.steps]

    @property
    def moves(self) -> list[Move]:
        return [commit.move for commit in self.commits if commit.move is not None]

    @property
    def statuses(self) -> list[str]:
        return [each.status.value for each in self.moves]

    @property
    def parked(self) -> bool:
        return self.statuses == ["waiting"] and not self.commits[-1].steps


@pytest.fixture
async def host() -> AsyncIterator[ByHand]:
    """Yield a worker of one run, and end what it has left."""
    worker = ByHand()
    yield worker
    run = getattr(worker, "run", None)
    left = [] if run is None else run.remains()
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    worker.pool.close()
    await worker.turn()


def outcome(seq: int, name: str, value: Any = None, kind: StepKind = StepKind.STEP) -> StepRecord:
    return StepRecord(seq, name, kind, Phase.OUTCOME, True, ANY.encode(value), 1)


def letter(seq: int, name: str, payload: str = "null") -> Mail:
    return Mail(seq, name, payload, 0)


async def one() -> int:
    return 1


async def never() -> None:
    await asyncio.get_running_loop().create_future()


class Gate:
    """Something that a body waits for which is no operation of Zart's."""

    def __init__(self) -> None:
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def open(self) -> None:
        self.future.set_result(None)


async def naps(gate: "Gate", ctx: TaskContext) -> None:
    """Sleep for a minute, and until then wait for the gate too."""
    napping = asyncio.create_task(ctx.sleep("nap", 60))
    await gate.future
    await napping


async def nothing(ctx: TaskContext) -> None:
    pass


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[int, str]]:
    return [(each.levelno, each.getMessage()) for each in caplog.records if each.name == "zart.run"]


# ---- the start ----------------------------------------------------------------------------------------------------------


async def test_a_run_tells_what_its_body_knows_of_itself(host: ByHand) -> None:
    host.begin(lambda ctx: ctx.sleep("s", 10), attempt=2, retries=4)
    assert host.run.info == ExecutionInfo("x", "plays", {"some": "data"}, 2, 4)


@pytest.mark.parametrize(("crashes", "status"), [(MAX_CRASHES - 1, "completed"), (MAX_CRASHES, "failed")])
async def test_what_its_workers_do_not_survive_fails_at_the_limit_and_not_before(
    host: ByHand, crashes: int, status: str
) -> None:
    host.begin(nothing, crashes=crashes, crashed_workers=("w",) * crashes)
    await host.settle()
    assert host.statuses == [status]


@pytest.mark.parametrize(("left", "began"), [(-SECOND, False), (0, False), (1, True)])
async def test_no_line_of_a_body_runs_once_the_deadline_has_passed(host: ByHand, left: int, began: bool) -> None:
    ran = []

    async def body(ctx: TaskContext) -> None:
        ran.append(ctx.info.execution_id)

    host.begin(body, deadline=left)
    await host.settle()
    assert (bool(ran), host.statuses) == (began, ["completed" if began else "failed"])
    if not began:
        assert "deadline" in (host.moves[0].reason or "")


async def test_once_a_failure_is_saved_only_on_failure_runs_and_it_is_told_which(host: ByHand) -> None:
    async def body(ctx: TaskContext) -> None:
        raise AssertionError

    failure = save_failure(failure_of(ValueError("it broke")), ())
    host.begin(body, kind=Mends, steps=[StepRecord(1, "", StepKind.BODY, Phase.OUTCOME, False, failure)])
    await host.settle()
    assert host.statuses == ["completed"]
    assert "it broke" in (host.moves[0].payload or "")


# ---- the deadline -------------------------------------------------------------------------------------------------------


async def test_a_long_step_is_cut_when_the_deadline_comes_and_not_before(host: ByHand) -> None:
    cut = asyncio.Event()

    async def long() -> None:
        try:
            await never()
        finally:
            cut.set()

    host.begin(lambda ctx: ctx.step("long", long), deadline=60 * SECOND)
    await host.passes(59.999999)
    assert not cut.is_set()
    assert host.statuses == []
    await host.passes(0.000001)
    assert cut.is_set()
    assert host.statuses == ["failed"]
    assert "deadline" in (host.moves[0].reason or "")
    assert host.ends == 1


@pytest.mark.parametrize("early", [1, 2 * SECOND])
async def test_a_timer_that_rings_early_does_not_bring_the_deadline_forward(host: ByHand, early: int) -> None:
    host.begin(lambda ctx: ctx.step("long", never), deadline=60 * SECOND)
    host.lag = early
    await host.passes(60)
    assert host.statuses == []
    await host.passes(early / SECOND)
    assert host.statuses == ["failed"]


async def test_without_a_deadline_a_step_takes_its_time(host: ByHand) -> None:
    host.begin(lambda ctx: ctx.step("long", never))
    await host.passes(10_000_000)
    assert host.commits == []


async def test_a_deadline_that_passes_is_for_on_failure_to_answer(host: ByHand) -> None:
    host.begin(lambda ctx: ctx.step("long", never), kind=Mends, deadline=60 * SECOND)
    await host.passes(60)
    assert host.statuses == ["pending"]
    assert [record.phase for record in host.commits[-1].steps] == [Phase.OUTCOME]


async def test_a_run_that_has_ended_does_not_hear_its_deadline(host: ByHand) -> None:
    host.begin(nothing, deadline=60 * SECOND)
    await host.settle()
    await host.passes(60)
    assert (host.statuses, host.left, host.ends) == (["completed"], 1, 1)


# ---- letting go ---------------------------------------------------------------------------------------------------------


async def test_a_steps_task_remains_until_it_has_ended(host: ByHand) -> None:
    cancelled, gate = asyncio.Event(), Gate()

    async def stubborn() -> None:
        try:
            await never()
        except asyncio.CancelledError:
            cancelled.set()
            await gate.future

    host.begin(lambda ctx: ctx.step("stubborn", stubborn), deadline=SECOND)
    await host.passes(1)
    assert cancelled.is_set()
    left = host.run.remains()
    assert len(left) == 2  # the body, and the task that carries out its step
    for task in left:
        if task.get_name() == "x":
            task.cancel()
    await host.turn()
    (step,) = host.run.remains()
    assert step.get_name() == "x/stubborn"
    gate.open()
    await host.turn()
    assert host.run.remains() == []


async def test_a_detached_body_says_nothing_more_however_it_ends(host: ByHand) -> None:
    host.begin(lambda ctx: ctx.step("long", never))
    await host.settle()
    host.run.detach()
    for task in host.run.remains():
        task.cancel()
    await host.settle()
    assert host.run.remains() == []
    assert (host.commits, host.left, host.ends) == ([], 0, 0)


async def test_what_had_settled_before_the_body_was_detached_is_still_saved(host: ByHand) -> None:
    host.begin(lambda ctx: ctx.step("a", one))
    await host.turn()
    host.run.detach()
    await host.settle()
    assert host.said == [("a", Phase.OUTCOME)]
    assert host.observer.handed == []


async def test_detaching_ends_the_pause_of_what_met_a_busy_row(host: ByHand) -> None:
    host.begin(lambda ctx: ctx.step("a", one))
    await host.turn()
    host.answer(host.take(), Fate.BUSY)
    assert host.take() is None
    host.run.detach()
    assert host.take() is not None


async def test_a_lost_run_forgets_what_it_had_to_say_and_is_lost_once(host: ByHand, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "zart.run")
    host.begin(lambda ctx: ctx.step("a", one))
    await host.turn()
    commit = host.take()
    host.run.lose()
    assert lines(caplog) == [(logging.INFO, "execution x is no longer held: it was cancelled, or taken over")]
    for fate in (Fate.LOST, Fate.BUSY, Fate.REFUSED):
        host.answer(commit, fate)
    await host.settle()
    assert (len(host.commits), host.left, host.ends) == (1, 0, 1)
    assert host.journal.paused == []


async def test_a_lost_run_stops_its_step_and_hears_no_deadline(host: ByHand) -> None:
    cut = asyncio.Event()

    async def long() -> None:
        try:
            await never()
        finally:
            cut.set()

    host.begin(lambda ctx: ctx.step("long", long), deadline=60 * SECOND)
    await host.settle()
    host.run.lose()
    await host.settle()
    assert cut.is_set()
    await host.passes(60)
    assert (host.left, host.ends, host.commits) == (0, 1, [])


async def test_a_run_that_is_over_leaves_no_timer_behind(host: ByHand) -> None:
    host.begin(lambda ctx: ctx.sleep("s", 100), deadline=200 * SECOND)
    await host.settle()
    assert [each.cancelled for each in host.clock.timers] == [False] * 3  # of the deadline, the sleep, and the parking
    host.run.lose()
    assert [each.cancelled for each in host.clock.timers] == [True] * 3


async def test_a_run_that_storage_no_longer_knows_is_dropped(host: ByHand) -> None:
    host.begin(lambda ctx: ctx.step("a", one))
    await host.turn()
    host.answer(host.take(), Fate.LOST)
    await host.settle()
    assert (len(host.commits), host.ends, host.observer.handed) == (1, 1, [])


# ---- the last word ------------------------------------------------------------------------------------------------------


async def test_the_end_is_told_in_one_line(host: ByHand, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "zart.run")
    host.begin(nothing)
    await host.settle()
    assert lines(caplog) == [(logging.INFO, "execution x is completed")]
    assert caplog.records[-1].__dict__["task"] == "plays"


async def test_a_failure_is_told_as_a_warning_with_its_reason(host: ByHand, caplog: pytest.LogCaptureFixture) -> None:
    async def body(ctx: TaskContext) -> None:
        raise RuntimeError("it broke")

    caplog.set_level(logging.INFO, "zart.run")
    host.begin(body)
    await host.settle()
    reason = host.moves[0].reason or ""
    assert "it broke" in reason
    assert lines(caplog) == [(logging.WARNING, f"execution x is failed: {reason}")]


async def test_an_attempt_to_come_is_no_warning(host: ByHand, caplog: pytest.LogCaptureFixture) -> None:
    async def body(ctx: TaskContext) -> None:
        raise RuntimeError

    caplog.set_level(logging.INFO, "zart.run")
    host.begin(body, retries=1)
    await host.settle()
    assert lines(caplog) == [(logging.INFO, f"execution x is waiting: {host.moves[0].reason}")]
    assert host.moves[0].attempt == 1


async def test_a_history_that_cannot_be_read_is_told_as_a_warning(host: ByHand, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "zart.run")
    host.begin(nothing, damage="torn")
    await host.settle()
    assert host.statuses == ["waiting"]
    assert lines(caplog) == [(logging.WARNING, f"execution x is waiting: {host.moves[0].reason}")]


async def test_without_anybody_to_read_it_nothing_is_told(host: ByHand, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "zart.run")
    host.begin(nothing)
    await host.settle()
    assert lines(caplog) == []


async def test_the_slot_is_given_back_before_the_last_word_is_saved(host: ByHand) -> None:
    host.begin(nothing)
    await host.turn()
    assert (host.left, host.ends) == (1, 0)
    await host.settle()
    assert (host.left, host.ends) == (1, 1)


async def test_what_is_set_aside_says_that_and_nothing_unsaved(host: ByHand, caplog: pytest.LogCaptureFixture) -> None:
    async def body(ctx: TaskContext) -> None:
        await asyncio.gather(ctx.step("a", one), ctx.step("b", gate_then_one))

    async def gate_then_one() -> int:
        await gate.future
        return 1

    gate = Gate()
    caplog.set_level(logging.INFO, "zart.run")
    host.begin(body)
    await host.turn()
    commit = host.take()
    gate.open()
    await host.turn()  # b has settled, and is not saved
    host.observer.fault = RuntimeError("the engine's own")
    host.answer(commit)
    await host.settle()
    assert host.said == [("a", Phase.OUTCOME), ("", Phase.ATTEMPT)]
    assert host.statuses == ["waiting"]
    own = "the engine met an error of its own; see the worker's log"
    assert lines(caplog) == [
        (logging.ERROR, "execution x cannot go on"),
        (logging.WARNING, f"execution x is set aside: {own}"),
        (logging.INFO, f"execution x is waiting: {own}"),
    ]
    assert body_record(host.commits[-1].steps[0]) == {"setback": own}


async def test_what_cannot_even_be_set_aside_keeps_neither_slot_nor_lease(
    host: ByHand, caplog: pytest.LogCaptureFixture
) -> None:
    host.fault = RuntimeError("no way out")
    host.begin(nothing, damage="torn")  # the start trips over the host's fault, and so does setting it aside
    await host.settle()
    assert host.ends == 1
    assert host.commits == []
    assert (logging.ERROR, "execution x cannot be set aside") in lines(caplog)


async def test_what_is_let_go_saves_what_it_can_and_is_let_go_once(host: ByHand, caplog: pytest.LogCaptureFixture) -> None:
    host.begin(lambda ctx: ctx.step("a", one))
    await host.turn()
    host.run.let_go("the line is dead")
    host.run.let_go("the line is still dead")
    await host.settle()
    assert host.said == [("a", Phase.OUTCOME), ("", Phase.ATTEMPT)]
    assert host.statuses == ["waiting"]
    assert (host.left, host.ends) == (1, 1)
    assert lines(caplog) == [(logging.WARNING, "execution x is let go: the line is dead")]


async def test_a_reason_is_saved_as_one_line(host: ByHand) -> None:
    host.begin(lambda ctx: ctx.step("long", never))
    await host.settle()
    host.run.let_go("one\ntwo")
    await host.settle()
    reason = host.moves[0].reason or ""
    assert "one" in reason
    assert "two" in reason
    assert "\n" not in reason


async def test_a_body_that_raises_a_cancellation_of_its_own_has_failed(host: ByHand) -> None:
    async def body(ctx: TaskContext) -> None:
        raise asyncio.CancelledError

    host.begin(body)
    await host.settle()
    assert host.statuses == ["failed"]
    assert error_summary(host.moves[0].payload or "") == "asyncio.exceptions.CancelledError: raised by the body itself"


async def test_a_result_that_cannot_be_saved_is_the_bodys_failure(host: ByHand) -> None:
    async def body(ctx: TaskContext) -> str:
        return "x" * 2000

    host.begin(body)
    await host.settle()
    assert host.statuses == ["failed"]


async def test_what_is_being_saved_when_the_body_ends_comes_first(host: ByHand) -> None:
    async def body(ctx: TaskContext) -> int:
        napping = asyncio.create_task(ctx.sleep("nap", 10))
        await gate.future
        napping.cancel()
        return 7

    gate = Gate()
    host.begin(body)
    await host.turn()
    opened = host.take()
    gate.open()
    await host.turn()
    assert host.left == 0
    host.answer(opened)
    await host.settle()
    assert host.statuses == ["completed"]
    assert not host.commits[-1].steps


async def test_a_scheduled_step_that_fails_is_waited_for_when_the_body_has_ended(host: ByHand) -> None:
    calls = []

    async def fails_once() -> int:
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError
        return 1

    async def body(ctx: TaskContext) -> str:
        ctx.schedule(Step.of("s", fails_once, retry=RetryConfig.fixed(1, "0.5s")))
        return "done"

    host.begin(body)
    await host.settle()
    assert host.statuses == []
    await host.passes(0.5)
    assert (len(calls), host.statuses) == (2, ["completed"])
    assert ("s", Phase.OUTCOME) in host.said


async def test_a_body_that_has_ended_is_parked_with_the_scheduled_step_it_waits_for(host: ByHand) -> None:
    async def fails() -> None:
        raise RuntimeError

    async def body(ctx: TaskContext) -> None:
        ctx.schedule(Step.of("s", fails, retry=RetryConfig.fixed(1, "1h")))

    host.begin(body)
    await host.settle()
    host.clock.advance(PARK_AFTER)
    await host.settle()
    assert host.parked
    assert host.moves[0].due_at == host.now() + int((3600 - PARK_AFTER) * SECOND)


async def test_a_body_that_raises_abandons_what_it_has_scheduled(host: ByHand) -> None:
    async def body(ctx: TaskContext) -> None:
        ctx.schedule(Step.of("s", never))
        await gate.future
        raise RuntimeError("enough")

    gate = Gate()
    host.begin(body)
    await host.turn()
    gate.open()
    await host.settle()
    assert host.statuses == ["failed"]
    assert host.said == []


# ---- what the worker asks -----------------------------------------------------------------------------------------------


async def test_mail_reaches_a_waiting_body_and_is_known(host: ByHand) -> None:
    got = []

    async def body(ctx: TaskContext) -> None:
        got.append(await ctx.wait_for_event("e"))

    host.begin(body, mail=[letter(1, "other")], seen=1)
    await host.settle()
    assert host.run.seen == 1
    host.run.deliver([letter(2, "e", '"hello"')])
    assert host.run.seen == 2
    await host.settle()
    assert (got, host.statuses) == (["hello"], ["completed"])


async def test_mail_that_comes_back_with_an_answer_is_taken(host: ByHand) -> None:
    host.begin(lambda ctx: ctx.wait_for_event("e"))
    await host.turn()
    host.answer(host.take(), mail=[letter(1, "e", "5")])
    await host.settle()
    assert (host.moves[0].payload, host.run.seen) == ("5", 1)


async def test_a_step_that_a_stale_lease_holds_back_begins_when_it_is_renewed(host: ByHand) -> None:
    host.is_stale = True
    host.begin(lambda ctx: ctx.step("a", one))
    await host.settle()
    assert host.commits == []
    host.is_stale = False
    host.run.lease_renewed()
    await host.settle()
    assert host.statuses == ["completed"]


async def test_a_run_is_idle_when_all_is_saved_and_only_time_can_move_it(host: ByHand) -> None:
    host.begin(lambda ctx: ctx.sleep("s", 0.5))
    assert host.run.is_idle is False  # its body has yet to begin
    await host.turn()
    assert host.run.is_idle is False  # that the sleep has begun is not saved
    commit = host.take()
    assert host.run.is_idle is False
    host.answer(commit)
    await host.turn()
    assert host.run.is_idle is True
    assert host.run.next_due() == host.now() + SECOND // 2
    host.clock.jump(timedelta(microseconds=SECOND // 2 - 1))
    assert host.run.is_idle is True
    host.clock.jump(timedelta(microseconds=1))
    assert host.run.is_idle is False  # it is due


async def test_a_run_is_not_idle_while_its_body_moves_or_a_step_runs(host: ByHand) -> None:
    async def body(ctx: TaskContext) -> None:
        napping = asyncio.create_task(ctx.sleep("nap", 0.5))
        await gate.future
        await ctx.step("long", never)
        await napping

    gate = Gate()
    host.begin(body)
    await host.settle()
    assert host.run.is_idle is True
    gate.open()
    assert host.run.is_idle is False
    await host.settle()
    assert host.run.is_idle is False


async def test_a_run_that_will_be_parked_is_not_idle_yet(host: ByHand) -> None:
    host.begin(lambda ctx: ctx.sleep("s", 60))
    await host.settle()
    assert host.run.is_idle is False


async def test_the_deadline_is_due_before_what_comes_after_it(host: ByHand) -> None:
    host.begin(lambda ctx: ctx.sleep("s", 60), deadline=30 * SECOND)
    await host.settle()
    assert host.run.next_due() == host.now() + 30 * SECOND


# ---- what storage answers -----------------------------------------------------------------------------------------------


async def test_what_was_too_busy_is_said_again_in_the_same_words(host: ByHand) -> None:
    host.begin(lambda ctx: ctx.step("a", one))
    await host.turn()
    first = host.take()
    host.answer(first, Fate.BUSY)
    await host.turn()
    assert host.take() is None  # not before its pause is over
    host.journal.hurry()
    second = host.take()
    assert second == first
    host.answer(second)
    await host.settle()
    assert host.statuses == ["completed"]


async def test_an_outcome_that_storage_refuses_becomes_the_steps_failure_and_the_body_goes_on(host: ByHand) -> None:
    caught = []

    async def body(ctx: TaskContext) -> str:
        try:
            await ctx.step("a", one)
        except Exception as error:  # noqa: BLE001 # its kind is what is asked
            caught.append(type(error).__name__)
        return "went on"

    host.begin(body)
    await host.turn()
    host.answer(host.take(), Fate.REFUSED)
    await host.settle()
    assert (caught, host.statuses) == (["StepFailed"], ["completed"])


async def test_a_body_that_has_ended_goes_on_to_its_last_word_when_what_was_unsaved_is_left_out(host: ByHand) -> None:
    async def body(ctx: TaskContext) -> int:
        napping = asyncio.create_task(ctx.sleep("nap", 10))
        await gate.future
        napping.cancel()
        return 7

    gate = Gate()
    host.begin(body)
    await host.settle()
    gate.open()
    await host.turn()
    abandoned = host.take()
    assert abandoned is not None
    assert abandoned.move is None
    host.answer(abandoned, Fate.REFUSED)  # that nobody waits for the sleep any more: there is nothing to say instead
    await host.settle()
    assert host.statuses == ["completed"]


async def test_a_last_word_that_storage_refuses_has_two_others_in_its_place_and_no_more(host: ByHand) -> None:
    host.begin(nothing)
    await host.turn()
    for status in ("completed", "failed", "waiting"):
        assert host.ends == 0
        host.answer(host.take(), Fate.REFUSED)
        assert host.statuses[-1] == status
    assert host.take() is None
    assert (len(host.moves), host.ends) == (3, 1)


async def test_what_was_said_while_a_commit_was_in_flight_goes_out_after_it(host: ByHand) -> None:
    async def body(ctx: TaskContext) -> None:
        await asyncio.gather(ctx.step("a", one), ctx.step("b", later))

    async def later() -> None:
        await gate.future

    gate = Gate()
    host.begin(body)
    await host.turn()
    commit = host.take()
    gate.open()
    await host.turn()
    assert host.said == [("a", Phase.OUTCOME)]
    host.answer(commit)
    await host.settle()
    assert host.said == [("a", Phase.OUTCOME), ("b", Phase.OUTCOME)]
    assert host.statuses == ["completed"]


# ---- turns --------------------------------------------------------------------------------------------------------------


async def test_an_outcome_is_handed_over_only_when_the_body_rests(host: ByHand) -> None:
    async def body(ctx: TaskContext) -> None:
        step = asyncio.create_task(ctx.step("a", one))
        await gate.future
        await step

    gate = Gate()
    host.begin(body)
    await host.turn()
    commit = host.take()
    gate.open()
    host.answer(commit)
    assert host.observer.handed == []
    await host.turn()
    assert host.observer.handed == ["a"]


async def test_outcomes_that_were_saved_together_are_handed_over_one_at_a_time(host: ByHand) -> None:
    order = []

    async def takes(ctx: TaskContext, name: str) -> None:
        await ctx.step(name, one)
        await asyncio.sleep(0)
        order.append((name, list(host.observer.handed)))

    async def body(ctx: TaskContext) -> None:
        await asyncio.gather(takes(ctx, "a"), takes(ctx, "b"))

    host.begin(body)
    await host.turn()
    host.answer(host.take())
    await host.settle()
    assert order == [("a", ["a"]), ("b", ["a", "b"])]


async def test_an_outcome_that_nobody_waits_for_does_not_stop_the_next(host: ByHand) -> None:
    async def body(ctx: TaskContext) -> None:
        first = asyncio.create_task(ctx.step("a", one))
        second = asyncio.create_task(ctx.step("b", one))
        await gate.future
        first.cancel()
        await second

    gate = Gate()
    host.begin(body)
    await host.turn()
    commit = host.take()
    gate.open()
    await host.turn()
    host.answer(commit)
    await host.settle()
    assert (host.observer.handed, host.statuses) == (["b"], ["completed"])


async def test_what_a_transaction_has_saved_is_handed_over_without_the_journal(host: ByHand) -> None:
    committed: list[Commit] = []

    class Said:
        async def commit(self, commits: Sequence[Commit]) -> Sequence[Committed]:
            committed.extend(commits)
            return [Committed()]

    @asynccontextmanager
    async def opened() -> AsyncIterator[Any]:
        yield "connection", Said()

    async def writes(connection: Any) -> str:
        return f"by {connection}"

    host.open_transaction = opened
    host.begin(lambda ctx: ctx.transaction("t", writes))
    await host.turn()
    assert [record.name for commit in committed for record in commit.steps] == ["t"]
    assert host.observer.handed == ["t"]
    await host.settle()
    assert host.moves[0].payload == '"by connection"'


@pytest.mark.parametrize("gone", [False, True])
async def test_what_a_transaction_has_saved_waits_until_the_body_rests_and_nobody_gets_it_once_that_is_detached(
    host: ByHand, gone: bool
) -> None:
    class Said:
        async def commit(self, commits: Sequence[Commit]) -> Sequence[Committed]:
            if gone:
                host.run.detach()
            else:
                gate.open()
            return [Committed()]

    @asynccontextmanager
    async def opened() -> AsyncIterator[Any]:
        yield None, Said()

    async def writes(connection: Any) -> None:
        pass

    async def body(ctx: TaskContext) -> None:
        step = asyncio.create_task(ctx.transaction("t", writes))
        await gate.future
        order.extend(host.observer.handed)
        await step

    gate, order = Gate(), ["resumed"]
    host.open_transaction = opened
    host.begin(body)
    await host.settle()
    assert order == ["resumed"]
    assert host.observer.handed == ([] if gone else ["t"])
    assert host.statuses == ([] if gone else ["completed"])


async def test_turns_keep_their_order_though_a_timer_rings_while_one_is_handed_over(host: ByHand) -> None:
    async def body(ctx: TaskContext) -> list[str]:
        order: list[str] = []
        await gate.future
        await asyncio.gather(takes(ctx, "a", order), takes(ctx, "b", order))
        return order

    async def takes(ctx: TaskContext, name: str, order: list[str]) -> None:
        await ctx.step(name, one)
        order.append(name)

    gate = Gate()
    host.begin(body, steps=[outcome(1, "a", 1), outcome(2, "b", 1)])
    await host.settle()  # in doubt, and so with a timer
    gate.open()
    host.observer.meanwhile = lambda: host.clock.advance(1)
    await host.settle()
    assert host.moves[0].payload == '["a","b"]'


# ---- a body that does something else ------------------------------------------------------------------------------------


async def test_a_body_has_a_second_to_ask_for_what_was_saved(host: ByHand) -> None:
    host.begin(lambda ctx: never(), steps=[outcome(1, "a")])
    await host.settle()
    assert host.run.is_idle is True
    assert host.run.next_due() == host.now() + SECOND
    await host.passes(0.999999)
    assert host.commits == []
    await host.passes(0.000001)
    (move,) = host.moves
    assert move.status is ExecutionStatus.WAITING
    assert "the body asks for nothing" in (move.reason or "")


async def test_a_body_that_is_only_slow_to_ask_goes_on(host: ByHand) -> None:
    async def body(ctx: TaskContext) -> Any:
        await gate.future
        return await ctx.step("a", one, returns=int)

    gate = Gate()
    host.begin(body, steps=[outcome(1, "a", 5)])
    await host.passes(0.9)
    gate.open()
    await host.settle()
    await host.passes(1)
    assert (host.statuses, host.moves[0].payload) == (["completed"], "5")


async def test_each_rest_of_a_body_in_doubt_has_its_own_second(host: ByHand) -> None:
    async def body(ctx: TaskContext) -> None:
        await gate.future
        await ctx.step("other", one)

    gate = Gate()
    host.begin(body, steps=[outcome(1, "a")])
    await host.passes(0.75)
    gate.open()
    await host.passes(0.75)
    assert host.commits == []
    await host.passes(0.25)
    assert "the body asks only for 'other'" in (host.moves[0].reason or "")
    assert host.said == [("", Phase.ATTEMPT)]


async def test_a_body_that_ends_without_what_was_saved_has_diverged_at_once(host: ByHand) -> None:
    host.begin(nothing, steps=[outcome(1, "a")])
    await host.settle()
    assert host.statuses == ["waiting"]
    assert "the body ended without it" in (host.moves[0].reason or "")


async def test_a_body_that_asks_for_another_kind_by_that_name_has_diverged_at_once(host: ByHand) -> None:
    host.begin(lambda ctx: ctx.sleep("a", 10), steps=[outcome(1, "a")])
    await host.settle()
    assert host.statuses == ["waiting"]
    assert "the body asks for sleep 'a'" in (host.moves[0].reason or "")


async def test_a_saved_value_of_another_type_sets_the_execution_aside(host: ByHand) -> None:
    host.begin(lambda ctx: ctx.step("a", one, returns=int), steps=[outcome(1, "a", "text")])
    await host.settle()
    assert host.statuses == ["waiting"]
    assert "not of the type that the code now asks for" in (host.moves[0].reason or "")


# ---- parking ------------------------------------------------------------------------------------------------------------


async def test_a_body_that_waits_stays_for_a_while_when_slots_are_free_and_is_parked_then(host: ByHand) -> None:
    host.begin(lambda ctx: ctx.sleep("s", 60))
    due = host.now() + 60 * SECOND
    await host.settle()
    await host.passes(PARK_AFTER - 0.000001)
    assert host.moves == []
    await host.passes(0.000001)
    assert host.parked
    assert (host.moves[0].due_at, host.moves[0].seen) == (due, 0)


async def test_a_body_that_waits_for_an_event_alone_is_parked_too(host: ByHand) -> None:
    host.begin(lambda ctx: ctx.wait_for_event("e"), mail=[letter(1, "other")], seen=1)
    await host.settle()
    await host.passes(PARK_AFTER)
    assert host.parked
    assert (host.moves[0].due_at, host.moves[0].seen) == (None, 1)


async def test_a_body_that_waits_is_parked_at_once_when_no_slot_is_free(host: ByHand) -> None:
    host.is_full = True
    host.begin(lambda ctx: ctx.sleep("s", 0.5))
    await host.settle()
    assert host.parked


@pytest.mark.parametrize(("length", "parked"), [(0.999999, False), (1, True)])
async def test_a_wait_of_less_than_a_second_is_not_worth_parking(host: ByHand, length: float, parked: bool) -> None:
    host.park_after = 0.5
    host.begin(lambda ctx: ctx.sleep("s", length))
    await host.settle()
    await host.passes(0.5)
    assert host.parked == parked
    await host.passes(0.5)
    assert host.statuses == (["waiting"] if parked else ["completed"])


async def test_the_time_before_parking_begins_anew_with_every_move(host: ByHand) -> None:
    async def body(ctx: TaskContext) -> None:
        await asyncio.gather(ctx.sleep("s", 60), waits(ctx))

    async def waits(ctx: TaskContext) -> None:
        await ctx.wait_for_event("first")
        await ctx.wait_for_event("second")

    host.begin(body)
    await host.settle()
    await host.passes(3)
    host.run.deliver([letter(1, "first")])
    await host.settle()
    await host.passes(4.999999)
    assert host.moves == []
    await host.passes(0.000001)
    assert host.parked


async def test_the_time_before_parking_goes_on_when_the_body_asks_for_nothing_new(host: ByHand) -> None:
    gate = Gate()
    host.begin(partial(naps, gate))
    await host.settle()
    await host.passes(3)
    gate.open()
    await host.settle()
    await host.passes(2)
    assert host.parked


async def test_a_body_that_is_at_work_when_its_time_is_up_is_not_parked_before_it_has_waited_again(host: ByHand) -> None:
    gate = Gate()
    host.begin(partial(naps, gate))
    await host.settle()
    gate.open()
    host.clock.advance(PARK_AFTER)  # before the body's next turn
    assert host.left == 0
    await host.settle()
    assert host.left == 0
    await host.passes(PARK_AFTER)
    assert host.parked


async def test_a_body_that_has_ended_waits_no_less_for_its_scheduled_step_before_it_is_parked(host: ByHand) -> None:
    async def fails() -> None:
        await gate.future
        raise RuntimeError

    async def body(ctx: TaskContext) -> None:
        ctx.schedule(Step.of("s", fails, retry=RetryConfig.fixed(1, "1h")))

    gate = Gate()
    host.begin(body)
    await host.passes(3)
    gate.open()
    await host.settle()
    await host.passes(PARK_AFTER - 0.000001)
    assert host.moves == []
    await host.passes(0.000001)
    assert host.parked


async def test_a_step_that_is_called_again_while_its_body_was_to_be_parked_keeps_it_in_memory(host: ByHand) -> None:
    calls = []

    async def fails_once() -> None:
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError
        await never()

    host.begin(lambda ctx: ctx.step("s", fails_once, retry=RetryConfig.fixed(1, "3s")))
    await host.settle()
    await host.passes(3)
    assert len(calls) == 2
    await host.passes(PARK_AFTER)
    assert host.moves == []


async def test_nothing_is_parked_while_something_of_it_is_unsaved(host: ByHand) -> None:
    host.begin(lambda ctx: ctx.wait_for_event("e", int))
    await host.settle()
    await host.passes(3)
    host.run.deliver([letter(1, "e", '"no number"')])
    await host.turn()
    host.clock.advance(PARK_AFTER - 3)
    assert host.left == 0
    await host.settle()
    await host.passes(PARK_AFTER)
    assert host.parked
    assert "'e'" in (host.moves[0].reason or "")


# ---- a body that hangs --------------------------------------------------------------------------------------------------


async def test_a_body_that_waits_for_no_operation_is_reported_after_ten_seconds(
    host: ByHand, caplog: pytest.LogCaptureFixture
) -> None:
    host.begin(lambda ctx: never())
    await host.settle()
    await host.passes(9.999999)
    assert lines(caplog) == []
    await host.passes(0.000001)
    ((level, text),) = lines(caplog)
    assert level == logging.WARNING
    assert text.startswith("execution x hangs, and on no operation: ")
    assert text.endswith(" in run")
    assert (host.commits, host.run.is_idle) == ([], False)


async def test_a_body_whose_step_runs_does_not_hang(host: ByHand, caplog: pytest.LogCaptureFixture) -> None:
    async def body(ctx: TaskContext) -> None:
        await gate.future
        await ctx.step("long", never)

    gate = Gate()
    host.begin(body)
    await host.passes(3)
    gate.open()
    await host.settle()
    await host.passes(100)
    assert lines(caplog) == []


async def test_a_body_that_hangs_after_a_move_is_reported_once(host: ByHand, caplog: pytest.LogCaptureFixture) -> None:
    async def body(ctx: TaskContext) -> None:
        await gate.future
        await ctx.step("short", one)
        await never()

    gate = Gate()
    host.begin(body)
    await host.passes(3)
    gate.open()
    await host.settle()
    for _ in range(40):
        await host.passes(1)
    assert len(lines(caplog)) == 1


@pytest.mark.parametrize("more", [{"deadline": -1}, {"crashes": MAX_CRASHES, "crashed_workers": ("w",) * MAX_CRASHES}])
async def test_nothing_is_made_of_a_history_that_cannot_be_read(host: ByHand, more: dict[str, Any]) -> None:
    host.begin(nothing, kind=Mends, damage="torn", **more)
    await host.settle()
    assert host.statuses == ["waiting"]
    assert body_record(host.commits[-1].steps[0]).keys() == {"setback"}
