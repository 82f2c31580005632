"""One claim, from its first turn to its one Move.

A run builds the past out of the claim, starts the body, and then acts only when the body rests (`zart.turns`) or something is saved:

1. While outcomes are left in the history, the next one is handed over, if the body has asked for it. If it has not, and does not
   within a second, the body does something else than what was saved: `NonDeterminism`, and nothing more happens.
2. When the history is used up, the run is live: operations that the body asks for begin at once.
3. An operation that settles is noted; the journal takes it with the next group; when it is durable, it is handed over in its turn.
4. A body that rests with nothing but durable waits is parked: detached, its Move saved, cancelled.
5. A body that has ended becomes a Move too: completed, failed, to be tried again, or on to `on_failure` (a later claim runs it).

From the moment it is detached a body can do nothing any more: its operations raise `CancelledError`.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Iterable, Sequence
from contextvars import copy_context
from typing import Any, Protocol

from zart.clock import SECOND, Clock, Instant, Timer, moment
from zart.codec import check_size
from zart.context import TaskContext
from zart.errors import (
    DeadlineExceeded,
    DeserializationError,
    DuplicateStepName,
    ExecutionFailure,
    NonDeterminism,
    RetriesExhausted,
    TaskError,
    ZartError,
)
from zart.ids import Randomness
from zart.journal import Journal
from zart.observe import Observer
from zart.operations import EventWait, ExecutionInfo, Operation
from zart.outcome import error_summary, failure_of, is_final, load_error, load_failure, save_error, save_failure
from zart.records import Claim, Commit, Committed, Fate, Mail, Move, StepRecord
from zart.registry import Task
from zart.replay import Replay, body_payload
from zart.spawner import Spawner
from zart.status import ExecutionStatus, Phase, StepKind
from zart.steps import CURRENT
from zart.turns import BODY, Turns

logger = logging.getLogger("zart.run")

DIVERGENCE_GRACE = 1.0
"""Seconds that a resting body has to ask for what was saved."""
HANG_WARNING = 10.0
SOON = SECOND
"""A timer nearer than this keeps a body in memory while slots are free."""
_FIRST_SETBACK, _LONGEST_SETBACK = SECOND, 300 * SECOND


class Host(Protocol):
    """What a run needs of its worker."""

    clock: Clock
    randomness: Randomness
    spawner: Spawner
    journal: Journal
    payload_limit: int
    observer: Observer
    park_after: float

    def now(self) -> Instant:
        """Return storage's time, never ahead of it."""
        ...

    def lease_is_fresh(self) -> bool:
        """Whether step functions may start."""
        ...

    def has_free_slots(self) -> bool:
        """Whether the worker could run more than it does."""
        ...

    def ended(self, run: "Run") -> None:
        """Take back the slot: the run has said its last word."""
        ...


