"""Plain functions as handlers and steps: `@zart_durable` and `@zart_step`. Nothing is registered by decorating."""

import inspect
import re
from collections.abc import Awaitable, Callable
from copy import copy
from functools import cached_property, partial, update_wrapper
from string import Formatter
from types import MethodType
from typing import Any, Concatenate, Generic, NoReturn, ParamSpec, Protocol, Self, TypeVar, overload

from zart.calls import is_coroutine_function
from zart.codec import Codec, codec_for, parameter_type, return_type
from zart.context import TaskContext
from zart.durations import Duration
from zart.errors import ExecutionFailure
from zart.handler import TaskHandler
from zart.ids import check_name
from zart.retry import ErrorTypes, RetryConfig
from zart.steps import UNSET, Step, StepOptions, TimeoutScope, result_codec, step_options

P = ParamSpec("P")
Q = ParamSpec("Q")
T = TypeVar("T")
R = TypeVar("R")
S = TypeVar("S")
D = TypeVar("D")
O = TypeVar("O")  # noqa: E741 # Output; the letter stands beside D

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)


# ---- handlers -------------------------------------------------------------------------------------------------------


class DurableFunction(TaskHandler[D, O]):
    """A handler that `@zart_durable` has made of an async function. Register it as it is; it is not called.

    Attributes:
        fn: the undecorated function.
    """

    def __init__(self, fn: Callable[..., Awaitable[O]], name: str) -> None:
        self.__doc__ = fn.__doc__
        self.fn: Callable[..., Awaitable[O]] = fn
        self.name: str = check_name(name, "task name")
        self._takes_data = _takes_data(fn)

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
        return f"<task {self.name!r} of {_called(self.fn)}>"


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
        ValueError: a bad name.
    """
    if callable(name):
        raise TypeError(
            f"write @zart_durable() above {_called(name)}: the decorator is called, with the task's name or without"
        )
    if retry is not None and max_retries:
        raise TypeError("zart_durable got both retry and max_retries; retry has its own max_retries, keep one of the two")
    if on_failure is not None:
        _check_compensation(on_failure)

    def decorate(fn: Callable[..., Awaitable[Any]]) -> DurableFunction[Any, Any]:
        # A partial has no name of its own; that it needs one is said by the check.
        given = getattr(fn, "__name__", "") if name is None else name
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
        raise TypeError(f"{_called(fn)} must be an async function to be durable: write `async def {_called(fn)}(data)`")
    signature = inspect.signature(fn)
    takes = any(parameter.kind in _POSITIONAL for parameter in signature.parameters.values())
    try:
        signature.bind(*(("data",) if takes else ()))
    except TypeError:
        raise TypeError(
            f"{_called(fn)} must take one argument, the input, or none;"
            " put several values into an attrs class, and what it depends on into a closure"
        ) from None
    return takes


def _check_compensation(fn: Callable[..., Any]) -> None:
    if not is_coroutine_function(fn):
        raise TypeError(f"on_failure must be an async function (data, failure), not {fn!r}")
    try:
        inspect.signature(fn).bind("data", "failure")
    except TypeError:
        raise TypeError(f"on_failure {_called(fn)} must take (data, failure)") from None


# ---- steps ----------------------------------------------------------------------------------------------------------


class StepFactory(Generic[P, T]):
    """What `@zart_step` has made of a function: calling it runs nothing and returns a `Step`. In a class it makes methods.

    Attributes:
        fn: the undecorated function, for unit tests.
    """

    def __init__(self, fn: Callable[..., Any], template: str, options: StepOptions) -> None:
        update_wrapper(self, fn, updated=())
        self.fn: Callable[..., Any] = fn
        self.template: str = template
        """The step's name before it is filled in."""
        self._options = options
        self._learn_parameters()
        self._is_filled = _check_template(template, fn, self._signature)
        self._codec = _early_codec(fn, options)

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> Step[T]:
        """Return the step that calls the function with these arguments.

        Raises:
            TypeError: the function does not take them.
            ValueError: the name that they give is empty, too long or has control characters.
        """
        by_place: tuple[Any, ...] = args
        by_name: dict[str, Any] = kwargs
        if by_name or not self._least <= len(by_place) <= len(self._names):  # to bind each call would cost more than the step
            by_place, by_name = self._bound(by_place, by_name)
        if self._codec is None:
            self._codec = result_codec(self.fn, self._options)
        name = self._name(by_place, by_name) if self._is_filled else self.template
        return Step(name, partial(self.fn, **by_name) if by_name else self.fn, by_place, self._options, self._codec)

    @overload
    def __get__(self, instance: None, owner: type | None = None) -> Self: ...
    @overload
    def __get__(self: "StepFactory[Concatenate[S, Q], T]", instance: S, owner: type | None = None) -> "StepFactory[Q, T]": ...
    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """Return the factory as a method of an object."""
        if instance is None:
            return self
        method = copy(self)
        method.fn = MethodType(self.fn, instance)
        method._learn_parameters()  # noqa: SLF001 # its own copy
        return method

    def __repr__(self) -> str:
        """Return what it is made of."""
        return f"<step {self.template!r} of {_called(self.fn)}>"

    def _learn_parameters(self) -> None:
        self._signature = inspect.signature(self.fn)
        parameters = self._signature.parameters.values()
        self._defaults = {each.name: each.default for each in parameters if each.default is not each.empty}
        several = any(each.kind is each.VAR_POSITIONAL for each in parameters)
        needed = [each for each in parameters if each.kind is each.KEYWORD_ONLY and each.default is each.empty]
        by_place = [each for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
        self._names = [each.name for each in by_place]
        # What arguments by place alone are right without another look: from the least up to all names.
        self._least = len(by_place) + 1 if needed or several else sum(each.default is each.empty for each in by_place)

    def _bound(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"step {self.template!r} cannot be made: {_called(self.fn)}() has a {error}") from None
        return bound.args, bound.kwargs

    def _name(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        try:
            return self.template.format_map({**self._defaults, **dict(zip(self._names, args, strict=False)), **kwargs})
        except Exception as error:
            raise ValueError(
                f"the step name {self.template!r} cannot be filled from the arguments of {_called(self.fn)}: {error!r}"
            ) from error


class StepDecorator(Protocol):
    """Makes a step factory out of a function, async or not."""

    @overload
    def __call__(self, fn: Callable[P, Awaitable[T]], /) -> StepFactory[P, T]: ...
    @overload
    def __call__(self, fn: Callable[P, T], /) -> StepFactory[P, T]: ...


class TypedStepDecorator(Protocol[R]):
    """Does so when `returns=` says what the result is."""

    def __call__(self, fn: Callable[P, Any], /) -> StepFactory[P, R]:
        """Return the factory."""
        ...


@overload
def zart_step(
    name: str,
    *,
    returns: type[R],
    retry: RetryConfig | None = None,
    timeout: Duration | None = None,
    timeout_scope: TimeoutScope = "global",
    raises: ErrorTypes = (),
) -> TypedStepDecorator[R]: ...
@overload
def zart_step(
    name: str,
    *,
    returns: Any = UNSET,
    retry: RetryConfig | None = None,
    timeout: Duration | None = None,
    timeout_scope: TimeoutScope = "global",
    raises: ErrorTypes = (),
) -> StepDecorator: ...
def zart_step(
    name: str,
    *,
    returns: Any = UNSET,
    retry: RetryConfig | None = None,
    timeout: Duration | None = None,
    timeout_scope: TimeoutScope = "global",
    raises: ErrorTypes = (),
) -> Any:
    """Make steps out of a function, async or not: calling it then runs nothing and returns a `Step` to await.

    `{parameter}` in the name is filled from the call's arguments, as `str.format` does it: `{order.id}` and `{day:%F}` too. The
    options are those of `TaskContext.step`.

    Raises:
        TypeError: a bad option, or a result that cannot be stored.
        ValueError: a bad timeout, or a name whose fields are no parameters.
    """
    if not isinstance(name, str):
        raise TypeError(f"write @zart_step('name-of-the-step') above the function: a step's name is text, not {name!r}")
    options = step_options(retry, timeout, timeout_scope, raises, returns)

    def decorate(fn: Callable[..., Any]) -> StepFactory[..., Any]:
        return StepFactory(fn, name, options)

    return decorate


def _check_template(template: str, fn: Callable[..., Any], signature: inspect.Signature) -> bool:
    """Return whether a name has to be filled in for each call."""
    try:
        parsed = list(Formatter().parse(template))
    except ValueError as error:
        raise ValueError(f"the step name {template!r} cannot be read: {error}; write {{{{ for a brace") from None
    fields = [re.split(r"[.\[]", field)[0] for _, field, _, _ in parsed if field is not None]
    named = [each.name for each in signature.parameters.values() if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)]
    for field in fields:
        if field not in named:
            known = ", ".join(named) or "none"
            raise ValueError(f"the step name {template!r} has {{{field}}}, but the parameters of {_called(fn)} are: {known}")
    if not fields:
        check_name(template.format(), "step name")
    return "{" in template or "}" in template


def _early_codec(fn: Callable[..., Any], options: StepOptions) -> Codec | None:
    """Return the codec of the result, so that one that cannot be stored is refused at once; None if it cannot be told yet."""
    try:
        declared = return_type(fn) if options.returns is UNSET else options.returns
    except TypeError:  # an annotation may speak of what is defined further down
        return None
    return codec_for(declared)


def _called(fn: Any) -> str:
    return str(getattr(fn, "__qualname__", fn))
