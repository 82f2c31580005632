"""What a handler's body works with: every operation, by name."""

import uuid
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from typing import Any, Generic, TypeVar, cast, overload

from attrs import field, frozen

from zart.calls import StepCall
from zart.clock import instant, micros, moment
from zart.codec import ANY, codec_for
from zart.durations import Duration, to_timedelta
from zart.errors import DuplicateStepName, ZartError
from zart.ids import check_name
from zart.operations import Capture, Desk, EventWait, ExecutionInfo, Operation, Sleep
from zart.outcome import BusinessErr, Ok, StepOutcome, ZartErr
from zart.retry import ErrorTypes, RetryConfig
from zart.status import StepKind
from zart.steps import UNSET, AnyStep, Step, TimeoutScope, result_codec, step_options
from zart.turns import Turns

T = TypeVar("T")
D = TypeVar("D")


@frozen(eq=False)
class StepHandle(Generic[T]):
    """A step that runs on its own; collect it with `TaskContext.wait`."""

    step: Step[T]
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

    def __init__(self, desk: Desk, turns: Turns) -> None:
        self._desk = desk
        self.turns = turns
        """How the engine knows when the body rests; nothing for users."""
        self._waits: dict[str, int] = {}

    @property
    def info(self) -> ExecutionInfo:
        """Id, task, input and attempt of this execution."""
        return self._desk.info

    @overload
    async def step(
        self,
        name: str,
        fn: Callable[..., Awaitable[T]],
        *args: Any,
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
        fn: Callable[..., T],
        *args: Any,
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
        *args: Any,
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
        fn: Callable[..., Awaitable[T]],
        *args: Any,
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
        fn: Callable[..., T],
        *args: Any,
        returns: Any = UNSET,
        timeout: Duration | None = None,
        timeout_scope: TimeoutScope = "global",
        raises: ErrorTypes = (),
    ) -> T: ...

    async def step_with_retry(
        self,
        name: str,
        retry: RetryConfig,
        fn: Callable[..., Any],
        *args: Any,
        returns: Any = UNSET,
        timeout: Duration | None = None,
        timeout_scope: TimeoutScope = "global",
        raises: ErrorTypes = (),
    ) -> Any:
        """Do the same as `step`, with the retry policy in front."""
        options = step_options(retry, timeout, timeout_scope, raises, returns)
        call = StepCall(self._desk, check_name(name, "step name"), fn, args, options, result_codec(fn, options))
        return await self._desk.perform(call)

    async def require(self, step: AnyStep[T]) -> T:
        """Return the step's value; raise what it came to otherwise."""
        return cast("T", await self._desk.perform(StepCall.of(self._desk, step.as_step())))

    async def outcome(self, step: AnyStep[T]) -> StepOutcome[T]:
        """Return what the step came to, as a value made for `match`: `Ok`, `BusinessErr` or `ZartErr`."""
        plain = step.as_step()
        return await self._outcome(plain, self._desk.perform(StepCall.of(self._desk, plain)))

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
        plain = step.as_step()
        operation = StepCall.of(self._desk, plain)
        operation.scheduled = True
        self._desk.ask(operation)
        return StepHandle(plain, operation)

    async def wait(self, handles: Iterable[StepHandle[T]]) -> list[StepOutcome[T]]:
        """Return the outcomes in the order of the handles; one failure fails neither the call nor its siblings."""
        return [await self._outcome(handle.step, self._desk.outcome_of(handle.operation)) for handle in handles]

    async def _outcome(self, step: Step[T], performing: Awaitable[Any]) -> StepOutcome[T]:
        try:
            return Ok(cast("T", await performing))
        except DuplicateStepName:  # a mistake in the body, not an outcome
            raise
        except step.options.raises as error:
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
        length = None if timeout is None else micros(to_timedelta(timeout, "timeout"))
        wait = EventWait(self._desk, check_name(name, "name"), event, codec_for(type), length)
        return await self._desk.perform(wait)

    async def capture(self, name: str, fn: Callable[[], T], *, returns: Any = UNSET) -> T:
        """Return the value of a pure, synchronous function: the first one, for ever."""
        codec = result_codec(fn, step_options(returns=returns))
        return cast("T", await self._desk.perform(Capture(self._desk, check_name(name, "name"), StepKind.CAPTURE, codec, fn)))

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
