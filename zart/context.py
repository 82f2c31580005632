"""What a handler's body works with: every operation, by name."""

import logging
import uuid
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from typing import Any, Generic, TypeVar, TypeVarTuple, cast, overload

from attrs import field, frozen

from zart.calls import StepCall, is_coroutine_function
from zart.clock import instant, micros, moment
from zart.codec import ANY, codec_for
from zart.durations import Duration, to_timedelta
from zart.errors import ZartError
from zart.ids import LONGEST_NAME, check_name
from zart.observe import Strict
from zart.operations import Capture, Desk, EventWait, ExecutionInfo, Operation, Sleep
from zart.outcome import BusinessErr, Ok, StepOutcome, ZartErr
from zart.retry import ErrorTypes, RetryConfig
from zart.status import StepKind
from zart.steps import UNSET, AnyStep, Step, TimeoutScope, called, plain_step, result_codec, step_options
from zart.transactions import TransactionCall, Transactions
from zart.turns import Turns

logger: logging.Logger = logging.getLogger("zart.context")

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
D = TypeVar("D")
R = TypeVar("R")
Ts = TypeVarTuple("Ts")


@frozen(eq=False)
class StepHandle(Generic[T_co]):
    """A step that runs on its own; collect it with `TaskContext.wait`."""

    step: Step[T_co]
    operation: Operation = field(repr=False)
    """The engine's view of it."""

    @property
    def name(self) -> str:
        """The step's name."""
        return self.step.name


