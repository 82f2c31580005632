"""One claim, from its first turn to its one Move.

A run builds the past out of the claim, starts the body, and then acts only when the body rests (`zart.turns`) or something is
saved:

1. While outcomes are left in the history, the next one is handed over, if the body has asked for it. If it has not, and does
   not within a second, the body does something else than what was saved: `NonDeterminism`, and nothing more happens.
2. When the history is used up, the run is live: operations that the body asks for begin at once.
3. An operation that settles is noted; the journal takes it with the next group; when it is durable, it is handed over in its
   turn.
4. A body that rests with nothing but durable waits is parked: detached, its Move saved, cancelled.
5. A body that has ended becomes a Move too: completed, failed, to be tried again, or on to `on_failure` (a later claim runs
   it).

From the moment it is detached a body can do nothing any more: its operations raise `CancelledError`.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextvars import copy_context
from typing import Any, Protocol

from attrs import evolve

from zart.clock import SECOND, Instant, Timer
from zart.context import TaskContext
from zart.ending import Ending, body_failed, capped, completed, crash_loop, failed, instead, set_aside, undecoded
from zart.errors import DeadlineExceeded, DeserializationError, ExecutionFailure, ZartError
from zart.journal import Journal
from zart.operations import ExecutionInfo, Surroundings
from zart.outbox import Line, Outbox
from zart.outcome import load_failure
from zart.outcome.wording import one_line
from zart.records import Claim, Commit, Committed, Fate, Mail, Move
from zart.refusals import Refusals, why
from zart.registry import Task
from zart.replay import Replay
from zart.stage import Stage
from zart.status import ExecutionStatus
from zart.transactions import Transactions
from zart.turns import CURRENT, Turns

logger: logging.Logger = logging.getLogger("zart.run")

DIVERGENCE_GRACE = 1.0
"""Seconds that a resting body has to ask for what was saved."""
HANG_WARNING = 10.0
"""Seconds after which a body that waits for no operation is reported."""
OWN_ERROR = "the engine met an error of its own; see the worker's log"
APPLIED = Fate.APPLIED
DURABLE = Committed()
SOON = SECOND
"""A timer nearer than this keeps a body in memory while slots are free."""


class Host(Surroundings, Protocol):
    """What a run needs of its worker."""

    journal: Journal
    park_after: float

    def has_free_slots(self) -> bool:
        """Whether the worker could run more than it does."""
        ...

    def leaving(self, run: "Run") -> None:
        """Take back the slot: the run's last word is on its way."""

    def ended(self, run: "Run") -> None:
        """Let go of the run: its last word is saved, or it has none."""


