"""The operations as free functions: each finds the execution that it is called in, anywhere in the call stack.

Outside an execution they raise `NoActiveExecution`; inside a step's function, which is an operation itself, `InsideStep`. What
each does and raises besides is said by the method of `TaskContext` that it calls.
"""

from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from typing import Any, TypeVar, TypeVarTuple, cast, overload
from uuid import UUID

from zart.calls import StepScope
from zart.context import StepHandle, TaskContext
from zart.durations import Duration
from zart.operations import ExecutionInfo
from zart.outcome import StepOutcome
from zart.retry import Backoff, ErrorTypes, RetryConfig
from zart.steps import UNSET, AnyStep, TimeoutScope, current

T = TypeVar("T")
D = TypeVar("D")
Ts = TypeVarTuple("Ts")


def context() -> ExecutionInfo:
    """Return what the execution, or the step around the call, knows of itself; also in the thread of a sync step.

    Raises:
        NoActiveExecution: called outside an execution.
    """
    return cast(
        "ExecutionInfo", current("zart.context() was called", "it belongs into a handler's body or a step's function").info
    )


def _body(operation: str) -> TaskContext:
    """Return the context of the body that an operation is called in.

    Raises:
        NoActiveExecution: it is called outside an execution.
        InsideStep: it is called inside a step's function.
    """
    found = current(f"zart.{operation}() was called", "start a handler that calls it in its body, or in what that calls")
    if isinstance(found, StepScope):
        found.refuse(f"zart.{operation}()")
    return cast("TaskContext", found)


# ---- steps that are objects -----------------------------------------------------------------------------------------


async def require(step: AnyStep[T]) -> T:
    """Return the step's value and raise what it came to otherwise; awaiting the step does the same."""
    return await _body("require").require(step)


async def step(step: AnyStep[T]) -> StepOutcome[T]:
    """Return what the step came to, as a value made for `match`: `Ok`, `BusinessErr` or `ZartErr`."""
    return await _body("step").outcome(step)


async def step_or(step: AnyStep[T], default: D) -> T | D:
    """Return the step's value, or `default` on any failure."""
    return await _body("step_or").step_or(step, default)


async def step_or_else(step: AnyStep[T], fn: Callable[[BaseException], D]) -> T | D:
    """Return the step's value, or `fn(error)` on a business error; any other error is raised."""
    return await _body("step_or_else").step_or_else(step, fn)


def schedule(step: AnyStep[T]) -> StepHandle[T]:
    """Start a step at once without waiting for it. What nobody waits for is awaited and saved when the body returns."""
    return _body("schedule").schedule(step)


async def wait(handles: Iterable[StepHandle[T]]) -> list[StepOutcome[T]]:
    """Return the outcomes in the order of the handles; one failure fails neither the call nor its siblings."""
    return await _body("wait").wait(handles)


# ---- steps in place -------------------------------------------------------------------------------------------------


@overload
async def z_step(name: str, fn: Callable[[*Ts], Awaitable[T]], *args: *Ts) -> T: ...
@overload
async def z_step(name: str, fn: Callable[[*Ts], T], *args: *Ts) -> T: ...
async def z_step(name: str, fn: Callable[[*Ts], Any], *args: *Ts) -> Any:
    """Return what `fn(*args)` returned, calling it only if that was never saved: `TaskContext.step` in its simplest form."""
    return await _body("z_step").step(name, fn, *args)


@overload
async def z_step_with_retry(
    name: str,
    fn: Callable[[*Ts], Awaitable[T]],
    *args: *Ts,
    retries: int = 3,
    backoff: Backoff = "exponential",
    delay: Duration = "2s",
) -> T: ...
@overload
async def z_step_with_retry(
    name: str,
    fn: Callable[[*Ts], T],
    *args: *Ts,
    retries: int = 3,
    backoff: Backoff = "exponential",
    delay: Duration = "2s",
) -> T: ...
async def z_step_with_retry(
    name: str,
    fn: Callable[[*Ts], Any],
    *args: *Ts,
    retries: int = 3,
    backoff: Backoff = "exponential",
    delay: Duration = "2s",
) -> Any:
    """Do the same as `z_step`, and call the function up to `retries` times more when it raises.

    Raises:
        ValueError: a negative count, a bad duration, or a `backoff` other than "none", "fixed", "linear" and "exponential".
    """
    return await _body("z_step_with_retry").step_with_retry(name, _policy(retries, backoff, delay), fn, *args)


