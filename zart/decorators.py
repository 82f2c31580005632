"""Functions as handlers: `@zart_durable`. Nothing is registered by decorating."""

import inspect
from collections.abc import Awaitable, Callable
from functools import cached_property
from typing import Any, NoReturn, Protocol, TypeVar, overload

from zart.calls import is_coroutine_function
from zart.codec import parameter_type, return_type
from zart.context import TaskContext
from zart.durations import Duration
from zart.errors import ExecutionFailure
from zart.factories import check_function
from zart.handler import TaskHandler
from zart.ids import check_name
from zart.retry import ErrorTypes, RetryConfig
from zart.steps import called

D = TypeVar("D")
O = TypeVar("O")  # noqa: E741 # Output; the letter stands beside D

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)


class DurableFunction(TaskHandler[D, O]):
    """A handler that `@zart_durable` has made of an async function. Register it as it is; it is not called.

    Attributes:
        fn: the undecorated function.
    """

    def __init__(self, fn: Callable[..., Awaitable[O]], name: str) -> None:
        self._takes_data = _takes_data(fn)
        self.__doc__ = fn.__doc__
        self.fn: Callable[..., Awaitable[O]] = fn
        self.name: str = check_name(name, "task name")

    async def run(self, ctx: TaskContext, data: D) -> O:
        """Call the function."""
        return await (self.fn(data) if self._takes_data else self.fn())

    @cached_property
    def data_type(self) -> Any:
        """The declared type of the input; that of a function without arguments is None.

        Raises:
            TypeError: the annotation names something that cannot be found.
        """
        return parameter_type(self.fn, next(iter(inspect.signature(self.fn).parameters))) if self._takes_data else None

    @cached_property
    def output_type(self) -> Any:
        """The declared type of the output; raises as `data_type` does."""
        return return_type(self.fn)

    def __repr__(self) -> str:
        """Return what it is made of."""
        return f"<task {self.name!r} of {called(self.fn)}>"


class _CompensatedFunction(DurableFunction[D, O]):
    """One with an `on_failure` of its own."""

    def __init__(
        self,
        fn: Callable[..., Awaitable[O]],
        name: str,
        compensate: Callable[[D, ExecutionFailure], Awaitable[O]],
    ) -> None:
        super().__init__(fn, name)
        self._compensate = compensate

    async def on_failure(self, ctx: TaskContext, data: D, failure: ExecutionFailure) -> O:
        """Call the function that makes good."""
        return await self._compensate(data, failure)


class DurableDecorator(Protocol):
    """Makes a handler out of an async function of one argument or none."""

    @overload
    def __call__(self, fn: Callable[[], Awaitable[O]], /) -> DurableFunction[None, O]: ...
    @overload
    def __call__(self, fn: Callable[[D], Awaitable[O]], /) -> DurableFunction[D, O]: ...


class CompensatedDecorator(Protocol[D, O]):
    """Does so for a function with the input and output of its `on_failure`."""

    @overload
    def __call__(self, fn: Callable[[], Awaitable[O]], /) -> DurableFunction[None, O]: ...
    @overload
    def __call__(self, fn: Callable[[D], Awaitable[O]], /) -> DurableFunction[D, O]: ...


@overload
def zart_durable(
    name: str | None = None,
    *,
    on_failure: None = None,
    timeout: Duration | None = None,
    max_retries: int = 0,
    retry: RetryConfig | None = None,
    queue: str = "default",
    failure_timeout: Duration = "10m",
    raises: ErrorTypes = (),
) -> DurableDecorator: ...
@overload
def zart_durable(
    name: str | None = None,
    *,
    on_failure: Callable[[D, ExecutionFailure], Awaitable[NoReturn]],
    timeout: Duration | None = None,
    max_retries: int = 0,
    retry: RetryConfig | None = None,
    queue: str = "default",
    failure_timeout: Duration = "10m",
    raises: ErrorTypes = (),
) -> DurableDecorator: ...
@overload
def zart_durable(
    name: str | None = None,
    *,
    on_failure: Callable[[D, ExecutionFailure], Awaitable[O]],
    timeout: Duration | None = None,
    max_retries: int = 0,
    retry: RetryConfig | None = None,
    queue: str = "default",
    failure_timeout: Duration = "10m",
    raises: ErrorTypes = (),
) -> CompensatedDecorator[D, O]: ...
def zart_durable(
    name: str | None = None,
    *,
    on_failure: Callable[[Any, ExecutionFailure], Awaitable[Any]] | None = None,
    timeout: Duration | None = None,
    max_retries: int = 0,
    retry: RetryConfig | None = None,
    queue: str = "default",
    failure_timeout: Duration = "10m",
    raises: ErrorTypes = (),
) -> Any:
    """Make a handler out of an async function of one argument, the input, or none.

    The function's annotations are the types of input and output. In it, and in whatever it calls, the free functions of
    `zart` are the operations. `name` is the task's, by default the function's. `on_failure` is an async function
    `(data, failure)`. The options are those of `TaskHandler`.

    Raises:
        TypeError: what is decorated is no async function of one argument or none, or `on_failure` none of two; both `retry` and
            `max_retries` are given.
        ValueError: the name is empty, too long or has control characters.
    """
    if callable(name):
        raise TypeError(f"write @zart_durable() above {called(name)}: the decorator is called, with the task's name or without")
    if retry is not None and max_retries:
        raise TypeError("zart_durable got both retry and max_retries; retry has its own max_retries, keep one of the two")
    if on_failure is not None:
        _check_compensation(on_failure)

    def decorate(fn: Callable[..., Awaitable[Any]]) -> DurableFunction[Any, Any]:
        check_function(fn, "zart_durable")
        given = _own_name(fn) if name is None else name
        handler = DurableFunction(fn, given) if on_failure is None else _CompensatedFunction(fn, given, on_failure)
        handler.timeout = timeout
        handler.max_retries = max_retries
        handler.retry = retry
        handler.queue = queue
        handler.failure_timeout = failure_timeout
        handler.raises = raises
        return handler

    return decorate


def _takes_data(fn: Callable[..., Any]) -> bool:
    """Whether an async function takes the input.

    Raises:
        TypeError: it is none, or takes more.
    """
    if not is_coroutine_function(fn):
        raise TypeError(f"{called(fn)} must be an async function to be durable: write `async def {called(fn)}(data)`")
    signature = inspect.signature(fn)
    takes = any(parameter.kind in _POSITIONAL for parameter in signature.parameters.values())
    try:
        signature.bind(*(("data",) if takes else ()))
    except TypeError:
        raise TypeError(
            f"{called(fn)} must take one argument, the input, or none;"
            " put several values into an attrs class, and what it depends on into a closure"
        ) from None
    return takes


def _check_compensation(fn: Callable[..., Any]) -> None:
    if not is_coroutine_function(fn):
        raise TypeError(f"on_failure must be an async function (data, failure), not {fn!r}")
    try:
        inspect.signature(fn).bind("data", "failure")
    except TypeError:
        raise TypeError(f"on_failure {called(fn)} must take (data, failure)") from None


def _own_name(fn: Any) -> Any:
    try:
        return fn.__name__
    except AttributeError:  # a partial, or an object that can be called
        raise TypeError(f"{fn!r} has no name to be the task name; write zart_durable('name-of-the-task')") from None
