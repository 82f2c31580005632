"""The operations of a body: from being asked for to being settled.

An operation is *asked* for by the body under a name. While history is replayed it only waits for its turn. Live it *begins*,
and *settles* with an outcome, which the run saves and then hands to the body in its turn. A *durable wait* is an operation that
needs nothing but time or mail to settle: when a body has only those, it can leave memory.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from typing import Any, Protocol

from attrs import frozen

from zart.clock import SECOND, Clock, Instant, Micros, Timer
from zart.codec import ANY, Codec, check_size
from zart.errors import DeserializationError, EventTimeout, NoActiveExecution, PayloadTooLarge, UndeclaredType
from zart.ids import Randomness
from zart.observe import Observer
from zart.outcome import error_through, save_error, step_failed
from zart.pool import TaskPool
from zart.records import StepRecord
from zart.replay import Mailbox
from zart.scheduler import OpenTransaction
from zart.spawner import Spawner
from zart.status import Phase, StepKind
from zart.turns import CURRENT


@frozen
class ExecutionInfo:
    """What an execution, or a step in it, knows of itself."""

    execution_id: str
    task_name: str
    data: Any
    """The decoded input."""
    current_attempt: int
    """Counted from 0: the body's, or inside a step the step's."""
    max_retries: int
    cancelled: bool = False
    """Inside a step: whether nobody waits for its result any more. A function in a thread should look at it now and then."""

    def is_retry(self) -> bool:
        """Whether this is not the first attempt."""
        return self.current_attempt > 0


class Surroundings(Protocol):
    """What operations need of the worker."""

    loop: asyncio.AbstractEventLoop
    """Where everything happens. To ask asyncio for it is a system call, and operations would ask twice a step."""
    pool: TaskPool
    """Runs the steps' functions."""
    clock: Clock
    randomness: Randomness
    spawner: Spawner
    observer: Observer
    payload_limit: int
    open_transaction: OpenTransaction | None
    """Opens a transaction of the storage's own database; None where it has none."""

    def now(self) -> Instant:
        """Return storage's time, never ahead of it."""
        ...

    def lease_is_fresh(self) -> bool:
        """Whether step functions may start."""
        ...


class Desk(Protocol):
    """What an operation needs of the run that it belongs to."""

    loop: asyncio.AbstractEventLoop
    pool: TaskPool
    clock: Clock
    randomness: Randomness
    spawner: Spawner
    mailbox: Mailbox
    payload_limit: int
    raises: tuple[type[BaseException], ...]
    observer: Observer
    info: ExecutionInfo

    def now(self) -> Instant:
        """Return storage's time, never ahead of it."""
        ...

    def may_start(self, operation: "Operation") -> bool:
        """Whether the worker's lease is fresh enough to start a step's function; if not, `resume` is called when it is."""
        ...

    def note(
        self, operation: "Operation", phase: Phase, due_at: Instant | None, payload: str | None = None, mail: int | None = None
    ) -> None:
        """Save an *opened* or *attempt* record; an attempt's `noted` is called when it is durable."""
        ...

    def settle(self, operation: "Operation", ok: bool, payload: str | None, value: Any) -> None:
        """Save the outcome and hand it over in its turn."""
        ...

    def outcome_record(self, operation: "Operation", ok: bool, payload: str | None, value: Any) -> StepRecord:
        """Settle an operation without saving it: return the record for whoever does that."""
        ...

    def ask(self, operation: "Operation") -> None:
        """Take an operation that the body asks for.

        Raises:
            DuplicateStepName: the body has asked for one of this name before.
        """
        ...

    def outcome_of(self, operation: "Operation") -> Coroutine[Any, Any, Any]:
        """Await the outcome of an operation that was asked for: its value, or its error raised."""
        ...

    def perform(self, operation: "Operation") -> Coroutine[Any, Any, Any]:
        """Ask for an operation and return its outcome to await."""
        ...