def _policy(retries: int, backoff: Backoff, delay: Duration) -> RetryConfig:
    match backoff:
        case "none":
            return RetryConfig.none()
        case "fixed":
            return RetryConfig.fixed(retries, delay)
        case "linear":
            return RetryConfig.linear(retries, delay)
        case "exponential":
            return RetryConfig.exponential(retries, delay)
        case other:
            raise ValueError(f"backoff must be 'none', 'fixed', 'linear' or 'exponential', not {other!r}")


async def transaction(
    name: str,
    fn: Callable[[Any, *Ts], Awaitable[T]],
    *args: *Ts,
    returns: Any = UNSET,
    retry: RetryConfig | None = None,
    timeout: Duration | None = None,
    timeout_scope: TimeoutScope = "global",
    raises: ErrorTypes = (),
) -> T:
    """Return what `fn(connection, *args)` returned, where what it wrote on the connection was committed with that result."""
    options: Any = {"returns": returns, "retry": retry, "timeout": timeout, "timeout_scope": timeout_scope, "raises": raises}
    return cast("T", await _body("transaction").transaction(name, fn, *args, **options))


# ---- time and events ------------------------------------------------------------------------------------------------


async def sleep(name: str, duration: Duration) -> None:
    """Sleep durably: after a restart only the remaining time is waited."""
    await _body("sleep").sleep(name, duration)


async def sleep_until(name: str, until: datetime) -> None:
    """Sleep durably until an aware datetime."""
    await _body("sleep_until").sleep_until(name, until)


@overload
async def wait_for_event(event: str, type: type[T], *, name: str | None = None, timeout: Duration | None = None) -> T: ...
@overload
async def wait_for_event(  # type: ignore[overload-cannot-match] # as for TaskContext's
    event: str, type: type[object], *, name: str | None = None, timeout: Duration | None = None
) -> object: ...
@overload
async def wait_for_event(event: str, type: Any = Any, *, name: str | None = None, timeout: Duration | None = None) -> Any: ...
async def wait_for_event(
    event: str,
    type: Any = Any,  # noqa: A002 # the contract's name
    *,
    name: str | None = None,
    timeout: Duration | None = None,
) -> Any:
    """Return the payload of the oldest event of this name that no earlier wait took, as `type`."""
    return await _body("wait_for_event").wait_for_event(event, type, name=name, timeout=timeout)


@overload
async def z_wait_event(name: str, type: type[T], timeout: Duration | None = "48h") -> T: ...
@overload
async def z_wait_event(  # type: ignore[overload-cannot-match] # as above
    name: str, type: type[object], timeout: Duration | None = "48h"
) -> object: ...
@overload
async def z_wait_event(name: str, type: Any = Any, timeout: Duration | None = "48h") -> Any: ...
async def z_wait_event(
    name: str,
    type: Any = Any,  # noqa: A002 # the contract's name
    timeout: Duration | None = "48h",
) -> Any:
    """Do the same as `wait_for_event`, for two days unless told otherwise; `name` is the event's."""
    return await _body("z_wait_event").wait_for_event(name, type, timeout=timeout)


# ---- what may differ from run to run --------------------------------------------------------------------------------


async def capture(name: str, fn: Callable[[], T], *, returns: Any = UNSET) -> T:
    """Return the value of a pure, synchronous function: the first one, for ever."""
    return await _body("capture").capture(name, fn, returns=returns)


async def now(name: str) -> datetime:
    """Return the current time in UTC by storage's clock; the first one, for ever."""
    return await _body("now").now(name)


async def uuid(name: str) -> UUID:
    """Return a UUIDv7; the first one, for ever."""
    return await _body("uuid").uuid(name)


async def random(name: str) -> float:
    """Return a float in [0, 1); the first one, for ever."""
    return await _body("random").random(name)
