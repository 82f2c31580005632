"""How a step's function is carried out: its attempts, its timeouts, and what becomes of its result."""

import asyncio
import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn, Self

from zart.clock import SECOND, Instant, Micros, Timer, micros
from zart.codec import Codec, check_size
from zart.errors import (
    InsideStep,
    NonRetryable,
    PayloadTooLarge,
    RetryAfter,
    RetryExhausted,
    StepFailed,
    StepTimedOut,
    UndeclaredType,
)
from zart.operations import Desk, ExecutionInfo, Operation
from zart.outcome import error_through, save_error, step_failed
from zart.records import StepRecord
from zart.status import Phase, StepKind
from zart.steps import Step, StepOptions
from zart.turns import CURRENT

STEP = StepKind.STEP


class StepScope:
    """What the context variable holds while a step's function runs."""

    __slots__ = ("_call",)
    turns = None

    def __init__(self, call: "StepCall") -> None:
        self._call = call

    @property
    def step_name(self) -> str:
        """The step's name, for log records."""
        return self._call.name

    @property
    def info(self) -> ExecutionInfo:
        """The execution, with the step's attempt and limit."""
        call = self._call
        whole = call.desk.info
        attempt, limit = call.attempts - 1, call.options.retry.max_retries
        return ExecutionInfo(whole.execution_id, whole.task_name, whole.data, attempt, limit, cancelled=call.settled)

    def require(self, step: Step[Any]) -> NoReturn:
        """Refuse: steps do not nest."""
        self.refuse(step.name)

    def refuse(self, name: str) -> NoReturn:
        """Refuse an operation of this name."""
        raise InsideStep(
            f"{name!r} was asked for inside the function of step {self._call.name!r}; steps do not nest:"
            " call the function directly, or ask for the operation in the handler's body"
        )


