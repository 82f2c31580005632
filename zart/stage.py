"""The operations of one body, and the turns in which their outcomes come.

What the body asks for is *held* while history is left, and *open* from its beginning until its outcome is handed over. Outcomes
come from two places, in this order: from the history that the claim brought, and from what has become durable since. Each is
handed over alone, and only while the body rests; whoever drives the stage sees to that (`zart.run`).
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextvars import Context
from typing import Any

from zart.calls import StepCall, StepScope
from zart.clock import SECOND, Clock, Instant
from zart.errors import DuplicateStepName, NonDeterminism
from zart.ids import Randomness
from zart.observe import Observer
from zart.operations import EventWait, ExecutionInfo, Operation, Surroundings
from zart.outbox import Line, Outbox
from zart.outcome import is_final, load_error
from zart.pool import TaskPool
from zart.records import Committed, Mail, StepRecord
from zart.replay import Mailbox, Replay, abandoned
from zart.spawner import Spawner
from zart.status import Phase, StepKind
from zart.turns import CURRENT

logger: logging.Logger = logging.getLogger("zart.stage")

NOWHERE = Context()
# On Python 3.11 the attribute of an enum class costs as much as a function call.
OUTCOME, EVENT = Phase.OUTCOME, StepKind.EVENT


class Stage:
    """Where the operations of one claim play; the `Desk` of each of them."""

    info: ExecutionInfo
    """Set when the input is decoded, before the body can ask."""

    def __init__(
        self,
        surroundings: Surroundings,
        past: Replay,
        outbox: Outbox,
        deadline: Instant | None = None,
        raises: tuple[type[BaseException], ...] = (),
    ) -> None:
        self.deadline = deadline
        """The execution's."""
        self.raises = raises
        """The business errors that the handler declares for all its steps."""
        self.returned: list[int] = []
        """The outcomes of waits that were handed to nobody: their letters went back."""
        self.left: list[asyncio.Task[None]] = []
        """The steps' functions that were running when the body was detached."""
        self.loop: asyncio.AbstractEventLoop = surroundings.loop
        self.pool: TaskPool = surroundings.pool
        self.clock: Clock = surroundings.clock
        self.randomness: Randomness = surroundings.randomness
        self.spawner: Spawner = surroundings.spawner
        self.observer: Observer = surroundings.observer
        self.payload_limit: int = surroundings.payload_limit
        self.now: Callable[[], Instant] = surroundings.now
        self.mailbox: Mailbox = past.mailbox
        self.closed: bool = False
        """Whether the body is detached: it can do nothing any more."""
        self.live: bool = False
        """Whether the history is used up."""
        self.moves: int = 0
        """Grows with everything that is asked for or handed over."""
        self.doubt: StepRecord | None = None
        """What is due, when the body has not asked for it."""
        self._lease_is_fresh = surroundings.lease_is_fresh
        self._past = past
        self._outbox = outbox
        self._asked: dict[str, Operation] = {}
        self._held: list[Operation] = []
        self._open: dict[str, Operation] = {}
        self._ready: deque[tuple[Operation, int]] = deque()
        self._stale: list[Operation] = []
        self._turn = 0
        self._last_ask = 0
        self._failures: dict[int, bool] = {}

    # ---- what operations and the context ask for (Desk) -------------------------------------------------------------

    def ask(self, operation: Operation) -> None:
        """Take an operation that the body asks for; see `Desk`."""
        if isinstance(scope := CURRENT.get(), StepScope):
            scope.refuse(operation.name)
        if self.closed:
            return
        name = operation.name
        if name in self._asked:
            raise DuplicateStepName(name)
        self._asked[name] = operation
        self._last_ask = self._turn
        self.moves += 1
        if self.live:
            self._begin(operation)
        else:
            self._held.append(operation)

    def perform(self, operation: Operation) -> Coroutine[Any, Any, Any]:
        """Ask for an operation and return its outcome to await."""
        self.ask(operation)
        return self.outcome_of(operation)

    async def outcome_of(self, operation: Operation) -> Any:
        """Await the outcome of an operation that was asked for."""
        if self.closed:
            await asyncio.sleep(0)
            raise asyncio.CancelledError
        if operation.scheduled:
            # It goes on when its awaiter is cancelled: others may wait for it, and the body's end does.
            await asyncio.shield(operation.future)
        else:
            try:
                await operation.future
            except asyncio.CancelledError:
                self._abandon(operation, tell=True)
                raise
        if operation.ok:
            return operation.value
        raise operation.error()

    def may_start(self, operation: Operation) -> bool:
        """Whether a step's function may start now; if not, `resume` is called when it may."""
        if self._lease_is_fresh():
            return True
        self._stale.append(operation)
        return False

    def note(
        self, operation: Operation, phase: Phase, due_at: Instant | None, payload: str | None = None, mail: int | None = None
    ) -> None:
        """Save an *opened* or *attempt* record."""
        if phase is Phase.OPENED and due_at is not None and self.deadline is not None and due_at > self.deadline:
            logger.warning(
                "%s %r of execution %s would end after the execution's deadline, which comes first",
                operation.kind,
                operation.name,
                self.info.execution_id,
                extra={"execution_id": self.info.execution_id, "task": self.info.task_name, "step": operation.name},
            )
        record = StepRecord(
            0,
            operation.name,
            operation.kind,
            phase,
            phase is Phase.OPENED,
            payload,
            operation.attempts,
            due_at,
            mail,
            # Opened when it began, though some steps say so only after a second.
            at=operation.began_at if phase is Phase.OPENED else self.now(),
        )
        self._outbox.add(operation, record)

    def settle(self, operation: Operation, ok: bool, payload: str | None, value: Any) -> None:
        """Save an outcome; it is handed over when it is durable, in its turn."""
        if not operation.settled and not self.closed:
            self._outbox.add(operation, self.outcome_record(operation, ok, payload, value))

    def outcome_record(self, operation: Operation, ok: bool, payload: str | None, value: Any) -> StepRecord:
        """Settle an operation without saving it: return the record for whoever does that."""
        operation.settled = True
        operation.waits = False
        if operation.timer is not None:
            operation.stop_timer()
        operation.ok = ok
        operation.value = value
        operation.context = NOWHERE  # which refers to the operation, and a circle is the collector's work
        seen = self.mailbox.seen if not ok and operation.kind is EVENT else None
        return StepRecord(
            0, operation.name, operation.kind, OUTCOME, ok, payload, operation.attempts, None, operation.mail,
            operation.began_at, self.now(), seen,
        )  # fmt: skip

    # ---- what drives it asks for ------------------------------------------------------------------------------------

    def next_turn(self, *, ended: bool) -> bool:
        """Hand over the next outcome, or go live when the history is used up; say whether there was anything to do.

        False with `doubt` set: the body has not asked for what is due. `ended`: the body has ended and is handed nothing.

        Raises:
            DeserializationError: a saved value is not of the type that the code now asks for.
        """
        if self.live:
            if not self._ready:
                return False
            self._hand_over(*self._ready.popleft(), ended=ended)
            return True
        past = self._past
        self.doubt = None
        if past.turns:
            record = past.turns[0]
            if (operation := self._expected(record)) is None:
                return False
            past.turns.popleft()
            self._revive(operation, record)
            self._hand_over(operation, record.seq, ended=ended)
            return True
        if any(self._expected(opened) is None for opened in past.open_waits()):
            return False
        self._go_live(ended=ended)
        return True

    def divergence(self, *, ended: bool) -> NonDeterminism | None:
        """Return how the body differs from what was saved, if it does."""
        if self.doubt is None:
            return None
        expected = self.doubt
        other = self._asked.get(expected.name)
        asked = ", ".join(repr(one.name) for one in self._held if not one.settled)
        if other is not None:
            found = f"the body asks for {other.kind} {other.name!r}"
        elif ended:
            found = "the body ended without it"
        else:
            found = f"the body asks only for {asked}" if asked else "the body asks for nothing"
        return NonDeterminism(f"{expected.kind} {expected.name!r}", found)

    def contradicts(self) -> bool:
        """Whether the body has asked for another kind of operation under the name that is due."""
        return self.doubt is not None and self.doubt.name in self._asked

    def deliver(self, mail: Sequence[Mail]) -> None:
        """Take new mail that the worker has learned of."""
        if not self.closed and self.mailbox.add(mail) and self.live:
            self._match()

    def landed(self, lines: Iterable[Line], answer: Committed) -> None:
        """Take note of what has become durable, and of the mail that came back."""
        if self._outbox.late:  # saved by transactions; some may have waited for these lines, some come before them
            lines = sorted([*lines, *self._outbox.ripe()], key=lambda line: line[1].seq)
        for operation, record in lines:
            if operation is None:
                continue
            if answer.withheld and record.seq in answer.withheld:
                if operation.name in self._open:
                    operation.withheld()
            elif record.phase is OUTCOME:
                self._ready.append((operation, record.seq))
                if not record.ok:
                    self._remember_failure(record)
            elif record.phase is Phase.ATTEMPT:
                operation.noted()
        if answer.mail:
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

    def abandon_all(self, *, but_scheduled: bool = False) -> bool:
        """Abandon what is open when the body has ended; say whether something is left to wait for."""
        for operation in list(self._open.values()):
            if not (but_scheduled and operation.scheduled):
                self._abandon(operation)
        return bool(self._open)

    def reopened(self) -> list[int]:
        """Return the failures that ended the attempt: those after whose turn nothing was asked for, or handed to nobody."""
        return [seq for seq, handed in self._failures.items() if not handed or seq > self._last_ask]

    def is_busy(self) -> bool:
        """Whether there is nothing to do but wait for something that is no durable wait."""
        if not self.live or self._ready:
            return False
        for operation in self._open.values():  # noqa: SIM110 # three times as fast as any(), and asked at every turn
            if not operation.waits:
                return True
        return False

    def is_quiet(self) -> bool:
        """Whether something is open and all of it durable waits."""
        if self._ready:
            return False
        for operation in self._open.values():  # three times as fast as all(), and asked at every turn
            if not operation.waits:
                return False
        return bool(self._open)

    def is_empty(self) -> bool:
        """Whether nothing is open."""
        return not self._open

    def next_due(self) -> Instant | None:
        """Return when the next of the open operations goes on by itself."""
        return min((one.due_at for one in self._open.values() if one.due_at is not None), default=None)

    def close(self) -> None:
        """Detach the body: from now on its operations raise `CancelledError`."""
        self.closed = True
        for operation in list(self._open.values()):
            operation.abandon()
            if isinstance(operation, StepCall) and operation.task is not None:
                self.left.append(operation.task)
            else:
                operation.context = NOWHERE  # as in `outcome_record`
        for kept in (self._open, self._held, self._stale, self._ready):
            kept.clear()

    def forget(self) -> None:
        """Let go of every operation: the claim is over. They refer to the stage, and a circle is the collector's work."""
        self._asked.clear()

    # ---- inside -----------------------------------------------------------------------------------------------------

    def _expected(self, record: StepRecord) -> Operation | None:
        operation = self._asked.get(record.name)
        if operation is None or operation.kind is not record.kind:
            self.doubt = record
            return None
        return operation

    def _remember_failure(self, record: StepRecord) -> None:
        # What could not be saved has happened all the same, and must never run again: it is never reopened.
        if not is_final(record.payload or ""):
            self._failures[record.seq] = False

    def _begin(self, operation: Operation) -> None:
        self._open[operation.name] = operation
        operation.began_at = self.now()
        past = self._past
        if past.opened or past.attempts:
            opened = past.opened.get(operation.name)
            if opened is not None and operation.name in past.abandoned:
                self.note(operation, Phase.OPENED, opened.due_at)  # somebody waits again
            operation.begin(opened, past.attempts.get(operation.name))
        else:
            operation.begin(None, None)

    def _abandon(self, operation: Operation, *, tell: bool = False) -> None:
        """Nobody awaits it any more; `tell` people so. What is being saved stays saved, in its turn, handed to nobody."""
        if self._open.pop(operation.name, None) is None:
            return
        operation.abandon()
        sent = self._outbox.has_sent(operation) or any(one is operation for one, _ in self._ready)
        withdrawn = self._outbox.withdraw(operation)
        if tell and operation.opened and not sent and not any(record.phase is Phase.OPENED for record in withdrawn):
            self._outbox.add(None, abandoned(operation.name, self.now()))
        if operation.mail is not None and not sent:
            self.give_back(operation.mail)

    def give_back(self, mail: int) -> None:
        """Put back a letter that a wait had taken: another may take it."""
        self.mailbox.give_back(mail)
        self._match()

    def _match(self) -> None:
        for operation in list(self._open.values()):
            if isinstance(operation, EventWait) and not operation.settled:
                operation.match()

    def _go_live(self, *, ended: bool) -> None:
        self.live = True
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
            operation.value = load_error(record.payload or "", operation.declared)
            self._remember_failure(record)

    def _hand_over(self, operation: Operation, seq: int, *, ended: bool) -> None:
        self.moves += 1
        self._turn = seq
        self._open.pop(operation.name, None)
        future = operation.future
        if future.done() or (ended and not operation.scheduled):
            if operation.mail is not None:
                self.returned.append(seq)
                self.give_back(operation.mail)
            return
        if seq in self._failures:
            self._failures[seq] = True
        self.observer.handed_over(self.info.execution_id, operation.name, operation.value)
        future.set_result(None)