class TaskContext:
    """The operations of one execution. A body gets it as its first argument; it is worth nothing outside.

    Every operation has a name, unique in the execution: 1 to 255 characters without control characters. Its outcome is saved
    once; when the body runs again, the saved outcome comes back and nothing is done twice. Operations raise `DuplicateStepName`
    on a name's second use.
    """

    def __init__(self, desk: Desk, turns: Turns, transactions: Callable[[], Transactions]) -> None:
        self._desk = desk
        self._transactions = transactions
        self.turns = turns
        """How the engine knows when the body rests; nothing for users."""
        self._waits: dict[str, int] = {}

    def _thrown_away(self, step: Step[Any]) -> None:
        info = self._desk.info
        message = (
            f"step {step.name!r} of execution {info.execution_id} was made and never awaited;"
            f" write `await {called(step.fn).rpartition('.')[2]}(...)`"
        )
        tags = {"execution_id": info.execution_id, "task": info.task_name, "step": step.name}
        logger.warning("%s", message, extra=tags)
        if isinstance(self._desk.observer, Strict):
            self._desk.observer.never_awaited(message)

    @property
    def info(self) -> ExecutionInfo:
        """Id, task, input and attempt of this execution."""
        return self._desk.info

    @overload
    async def step(
        self,
        name: str,
        fn: Callable[[*Ts], object],
        *args: *Ts,
        returns: type[R],
        retry: RetryConfig | None = None,
        timeout: Duration | None = None,
        timeout_scope: TimeoutScope = "global",
        raises: ErrorTypes = (),
    ) -> R: ...

    @overload
    async def step(
        self,
        name: str,
        fn: Callable[[*Ts], Awaitable[T]],
        *args: *Ts,
        returns: Any = UNSET,
        retry: RetryConfig | None = None,
        timeout: Duration | None = None,
        timeout_scope: TimeoutScope = "global",
        raises: ErrorTypes = (),
    ) -> T: ...

    @overload
    async def step(
        self,
        name: str,
        fn: Callable[[*Ts], T],
        *args: *Ts,
        returns: Any = UNSET,
        retry: RetryConfig | None = None,
        timeout: Duration | None = None,
        timeout_scope: TimeoutScope = "global",
        raises: ErrorTypes = (),
    ) -> T: ...

    async def step(
        self,
        name: str,
        fn: Callable[..., Any],
        *args: *Ts,
        returns: Any = UNSET,
        retry: RetryConfig | None = None,
        timeout: Duration | None = None,
        timeout_scope: TimeoutScope = "global",
        raises: ErrorTypes = (),
    ) -> Any:
        """Return what `fn(*args)` returned, calling it only if that was never saved.

        Coroutine functions run on the event loop, others in a thread of their own; pass keyword arguments with
        `functools.partial`. `returns` is the result's type when the function's annotation does not say it. `raises` are
        business errors: saved, and raised again as themselves. `timeout` covers all attempts, or each one with
        `timeout_scope="per_attempt"`.

        Raises:
            StepFailed: the function raised anything else.
            RetryExhausted: it did so at every attempt that `retry` allows.
            StepTimedOut: it took too long.
            UndeclaredType: the result's type is neither JSON-native nor declared.
            PayloadTooLarge: the result is too large to save.
        """
        options = step_options(retry, timeout, timeout_scope, raises, returns)
        call = StepCall(self._desk, check_name(name, "step name"), fn, args, options, result_codec(fn, options))
        return await self._desk.perform(call)

    @overload
    async def step_with_retry(
        self,
        name: str,
        retry: RetryConfig,
        fn: Callable[[*Ts], object],
        *args: *Ts,
        returns: type[R],
        timeout: Duration | None = None,
        timeout_scope: TimeoutScope = "global",
        raises: ErrorTypes = (),
    ) -> R: ...

    @overload
    async def step_with_retry(
        self,
        name: str,
        retry: RetryConfig,
        fn: Callable[[*Ts], Awaitable[T]],
        *args: *Ts,
        returns: Any = UNSET,
        timeout: Duration | None = None,
        timeout_scope: TimeoutScope = "global",
        raises: ErrorTypes = (),
    ) -> T: ...

    @overload
    async def step_with_retry(
        self,
        name: str,
        retry: RetryConfig,
        fn: Callable[[*Ts], T],
        *args: *Ts,
        returns: Any = UNSET,
        timeout: Duration | None = None,
        timeout_scope: TimeoutScope = "global",
        raises: ErrorTypes = (),
    ) -> T: ...

    async def step_with_retry(
        self,
        name: str,
        retry: RetryConfig,
        fn: Callable[[*Ts], Any],
        *args: *Ts,
        returns: Any = UNSET,
        timeout: Duration | None = None,
        timeout_scope: TimeoutScope = "global",
        raises: ErrorTypes = (),
    ) -> Any:
        """Do the same as `step`, with the retry policy in front."""
        return await self.step(
            name, fn, *args, returns=returns, retry=retry, timeout=timeout, timeout_scope=timeout_scope, raises=raises
        )

    async def require(self, step: AnyStep[T]) -> T:
        """Return the step's value; raise what it came to otherwise."""
        return cast("T", await self._desk.perform(StepCall.of(self._desk, plain_step(step))))

    async def outcome(self, step: AnyStep[T]) -> StepOutcome[T]:
        """Return what the step came to, as a value made for `match`: `Ok`, `BusinessErr` or `ZartErr`."""
        call: Operation = StepCall.of(self._desk, plain_step(step))
        return await self._outcome(call, self._desk.perform(call))

    async def step_or(self, step: AnyStep[T], default: D) -> T | D:
        """Return the step's value, or `default` on any failure."""
        match await self.outcome(step):
            case Ok(value):
                return value
            case _:
                return default

    async def step_or_else(self, step: AnyStep[T], fn: Callable[[BaseException], D]) -> T | D:
        """Return the step's value, or `fn(error)` on a business error; any other error is raised."""
        match await self.outcome(step):
            case Ok(value):
                return value
            case BusinessErr(error):
                return fn(error)
            case ZartErr(error):
                raise error

    def schedule(self, step: AnyStep[T]) -> StepHandle[T]:
        """Start a step at once without waiting for it. What nobody waits for is awaited and saved when the body returns."""
        plain = plain_step(step)
        operation = StepCall.of(self._desk, plain)
        operation.scheduled = True
        self._desk.ask(operation)
        return StepHandle(plain, operation)

    async def wait(self, handles: Iterable[StepHandle[T]]) -> list[StepOutcome[T]]:
        """Return the outcomes in the order of the handles; one failure fails neither the call nor its siblings.

        Raises:
            TypeError: something that is no handle.
        """
        if not isinstance(handles, Iterable):
            raise TypeError(f"wait takes several handles, as a list, not {handles!r}")
        given = list(handles)
        for each in given:
            if not isinstance(each, StepHandle):
                raise TypeError(f"wait takes the handles that schedule has returned, not {each!r}")
        return [await self._outcome(handle.operation, self._desk.outcome_of(handle.operation)) for handle in given]

    async def _outcome(self, operation: Operation, performing: Awaitable[Any]) -> StepOutcome[Any]:
        try:
            return Ok(await performing)
        except operation.declared as error:
            return BusinessErr(error)
        except ZartError as error:
            return ZartErr(error)

    async def sleep(self, name: str, duration: Duration) -> None:
        """Sleep durably: after a restart only the remaining time is waited."""
        length = micros(to_timedelta(duration, "duration"))
        await self._desk.perform(Sleep(self._desk, check_name(name, "name"), length, None))

    async def sleep_until(self, name: str, until: datetime) -> None:
        """Sleep durably until an aware datetime.

        Raises:
            ValueError: the datetime is naive.
        """
        await self._desk.perform(Sleep(self._desk, check_name(name, "name"), None, instant(until)))

    @overload
    async def wait_for_event(
        self, event: str, type: type[T], *, name: str | None = None, timeout: Duration | None = None
    ) -> T: ...

    @overload
    async def wait_for_event(  # type: ignore[overload-cannot-match] # it does, where mypy would take Any for the type asked for
        self, event: str, type: type[object], *, name: str | None = None, timeout: Duration | None = None
    ) -> object: ...

    @overload
    async def wait_for_event(
        self, event: str, type: Any = Any, *, name: str | None = None, timeout: Duration | None = None
    ) -> Any: ...

    async def wait_for_event(
        self,
        event: str,
        type: Any = Any,  # noqa: A002 # the contract's name
        *,
        name: str | None = None,
        timeout: Duration | None = None,
    ) -> Any:
        """Return the payload of the oldest event of this name that no earlier wait took, as `type`.

        `name` is the wait's identity and what `status` shows; by default the event, and for later waits `event#2`, `event#3` …

        Raises:
            EventTimeout: no event came within `timeout` of the wait's first beginning.
        """
        check_name(event, "event name")
        if name is None:
            number = self._waits[event] = self._waits.get(event, 0) + 1
            name = event if number == 1 else f"{event}#{number}"
            if len(name) > LONGEST_NAME:
                raise ValueError(
                    f"wait number {number} for the event {event[:30]!r}… has no room for its own name within {LONGEST_NAME}"
                    " characters; give it one with name="
                )
        length = None if timeout is None else micros(to_timedelta(timeout, "timeout"))
        wait = EventWait(self._desk, check_name(name, "name"), event, codec_for(type), length)
        return await self._desk.perform(wait)

    async def capture(self, name: str, fn: Callable[[], T], *, returns: Any = UNSET) -> T:
        """Return the value of a pure, synchronous function: the first one, for ever."""
        codec = result_codec(fn, step_options(returns=returns))
        return cast("T", await self._desk.perform(Capture(self._desk, check_name(name, "name"), StepKind.CAPTURE, codec, fn)))

    async def transaction(
        self,
        name: str,
        fn: Callable[[Any, *Ts], Awaitable[T]],
        *args: *Ts,
        returns: Any = UNSET,
        retry: RetryConfig | None = None,
        timeout: Duration | None = None,
        timeout_scope: TimeoutScope = "global",
        raises: ErrorTypes = (),
    ) -> T:
        """Return what `fn(connection, *args)` returned, where what it wrote on the connection was committed with that result.

        A step for which "at least once" is not enough: effects and checkpoint are one transaction of the storage's own
        database, so they happen exactly once. `connection` is a SQLAlchemy `AsyncConnection`; commit and roll back are not
        yours. It is rolled back when the function raises, or idles for a third of the worker's lease; on SQLite, takes that
        long: there nobody else can write meanwhile. The rest is as for `step`.

        Raises:
            NotSupported: the storage has no transactions.
            TypeError: `fn` is not an async function.
        """
        if not is_coroutine_function(fn):
            raise TypeError(f"the function of transaction {name!r} must be async: it awaits what it does on the connection")
        options = step_options(retry, timeout, timeout_scope, raises, returns)
        codec = result_codec(fn, options)
        call = TransactionCall(self._desk, self._transactions(), check_name(name, "step name"), fn, args, options, codec)
        return cast("T", await self._desk.perform(call))

    async def now(self, name: str) -> datetime:
        """Return the current time in UTC by storage's clock; the first one, for ever."""
        desk = self._desk
        capture = Capture(desk, check_name(name, "name"), StepKind.NOW, codec_for(datetime), lambda: moment(desk.now()))
        return cast("datetime", await desk.perform(capture))

    async def uuid(self, name: str) -> uuid.UUID:
        """Return a UUIDv7; the first one, for ever."""
        desk = self._desk
        capture = Capture(desk, check_name(name, "name"), StepKind.UUID, codec_for(uuid.UUID), desk.randomness.uuid)
        return cast("uuid.UUID", await desk.perform(capture))

    async def random(self, name: str) -> float:
        """Return a float in [0, 1); the first one, for ever."""
        desk = self._desk
        return cast(
            "float", await desk.perform(Capture(desk, check_name(name, "name"), StepKind.RANDOM, ANY, desk.randomness.random))
        )