class Run:
    """One claim being carried out; an `Author` of the journal."""

    def __init__(self, claim: Claim, task: Task, host: Host, max_crashes: int) -> None:
        self.claim = claim
        self.task = task
        self.execution_id: str = claim.token.execution_id
        self._host = host
        self._max_crashes = max_crashes
        self._past = Replay(claim)
        self._outbox = Outbox(host.journal, self, self._past.next_seq)
        self._stage = Stage(host, self._past, self._outbox, claim.deadline, task.raises)
        self._refusals = Refusals(claim, self._stage, self._outbox)
        self._ending: Ending | None = None
        self._turns = Turns(self._rested, f"{self.execution_id}/{claim.token.run}")
        self._main: asyncio.Task[Any] | None = None
        self._advancing = False
        self._timer: Timer | None = None
        self._timer_moves = 0
        self._deadline_timer: Timer | None = None

    # ---- beginning and end ------------------------------------------------------------------------------------------

    @property
    def info(self) -> ExecutionInfo:
        """What the body knows of itself; only of a run that has started one."""
        return self._stage.info

    def start_safely(self) -> None:
        """Start, whatever happens: what one claim stumbles over must not strand the others of its batch."""
        try:
            self.start()
        except Exception:
            logger.exception("execution %s cannot start", self.execution_id, extra=self.claim.tags)
            self._set_aside(OWN_ERROR)

    def start(self) -> None:
        """Start the body, or say at once why it cannot."""
        claim, first = self.claim, self._past.failure
        try:
            self._past.check()  # nothing may be made of a history that cannot be read
            if (hopeless := self._hopeless()) is not None:
                self._fail(hopeless)
                return
            data = self.task.data.decode(claim.payload)
        except DeserializationError as error:
            self._leave(undecoded(claim, self.task, self._past, error, self._host.now()))
            return
        self._stage.info = ExecutionInfo(self.execution_id, claim.task, data, claim.attempt, self.task.retry.max_retries)
        context = TaskContext(self._stage, self._turns, self._transactions)
        try:
            if first is None:
                body = self.task.handler.run(context, data)
            else:
                body = self.task.handler.on_failure(context, data, load_failure(first.payload or "", self.task.raises))
        except BaseException as error:  # noqa: BLE001 # no coroutine function after all: whatever it raises is the body's failure
            self._body_failed(error)
            return
        scope = copy_context()
        scope.run(CURRENT.set, context)
        self._main = self._host.loop.create_task(body, context=scope, name=self.execution_id)
        if claim.deadline is not None:
            left = max(0, claim.deadline - self._host.now()) / SECOND
            self._deadline_timer = self._host.clock.call_later(left, self._deadline_passed)

    def _hopeless(self) -> ExecutionFailure | None:
        if self.claim.crashes >= self._max_crashes:
            return crash_loop(self.claim)
        return DeadlineExceeded() if self.claim.deadline is not None and self.claim.deadline <= self._host.now() else None

    def _transactions(self) -> Transactions:
        return Transactions(self._host.open_transaction, self, self._outbox, self.claim.token)

    def lose(self) -> None:
        """Drop everything: the execution is cancelled, or another worker's."""
        logger.info("execution %s is no longer held: it was cancelled, or taken over", self.execution_id, extra=self.claim.tags)
        try:
            self.detach()
        finally:
            self._over()

    def detach(self) -> None:
        """Take the body's operations away. Settled outcomes are still saved; the body itself is its worker's to cancel."""
        self._stage.close()
        self._outbox.hurry()
        for timer in (self._timer, self._deadline_timer):
            if timer is not None:
                timer.cancel()
        self._timer = self._deadline_timer = None

    def _over(self) -> None:
        self._outbox.close()
        self._turns.end()
        self._stage.forget()
        self._main = None
        self._host.ended(self)

    def remains(self) -> list[asyncio.Task[Any]]:
        """Return the tasks of the body that have not ended."""
        return [*self._turns.tasks(), *(task for task in self._stage.left if not task.done())]

    def _leave(self, ending: Ending) -> None:
        """Detach, and save the last word with whatever is unsaved; the body is cancelled when that has been answered."""
        self.detach()
        move = ending.move if ending.move.reason is None else evolve(ending.move, reason=one_line(ending.move.reason))
        level = logging.WARNING if move.status is ExecutionStatus.FAILED or self._past.damage else logging.INFO
        if logger.isEnabledFor(level):
            what = move.status if move.reason is None else f"{move.status}: {move.reason}"
            logger.log(level, "execution %s is %s", self.execution_id, what, extra=self.claim.tags)
        self._ending = ending
        self._outbox.end(move, ending.records)
        self._host.leaving(self)

    def _fail(self, failure: ExecutionFailure) -> None:
        self._leave(failed(self.claim, self.task, self._past, failure, self._host.now(), self._stage.returned))

    def _set_aside(self, reason: str) -> None:
        self._outbox.clear()
        self._hand_back("set aside", reason)

    def _hand_back(self, how: str, reason: str) -> None:
        logger.warning("execution %s is %s: %s", self.execution_id, how, one_line(reason), extra=self.claim.tags)
        try:
            self._leave(set_aside(self.claim, self._past.setbacks, reason, self._host.now()))
        except Exception:
            logger.exception("execution %s cannot be set aside", self.execution_id, extra=self.claim.tags)
            self.lose()  # it must keep neither slot nor lease: what no beat tells to be held is handed out again

    def _deadline_passed(self) -> None:
        self._deadline_timer = None
        if self._stage.closed or self.claim.deadline is None:
            return
        left = self.claim.deadline - self._host.now()
        if left > 0:  # a timer may ring a little early, a deadline must not
            self._deadline_timer = self._host.clock.call_later(left / SECOND, self._deadline_passed)
        else:
            self._fail(DeadlineExceeded())

    # ---- what the worker tells and asks -----------------------------------------------------------------------------

    @property
    def seen(self) -> int:
        """The last mail that it knows."""
        return self._stage.mailbox.seen

    def deliver(self, mail: Sequence[Mail]) -> None:
        """Take new mail that the worker has learned of."""
        self._stage.deliver(mail)

    def lease_renewed(self) -> None:
        """Go on with what a stale lease has held back, and record the steps that take long."""
        self._stage.lease_renewed()

    @property
    def is_idle(self) -> bool:
        """Whether only time or mail can move it on."""
        if not self._outbox.is_empty or not self._turns.resting:
            return False
        if not self._stage.live:
            return self._timer is not None
        due_at = self.next_due()
        return self._stage.is_quiet() and self._timer is None and (due_at is None or due_at > self._host.now())

    def next_due(self) -> Instant | None:
        """Return when an idle run moves on by itself."""
        if not self._stage.live:
            return self._host.now() + int(DIVERGENCE_GRACE * SECOND)
        return capped(self._stage.next_due(), self.claim.deadline)

    # ---- saving (Author) --------------------------------------------------------------------------------------------

    def take(self) -> Commit | None:
        """Return what is to be saved now."""
        return self._outbox.take(self.claim.token, self._stage.mailbox.seen)

    def saved(self, commit: Commit, answer: Committed) -> None:
        """Learn what became of it."""
        lines = self._outbox.landed(answer.fate)
        if answer.fate is not APPLIED:
            self._not_saved(commit, answer, lines)
            return
        if commit.move is not None:
            self._over()
            return
        if answer.mail:
            self._stage.mailbox.add(answer.mail)
        if not self._stage.closed:
            self._stage.landed(lines, answer)
        self._outbox.send_rest()
        if self._turns.resting:
            self._rested()

    def proceed(self) -> None:
        """Go on: something has become durable without the journal."""
        if not self._stage.closed:
            self._stage.landed((), DURABLE)
            if self._turns.resting:
                self._rested()

    def let_go(self, reason: str) -> None:
        """Save what can be saved and let the execution be claimed again soon."""
        if not self._stage.closed:
            self._hand_back("let go", reason)

    def _not_saved(self, commit: Commit, answer: Committed, lines: list[Line]) -> None:
        if self._outbox.is_closed:
            return
        if answer.fate is Fate.BUSY:
            self._outbox.again(lines)
        elif answer.fate is Fate.REFUSED:
            self._refused(commit, lines, why(answer))
        else:
            self.lose()

    def _refused(self, commit: Commit, lines: list[Line], reason: str) -> None:
        if self._refusals.settle(commit, lines, reason):
            if self._turns.resting:
                self._rested()
            return
        ending = instead(self._ending, self.claim, self.task, self._past, reason, self._host.now(), self._stage.returned)
        if ending is None:
            self.lose()  # not even that can be saved: the execution stays as it is until this worker is gone
        else:
            self._leave(ending)

    # ---- turns ------------------------------------------------------------------------------------------------------

    def _rested(self) -> None:
        """The body rests: hand over the next outcome, end, or park."""
        stage, main = self._stage, self._main
        if self._advancing or stage.closed or main is None:
            return
        if stage.is_busy() and not main.done():
            return  # as at the end of most turns: a step runs
        self._advancing = True
        try:
            self._advance(main)
        except DeserializationError as error:
            self._set_aside(f"what was saved is not of the type that the code now asks for: {error}")
        except BaseException:
            # An engine that trips over one execution must not take the others with it.
            logger.exception("execution %s cannot go on", self.execution_id, extra=self.claim.tags)
            self._set_aside(OWN_ERROR)
        finally:
            self._advancing = False

    def _advance(self, main: asyncio.Task[Any]) -> None:
        stage = self._stage
        while stage.next_turn(ended=main.done()):
            if not self._turns.resting:
                return
        if stage.doubt is not None:
            # A body may only be slow to ask; one that has ended, or asks for something else by that name, is not.
            if main.done() or stage.contradicts():
                self._diverged()
            else:
                self._after(DIVERGENCE_GRACE, self._diverged)
        elif main.done():
            self._body_ended(main)
        elif self._outbox.is_empty:
            self._consider_parking()

    def _diverged(self) -> None:
        if (divergence := self._stage.divergence(ended=self._main is not None and self._main.done())) is not None:
            self._set_aside(str(divergence))

    def _after(self, seconds: float, act: Callable[[], None]) -> None:
        """Act after a time in which the body has not moved."""
        moves = self._stage.moves
        if self._timer is not None:
            if self._timer_moves == moves:
                return
            self._timer.cancel()  # set for a rest that is over
        self._timer_moves = moves

        def ring() -> None:
            self._timer = None
            if not self._stage.closed and self._turns.resting:
                (act if self._stage.moves == moves else self._rested)()

        self._timer = self._host.clock.call_later(seconds, ring)

    # ---- parking ----------------------------------------------------------------------------------------------------

    def _consider_parking(self) -> None:
        if self._stage.is_empty():
            self._after(HANG_WARNING, self._warn_of_hang)
        elif self._stage.is_quiet():
            due_at = self.next_due()
            if not self._host.has_free_slots():
                self._park()
            elif due_at is None or due_at - self._host.now() >= SOON:
                self._after(self._host.park_after, self._park)

    def _park(self) -> None:
        if self._stage.is_quiet() and self._outbox.is_empty:
            seen, reason = self._stage.mailbox.seen, self._stage.mailbox.reason
            self._leave(Ending(Move(ExecutionStatus.WAITING, self.next_due(), seen, reason=reason)))

    def _warn_of_hang(self) -> None:
        for task in self.remains():
            for frame in task.get_stack(limit=1):
                where = f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}"
                logger.warning("execution %s hangs, and on no operation: %s", self.execution_id, where, extra=self.claim.tags)

    # ---- the end of the body ----------------------------------------------------------------------------------------

    def _body_ended(self, main: asyncio.Task[Any]) -> None:
        error = asyncio.CancelledError("raised by the body itself") if main.cancelled() else main.exception()
        if self._stage.abandon_all(but_scheduled=error is None) or not self._outbox.is_empty:
            if self._outbox.is_empty:
                self._consider_parking()  # a scheduled step may wait for its next attempt
            return  # what was scheduled, or is being saved, comes first
        if error is not None:
            self._body_failed(error)
            return
        try:
            ending = completed(self.claim, self.task, main.result(), self._host.payload_limit)
        except ZartError as refused:
            self._body_failed(refused)
        else:
            self._leave(ending)

    def _body_failed(self, error: BaseException) -> None:
        stage, now, chance = self._stage, self._host.now(), self._host.randomness.random
        reopened, returned = stage.reopened(), stage.returned
        self._leave(body_failed(self.claim, self.task, self._past, error, now, reopened, returned, chance))