class Run:
    """One claim being carried out. It is the `Desk` of its operations and an `Author` of the journal."""

    def __init__(self, claim: Claim, task: Task, host: Host, max_crashes: int) -> None:
        self.claim = claim
        self.task = task
        self.clock = host.clock
        self.randomness = host.randomness
        self.spawner = host.spawner
        self.payload_limit = host.payload_limit
        self.observer = host.observer
        self.now = host.now
        self.replay = Replay(claim)
        self.mailbox = self.replay.mailbox
        self.info = ExecutionInfo(claim.token.execution_id, claim.task, None, claim.attempt, task.retry.max_retries)
        self.detached = False
        self._host = host
        self._max_crashes = max_crashes
        self._turns = Turns(self._rested)
        self._main: asyncio.Task[Any] | None = None
        self._asked: dict[str, Operation] = {}
        self._held: list[Operation] = []
        self._open: dict[str, Operation] = {}
        self._stale: list[Operation] = []
        self._live = False
        self._advancing = False
        self._turn = 0
        self._last_ask = 0
        # What is to be saved: (operation, record), in order; the sequence number is given when the journal takes it.
        self._unsaved: list[tuple[Operation | None, StepRecord]] = []
        self._in_flight: list[tuple[Operation | None, StepRecord]] = []
        self._writing = False
        self._move: Move | None = None
        self._ready: deque[tuple[Operation, int]] = deque()
        self._failures: dict[int, tuple[bool, bool]] = {}
        self._timer: Timer | None = None
        self._deadline_timer: Timer | None = None

    # ---- beginning and end ------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the body, or say at once why it cannot."""
        claim, first = self.claim, self.replay.failure
        if claim.crashes >= self._max_crashes:
            workers = ", ".join(claim.crashed_workers)
            self._fail(failure_of(TaskError(f"crash loop: {claim.crashes} workers died over it without a saved step: {workers}")))
            return
        if claim.deadline is not None and claim.deadline <= self.now():
            self._fail(DeadlineExceeded())
            return
        try:
            data = self.task.data.decode(claim.payload)
        except DeserializationError as error:
            self._fail(failure_of(error))
            return
        claimed = self.info
        self.info = ExecutionInfo(claimed.execution_id, claimed.task_name, data, claimed.current_attempt, claimed.max_retries)
        context = TaskContext(self)
        if first is None:
            body = self.task.handler.run(context, data)
        else:
            body = self.task.handler.on_failure(context, data, load_failure(first.payload or "", self.task.raises))
        scope = copy_context()
        scope.run(BODY.set, self._turns)
        scope.run(CURRENT.set, context)
        self._main = asyncio.get_running_loop().create_task(body, context=scope, name=self.info.execution_id)
        if claim.deadline is not None:
            left = max(0, claim.deadline - self.now()) / SECOND
            self._deadline_timer = self.clock.call_later(left, self._deadline_passed)

    def lose(self) -> None:
        """Drop everything: the execution is cancelled, or another worker's."""
        if not self.detached:
            self._detach()
        self._unsaved.clear()
        self._move = None
        self._finish()

    def hand_back(self) -> None:
        """Let go without a Move: the worker's farewell hands the execution back. Saved outcomes stay in the journal's hands."""
        if not self.detached:
            self._detach()

    def _detach(self) -> None:
        self.detached = True
        self._stop_timer()
        if self._deadline_timer is not None:
            self._deadline_timer.cancel()
            self._deadline_timer = None
        for operation in list(self._open.values()):
            operation.abandon()
        self._open.clear()
        self._held.clear()
        self._stale.clear()
        self._ready.clear()

    def _leave(self, move: Move, record: StepRecord | None = None) -> None:
        """Detach, and save the Move with whatever is unsaved; the body is cancelled when the Move has been answered."""
        if not self.detached:
            self._detach()
        if record is not None:
            self._unsaved.append((None, record))
        self._move = move
        self._write()

    def _finish(self) -> None:
        self._host.ended(self)

    @property
    def is_idle(self) -> bool:
        """Whether only time or mail can move it on."""
        if self._unsaved or self._in_flight or self._move is not None or not self._turns.resting or self._ready:
            return False
        if not self._live:
            return self._timer is not None
        return bool(self._open) and all(operation.waits for operation in self._open.values())

    def next_due(self) -> Instant | None:
        """Return when it moves on by itself, if it is idle."""
        if not self._live:
            return self.now() + int(DIVERGENCE_GRACE * SECOND)
        return self._next_due(self._open.values())

    def remains(self) -> list[asyncio.Task[Any]]:
        """Return the tasks of the body that have not ended."""
        return [task for task in self._turns.tasks if not task.done()]

    # ---- what operations ask for (Desk) -----------------------------------------------------------------------------

    def ask(self, operation: Operation) -> None:
        """Take an operation that the body asks for; see `Desk`."""
        if self.detached:
            return
        name = operation.name
        if name in self._asked:
            raise DuplicateStepName(name)
        self._asked[name] = operation
        self._last_ask = self._turn
        if self._timer is not None:
            self._stop_timer()
        if self._live:
            self._begin(operation)
        else:
            self._held.append(operation)

    async def perform(self, operation: Operation) -> Any:
        """Ask for an operation and await its outcome."""
        self.ask(operation)
        return await self.outcome_of(operation)

    async def outcome_of(self, operation: Operation) -> Any:
        """Await the outcome of an operation that was asked for."""
        if self.detached:
            await asyncio.sleep(0)
            raise asyncio.CancelledError
        if operation.scheduled:
            # It goes on when its awaiter is cancelled: others may wait for it, and the body's end does.
            await asyncio.shield(operation.future)
        else:
            try:
                await operation.future
            except asyncio.CancelledError:
                self._abandon(operation)
                raise
        if operation.ok:
            return operation.value
        raise operation.value

    def may_start(self, operation: Operation) -> bool:
        """Whether a step's function may start now; if not, `resume` is called when it may."""
        if self._host.lease_is_fresh():
            return True
        self._stale.append(operation)
        return False

    def note(self, operation: Operation, phase: Phase, due_at: Instant | None, payload: str | None = None) -> None:
        """Save an *opened* or *attempt* record."""
        record = StepRecord(
            0, operation.name, operation.kind, phase, phase is Phase.OPENED, payload, operation.attempts, due_at, at=self.now()
        )
        self._unsaved.append((operation, record))
        self._write()

    def settle(self, operation: Operation, ok: bool, payload: str | None, value: Any) -> None:
        """Save an outcome; it is handed over when it is durable, in its turn."""
        if operation.settled or self.detached:
            return
        operation.settled = True
        operation.waits = False
        operation.stop_timer()
        operation.ok = ok
        operation.value = value
        seen = self.mailbox.seen if not ok and operation.kind is StepKind.EVENT else None
        record = StepRecord(
            0, operation.name, operation.kind, Phase.OUTCOME, ok, payload, operation.attempts, None, operation.mail,
            operation.began_at, self.now(), seen,
        )  # fmt: skip
        self._unsaved.append((operation, record))
        self._write()

    def _begin(self, operation: Operation) -> None:
        self._open[operation.name] = operation
        operation.began_at = self.now()
        past = self.replay
        if past.opened or past.attempts:
            operation.begin(past.opened.get(operation.name), past.attempts.get(operation.name))
        else:
            operation.begin(None, None)

    def _abandon(self, operation: Operation) -> None:
        """Nobody awaits it any more. What is being saved stays saved, in its turn, and is handed to nobody."""
        if self._open.pop(operation.name, None) is None:
            return
        operation.abandon()
        sent = any(one is operation for one, _ in self._in_flight) or any(one is operation for one, _ in self._ready)
        self._unsaved = [(one, record) for one, record in self._unsaved if one is not operation]
        if operation.mail is not None and not sent:
            self._give_back(operation.mail)

    def _give_back(self, mail: int) -> None:
        self.mailbox.give_back(mail)
        self._match()

    def _match(self) -> None:
        for operation in list(self._open.values()):
            if isinstance(operation, EventWait) and not operation.settled:
                operation.match()

    # ---- saving (Author) --------------------------------------------------------------------------------------------

    def _write(self) -> None:
        if not self._writing:
            self._writing = True
            self._host.journal.write(self)

    def take(self) -> Commit | None:
        """Return what is to be saved now."""
        unsaved, move = self._unsaved, self._move
        if not unsaved and move is None:
            self._writing = False
            return None
        self._unsaved = []
        self._in_flight = unsaved
        seq = self.replay.next_seq
        records = []
        for _, record in unsaved:
            record.seq = seq
            seq += 1
            records.append(record)
        self.replay.next_seq = seq
        return Commit(self.claim.token, records, self.mailbox.seen, move)

    def saved(self, commit: Commit, answer: Committed) -> None:
        """Learn what became of it."""
        landed, self._in_flight = self._in_flight, []
        self._writing = False
        if answer.fate is Fate.LOST:
            self.lose()
            return
        if answer.fate is Fate.BUSY:
            self.replay.next_seq -= len(landed)
            self._unsaved = landed + self._unsaved
            self._write()
            return
        if answer.fate is Fate.REFUSED:
            self._refused(answer.reason or "storage refused what was to be saved")
            return
        if commit.move is not None:
            self._finish()
            return
        if answer.mail:
            self.mailbox.add(answer.mail)
        for operation, record in landed:
            if operation is not None and not self.detached:
                self._landed(operation, record, withheld=record.seq in answer.withheld)
        if answer.mail and not self.detached:
            self._match()
        if self._unsaved or self._move is not None:
            self._write()
        if self._turns.resting:
            self._rested()

    def _landed(self, operation: Operation, record: StepRecord, *, withheld: bool) -> None:
        if withheld:
            if operation.name in self._open:
                operation.settled = False
                operation.withheld()
        elif record.phase is Phase.OUTCOME:
            self._ready.append((operation, record.seq))
            if not record.ok and record.payload is not None:
                self._failures[record.seq] = (is_final(record.payload), False)
        elif record.phase is Phase.ATTEMPT:
            operation.noted()

    def _refused(self, reason: str) -> None:
        if self._move is not None and self._move.reason == reason:
            self.lose()  # not even that can be saved; the lease will bring it back
            return
        self._unsaved.clear()
        self._set_aside(reason)

    # ---- turns ------------------------------------------------------------------------------------------------------

    def deliver(self, mail: Sequence[Mail]) -> None:
        """Take new mail that the worker has learned of."""
        if not self.detached and self.mailbox.add(mail) and self._live:
            self._match()

    def lease_renewed(self) -> None:
        """Go on with what a stale lease has held back, and open the records of steps that take long."""
        stale, self._stale = self._stale, []
        for operation in stale:
            operation.resume()
        late = self.now() - SECOND
        for operation in self._open.values():
            if not operation.opened and not operation.settled and operation.began_at < late:
                operation.open(operation.due_at if operation.kind is not StepKind.STEP else None)

    def _rested(self) -> None:
        """The body rests: hand over the next outcome, park, or end."""
        if self._advancing or self.detached or self._main is None:
            return
        self._advancing = True
        try:
            self._advance()
        except DeserializationError as error:
            self._set_aside(f"what was saved is not of the type that the code now asks for: {error}")
        except Exception:
            # An engine that trips over one execution must not take the others with it.
            logger.exception("execution %s cannot go on", self.info.execution_id)
            self._set_aside("the engine met an error of its own; see the worker's log")
        finally:
            self._advancing = False

    def _advance(self) -> None:
        past, main = self.replay, self._main
        assert main is not None  # noqa: S101 # `_rested` has looked
        while self._turns.resting:
            if past.turns:
                record = past.turns[0]
                operation = self._asked.get(record.name)
                if operation is None or operation.kind is not record.kind:
                    self._doubt(f"{record.kind} {record.name!r}", record.name, ended=main.done())
                    return
                past.turns.popleft()
                self._revive(operation, record)
                self._hand_over(operation, record.seq)
            elif not self._live:
                for opened in past.open_waits():
                    operation = self._asked.get(opened.name)
                    if operation is None or operation.kind is not opened.kind:
                        self._doubt(f"{opened.kind} {opened.name!r}", opened.name, ended=main.done())
                        return
                self._go_live(ended=main.done())
            elif self._ready:
                operation, seq = self._ready.popleft()
                self._hand_over(operation, seq)
            elif main.done():
                self._body_ended(main)
                return
            else:
                self._consider_parking()
                return

    def _go_live(self, *, ended: bool) -> None:
        self._live = True
        held, self._held = self._held, []
        for operation in held:
            if not operation.settled and not operation.future.cancelled() and (not ended or operation.scheduled):
                self._begin(operation)

    def _revive(self, operation: Operation, record: StepRecord) -> None:
        if record.mail is not None:
            self.mailbox.take(record.mail)
            operation.mail = record.mail
        operation.settled = True
        operation.ok = record.ok
        if record.ok:
            operation.value = operation.revive(record, self.mailbox)
        else:
            payload = record.payload or ""
            operation.value = load_error(payload, operation.declared)
            self._failures[record.seq] = (is_final(payload), False)

    def _hand_over(self, operation: Operation, seq: int) -> None:
        self._stop_timer()
        self._turn = seq
        self._open.pop(operation.name, None)
        future = operation.future
        main = self._main
        if future.done() or main is None or (main.done() and not operation.scheduled):
            if operation.mail is not None:
                self._give_back(operation.mail)
            return
        if seq in self._failures:
            self._failures[seq] = (self._failures[seq][0], True)
        self.observer.handed_over(self.info.execution_id, operation.name, operation.value)
        future.set_result(None)

    def _doubt(self, expected: str, name: str, *, ended: bool) -> None:
        """Give a body that may only be slow a second to ask for what was saved."""

        def refuse() -> None:
            self._timer = None
            other = self._asked.get(name)
            asked = ", ".join(repr(one.name) for one in self._held if not one.settled)
            if other is not None:
                found = f"the body asks for {other.kind} {name!r}"
            elif ended:
                found = "the body ended without it"
            else:
                found = f"the body asks only for {asked}" if asked else "the body asks for nothing"
            self._set_aside(str(NonDeterminism(expected, found)))

        if ended or name in self._asked:
            refuse()
        elif self._timer is None:
            self._timer = self.clock.call_later(DIVERGENCE_GRACE, refuse)

    def _set_aside(self, reason: str) -> None:
        """Stop without harm; it is tried again with growing delays, so that the right code heals it."""
        logger.warning("execution %s is set aside: %s", self.info.execution_id, reason)
        self._unsaved.clear()
        delay = min(_FIRST_SETBACK << min(self.replay.setbacks, 16), _LONGEST_SETBACK)
        due_at = self.now() + delay
        record = self._body_record(Phase.ATTEMPT, body_payload(setback=reason), due_at)
        self._leave(Move(ExecutionStatus.WAITING, self._cap(due_at), reason=reason), record)

    def _body_record(self, phase: Phase, payload: str, due_at: Instant | None) -> StepRecord:
        return StepRecord(0, "", StepKind.BODY, phase, False, payload, self.claim.attempt + 1, due_at, at=self.now())

    # ---- parking ----------------------------------------------------------------------------------------------------

    def _consider_parking(self) -> None:
        if self._unsaved or self._in_flight or self._timer is not None:
            return
        if not self._open:
            self._timer = self.clock.call_later(HANG_WARNING, self._warn_of_hang)
            return
        due_at = self._next_due(self._open.values())
        if due_at is None and not all(operation.waits for operation in self._open.values()):
            return
        if not all(operation.waits for operation in self._open.values()):
            return
        if not self._host.has_free_slots():
            self._park()
        elif due_at is None or due_at - self.now() >= SOON:
            self._timer = self.clock.call_later(self._host.park_after, self._park_if_still)

    def _park_if_still(self) -> None:
        self._timer = None
        if self.detached or not self._turns.resting or self._unsaved or self._in_flight or self._ready:
            return
        if self._open and all(operation.waits for operation in self._open.values()):
            self._park()

    def _park(self) -> None:
        due_at = self._next_due(self._open.values())
        self._leave(Move(ExecutionStatus.WAITING, due_at, self.mailbox.seen, reason=self.mailbox.reason))

    def _next_due(self, operations: Iterable[Operation]) -> Instant | None:
        return self._cap(min((one.due_at for one in operations if one.due_at is not None), default=None))

    def _cap(self, due_at: Instant | None) -> Instant | None:
        """Return the earlier of a time and the execution's deadline."""
        deadline = self.claim.deadline
        return due_at if deadline is None else deadline if due_at is None else min(due_at, deadline)

    def _warn_of_hang(self) -> None:
        self._timer = None
        for task in self.remains():
            for frame in task.get_stack(limit=1):
                where = f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}"
                logger.warning("execution %s hangs on something that is no operation: %s", self.info.execution_id, where)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # ---- the end of the body ----------------------------------------------------------------------------------------

    def _body_ended(self, main: asyncio.Task[Any]) -> None:
        error: BaseException | None
        if main.cancelled():
            error = asyncio.CancelledError("raised by the body itself")
        else:
            error = main.exception()
        for operation in list(self._open.values()):
            if error is not None or not operation.scheduled:
                self._abandon(operation)
        if self._open or self._in_flight or self._unsaved:
            return  # what was scheduled, or is being saved, comes first
        if error is not None:
            self._body_failed(error)
            return
        what = f"the result of execution {self.info.execution_id!r}"
        try:
            payload, _ = self.task.output.through(main.result(), what)
            check_size(payload, self.payload_limit, what)
        except ZartError as refused:
            self._body_failed(refused)
        else:
            self._leave(Move(ExecutionStatus.COMPLETED, payload=payload))

    def _body_failed(self, error: BaseException) -> None:
        retry = self.task.retry
        attempt = self.claim.attempt
        if self.replay.failure is None and attempt < retry.max_retries and retry.retries(error):
            delay = retry.delay_before(attempt + 1, self.randomness.random())
            due_at = self.now() + delay
            reopened = [seq for seq, (final, handed) in self._failures.items() if not final and (not handed or seq > self._last_ask)]
            saved = save_failure(failure_of(error), self.task.raises)
            record = self._body_record(Phase.ATTEMPT, body_payload(failure=saved, reopened=reopened), due_at)
            reason = f"attempt {attempt + 1} failed, the next is due at {moment(due_at).isoformat()}: {_line(error)}"
            self._leave(Move(ExecutionStatus.WAITING, self._cap(due_at), attempt=attempt + 1, reason=reason), record)
            return
        failure = failure_of(error)
        if self.replay.failure is None and retry.max_retries > 0 and attempt >= retry.max_retries:
            failure = RetriesExhausted(attempt + 1, failure)
        self._fail(failure)

    def _fail(self, failure: ExecutionFailure) -> None:
        """End as failed; or, when there is an `on_failure` that has not run, save the failure and let a next claim run it."""
        first = self.replay.failure
        if first is not None:
            reason = f"{error_summary(first.payload or '')}; on_failure did not help: {_line(failure.error)}"
            self._leave(Move(ExecutionStatus.FAILED, payload=first.payload, reason=reason))
            return
        payload = save_failure(failure, self.task.raises)
        reason = error_summary(payload)
        if not self.task.compensates:
            self._leave(Move(ExecutionStatus.FAILED, payload=payload, reason=reason))
            return
        now = self.now()
        deadline = now + self.task.failure_timeout
        record = self._body_record(Phase.OUTCOME, payload, deadline)
        self._leave(Move(ExecutionStatus.PENDING, now, deadline=deadline, reason=reason), record)

    def _deadline_passed(self) -> None:
        self._deadline_timer = None
        if self.detached or self.claim.deadline is None:
            return
        left = self.claim.deadline - self.now()
        if left > 0:
            self._deadline_timer = self.clock.call_later(left / SECOND, self._deadline_passed)
            return
        self._fail(DeadlineExceeded())


def _line(error: BaseException) -> str:
    return error_summary(save_error(error, (), ""))