class StepCall(Operation):
    """A step: its function is called under its policy until there is an outcome to save."""

    attempts: int = 0
    waits: bool = False
    deadline: Instant | None = None
    task: asyncio.Task[None] | None = None
    _limit: Timer | None = None

    def __init__(
        self, desk: Desk, name: str, fn: Callable[..., Any], args: tuple[Any, ...], options: StepOptions, codec: Codec
    ) -> None:
        super().__init__(desk, name, STEP, codec, options.raises + desk.raises if desk.raises else options.raises)
        self.fn = fn
        self.args = args
        self.options = options

    @classmethod
    def of(cls, desk: Desk, step: Step[Any]) -> Self:
        """Return the call that a step describes."""
        return cls(desk, step.name, step.fn, step.args, step.options, step.codec)

    def begin(self, opened: StepRecord | None, attempt: StepRecord | None) -> None:
        """Call the function, or wait for the next attempt's time."""
        options = self.options
        self.context.run(CURRENT.set, StepScope(self))
        if opened is not None:
            self.opened = True
            self.deadline = opened.due_at
        if options.timeout is not None and self.deadline is None and not options.per_attempt:
            self.deadline = self.desk.now() + options.timeout
            self.open(self.deadline)
        if attempt is not None:
            self.attempts = attempt.attempts
            self._wait_until(attempt.due_at or 0)
        else:
            self._start()

    def abandon(self) -> None:
        """Stop the function; whatever it still does is nobody's business."""
        super().abandon()
        self._stop_limit()
        if self.task is not None:
            self.task.cancel()

    def noted(self) -> None:
        """The failed attempt is durable: wait for the next one's time."""
        if not self.settled:
            self._wait_until(self.due_at or 0)

    def _wait_until(self, due_at: Instant) -> None:
        if self.deadline is not None and self.deadline < due_at:
            due_at = self.deadline
        self.due_at = due_at
        if due_at <= self.desk.now():
            self._start()
            return
        self.waits = True
        self.timer_at(due_at, self._start)

    def _start(self) -> None:
        if self.due_at is not None:  # the time of this attempt has come
            self.waits = False
            self.due_at = None
        if not self.settled:
            self.desk.pool.put(self)

    def begins(self) -> bool:
        """Begin an attempt if it may: asked in the task that carries it out, so that nothing comes between."""
        desk = self.desk
        if self.settled or not desk.may_start(self):
            return False  # the run begins it again when the worker's lease is fresh
        if self.deadline is not None:
            if self.deadline <= desk.now():
                self._time_out()
                return False
            self.timer_at(self.deadline, self._time_out)
        options = self.options
        if options.timeout is not None and options.per_attempt:
            self._limit = desk.clock.call_later(options.timeout / SECOND, self._time_out)
        self.attempts += 1
        desk.observer.step_started(desk.info.execution_id, self.name, self.attempts)
        return True

    def resume(self) -> None:
        """Start what the stale lease has held back."""
        self._start()

    @property
    def title(self) -> str:
        """Execution and step, for people."""
        return f"{self.desk.info.execution_id}/{self.name}"

    async def carry_out(self) -> None:
        """Call the function, and settle with what it comes to."""
        fn = self.fn
        try:
            if not self.begins():
                return
            try:
                result = await fn(*self.args) if is_coroutine_function(fn) else await self._in_thread()
            except BaseException as error:  # noqa: BLE001 # SystemExit or a CancelledError of its own are the step's failure
                self.task = None
                if not self.settled:
                    self._stop_limit()
                    self._failed(error)
            else:
                self.task = None
                if not self.settled:
                    if self._limit is not None:
                        self._stop_limit()
                    self._succeeded(result)
        except Exception as error:  # noqa: BLE001 # an error that cannot even be looked at must not leave the step without an end
            self._settle_unseen(error)

    async def _in_thread(self) -> Any:
        result = await self.desk.spawner.call(self.title, partial(self.fn, *self.args))
        return await result if inspect.isawaitable(result) else result

    def _succeeded(self, result: Any) -> None:
        try:
            payload, value = self._through(result)
        except (UndeclaredType, PayloadTooLarge) as error:
            # Its effect has happened; calling it again would double that.
            self._settle_error(error)
        else:
            self.desk.settle(self, True, payload, value)

    def _through(self, result: Any) -> tuple[str, Any]:
        what = f"the result of step {self.name!r}"
        payload, value = self.codec.through(result, what)
        check_size(payload, self.desk.payload_limit, what)
        return payload, value

    def _failed(self, error: BaseException) -> None:
        policy, declared = self.options.retry, self.declared
        delay: Micros | None = None
        again = True
        if isinstance(error, RetryAfter):
            delay = micros(error.delay)
            error = _cause(error)
        elif isinstance(error, NonRetryable):
            again = False
            error = _cause(error)
        if again and delay is None:
            again = policy.retries(error, declared)
        if again and self.attempts <= policy.max_retries:
            if delay is None:
                delay = policy.delay_before(self.attempts, self.desk.randomness.random())
            self.due_at = self.desk.now() + delay
            self.desk.note(self, Phase.ATTEMPT, self.due_at, save_error(self._as_seen(error), declared, self.name))
        elif again and policy.max_retries > 0:
            seen = self._as_seen(error)
            exhausted = RetryExhausted(self.name, self.attempts, seen)
            exhausted.__cause__ = seen
            self._settle_error(exhausted)
        else:
            self._settle_error(self._as_seen(error))

    def _as_seen(self, error: BaseException) -> BaseException:
        """Return the error as the body sees it: a declared one as itself, any other as StepFailed."""
        return error if isinstance(error, self.declared) else step_failed(self.name, error)

    def _settle_error(self, error: BaseException) -> None:
        payload, seen = error_through(error, self.declared, self.name)
        self.desk.settle(self, False, payload, seen)

    def _settle_unseen(self, error: Exception) -> None:
        failed = StepFailed(self.name, type(error).__name__, "the step's end could not be recorded as it was")
        self.desk.settle(self, False, save_error(failed, (), self.name), failed)

    def _time_out(self) -> None:
        timeout = self.options.timeout
        if self.task is not None:
            self.task.cancel()
        self._stop_limit()
        self._settle_error(StepTimedOut(self.name, None if timeout is None else timeout / SECOND))

    def _stop_limit(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None


def is_coroutine_function(fn: Callable[..., Any]) -> bool:
    """Whether calling `fn` gives a coroutine to await on the loop; everything else belongs into a thread."""
    code = getattr(fn, "__code__", None)
    if code is not None:
        return bool(code.co_flags & inspect.CO_COROUTINE)
    return inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(getattr(fn, "__call__", None))  # noqa: B004 # its kind is asked


def _cause(error: NonRetryable | RetryAfter) -> BaseException:
    cause = error.__cause__ if error.cause is None else error.cause
    return cause if isinstance(cause, BaseException) else error