class Operation:
    """One operation of one body. Subclasses say how it begins.

    What most operations never set is an attribute of the class: one is made per step.
    """

    scheduled: bool = False
    """Asked for by `schedule`: it is awaited when the body returns."""
    settled: bool = False
    ok: bool = False
    value: Any = None
    mail: int | None = None
    attempts: int = 0
    due_at: Instant | None = None
    """When it settles or goes on by itself."""
    opened: bool = False
    began_at: Instant = 0
    waits: bool = False
    """Whether it is a durable wait right now."""
    timer: Timer | None = None

    def __init__(
        self, desk: Desk, name: str, kind: StepKind, codec: Codec, declared: tuple[type[BaseException], ...] = ()
    ) -> None:
        self.desk = desk
        self.name = name
        self.kind = kind
        self.codec = codec
        self.declared = declared
        """Its business errors."""
        if asyncio._get_running_loop() is not desk.loop:  # noqa: SLF001 # get_running_loop would have to be caught
            _refuse_elsewhere(name)
        self.future: asyncio.Future[None] = desk.loop.create_future()
        """Done when the outcome was handed over; cancelled when its awaiter was."""
        self.context: Context = copy_context()
        """The asker's context variables."""

    def begin(self, opened: StepRecord | None, attempt: StepRecord | None) -> None:
        """Start, or go on after what was recorded of it."""
        raise NotImplementedError

    def unsettle(self, context: Context) -> None:
        """Take back that it has settled: nothing was saved. `context` is the asker's, which to settle has let go."""
        self.settled = False
        self.context = context

    def abandon(self) -> None:
        """Stop without an outcome: nobody awaits it any more."""
        self.settled = True
        self.stop_timer()

    def error(self) -> BaseException:
        """Return the error, for its one awaiter to raise: its traceback refers to the operation, and a circle lives long."""
        error: BaseException = self.value
        if not self.scheduled:
            self.value = None
        return error

    def noted(self) -> None:
        """Go on: the attempt noted last is durable."""

    def resume(self) -> None:
        """Go on: the worker's lease is fresh again."""

    def withheld(self) -> None:
        """Go on: the outcome was not saved because new mail came first."""

    def open(self, deadline: Instant | None) -> None:
        """Record that it has begun, with its deadline."""
        self.opened = True
        self.desk.note(self, Phase.OPENED, deadline)

    def timer_at(self, at: Instant, callback: Callable[[], object]) -> None:
        """Call back at an instant of storage's time; it replaces the timer before."""
        self.stop_timer()

        def ring() -> None:
            self.timer = None
            if self.settled:
                return
            left = at - self.desk.now()
            if left > 0:  # timers may ring a little early, durable ones must not
                self.timer_at(at, callback)
            else:
                callback()

        self.timer = self.desk.clock.call_later(max(0, at - self.desk.now()) / SECOND, ring)

    def stop_timer(self) -> None:
        """Forget the timer."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def revive(self, record: StepRecord, mailbox: Mailbox) -> Any:
        """Return the value of a saved, successful outcome.

        Raises:
            DeserializationError: it is not of the type now asked for.
        """
        payload = record.payload if record.mail is None else mailbox.letter(record.mail).payload
        return None if payload is None else self.codec.decode(payload)


def _refuse_elsewhere(name: str) -> None:
    scope = CURRENT.get()
    if scope is None or scope.turns is not None:  # else it is asked for inside a step, which is refused as such
        raise NoActiveExecution(
            f"{name!r} was asked for in another thread or event loop than that of the handler's body; await it in the body"
            " itself, or have the thread's work done by a step"
        )


class Capture(Operation):
    """The first value of a pure function."""

    def __init__(self, desk: Desk, name: str, kind: StepKind, codec: Codec, fn: Callable[[], Any]) -> None:
        super().__init__(desk, name, kind, codec)
        self.fn = fn

    def begin(self, opened: StepRecord | None, attempt: StepRecord | None) -> None:
        """Call the function in the asker's context; what it raises is the outcome."""
        try:
            what = f"the value of capture {self.name!r}"
            payload, value = self.codec.through(self.context.copy().run(self.fn), what)
            check_size(payload, self.desk.payload_limit, what)
        except BaseException as error:  # noqa: BLE001 # the user's function may raise anything, and it is the body's to see
            failed = error if isinstance(error, UndeclaredType | PayloadTooLarge) else step_failed(self.name, error)
            self.desk.settle(self, False, *error_through(failed, (), self.name))
        else:
            self.desk.settle(self, True, payload, value)


class Sleep(Operation):
    """A durable sleep; its deadline is fixed when it begins for the first time."""

    due_at: Instant | None = None

    def __init__(self, desk: Desk, name: str, length: Micros | None, until: Instant | None) -> None:
        super().__init__(desk, name, StepKind.SLEEP, ANY)
        self.length = length
        self.until = until

    def begin(self, opened: StepRecord | None, attempt: StepRecord | None) -> None:
        """Wait for what is left of it."""
        if opened is not None and opened.due_at is not None:
            self.due_at = opened.due_at
            self.opened = True
        else:
            self.due_at = self.until if self.until is not None else self.desk.now() + (self.length or 0)
        if self.due_at <= self.desk.now():
            self.desk.settle(self, True, None, None)
            return
        self.waits = True
        self.timer_at(self.due_at, self._wake)
        if not self.opened:
            self.open(self.due_at)

    def _wake(self) -> None:
        self.desk.settle(self, True, None, None)


class EventWait(Operation):
    """A wait for the oldest event of a name that no earlier wait took."""

    mail: int | None = None

    def __init__(self, desk: Desk, name: str, event: str, codec: Codec, timeout: Micros | None) -> None:
        super().__init__(desk, name, StepKind.EVENT, codec)
        self.event = event
        self.timeout = timeout

    def begin(self, opened: StepRecord | None, attempt: StepRecord | None) -> None:
        """Take what is there, or wait until the deadline."""
        if opened is not None:
            self.due_at = opened.due_at
            self.opened = True
        elif self.timeout is not None:
            self.due_at = self.desk.now() + self.timeout
        self.waits = True
        if self.match():
            return
        if self.due_at is not None:
            if self.due_at <= self.desk.now():
                self._expire()
                return
            self.timer_at(self.due_at, self._expire)
        if not self.opened:
            self.open(self.due_at)

    def match(self) -> bool:
        """Take the oldest free letter that decodes; say whether there was one."""
        mailbox = self.desk.mailbox
        while (letter := mailbox.oldest(self.event)) is not None:
            try:
                value = self.codec.decode(letter.payload, "its payload")
            except DeserializationError as error:
                reason = f"event {self.event!r} number {letter.seq} was set aside by wait {self.name!r}: {error}"
                mailbox.set_aside(letter, reason)
                self.desk.note(self, Phase.ATTEMPT, None, save_error(error, (), self.name), mail=letter.seq)
                continue
            mailbox.take(letter.seq)
            self.mail = letter.seq
            self.desk.settle(self, True, None, value)
            return True
        return False

    def withheld(self) -> None:
        """The timeout came too late: mail was there before it. Take it, or time out again."""
        self.settled = False
        if not self.match():
            self._expire()

    def _expire(self) -> None:
        self.desk.settle(self, False, *error_through(EventTimeout(self.event, self.name), (), self.name))
