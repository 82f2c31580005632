"""Functions as steps: `@zart_step` and what it makes of a function."""

import inspect
import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from copy import copy
from functools import partial, update_wrapper
from string import Formatter
from types import MethodType
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, Self, TypeVar, overload

from zart.codec import Codec, UnresolvedType
from zart.durations import Duration
from zart.ids import check_name
from zart.observe import TEMPLATES
from zart.retry import ErrorTypes, RetryConfig
from zart.steps import UNSET, Step, StepOptions, TimeoutScope, called, noticed, result_codec, step_options

P = ParamSpec("P")
Q = ParamSpec("Q")
T = TypeVar("T")
R = TypeVar("R")
S = TypeVar("S")


class StepFactory(Generic[P, T]):
    """What `@zart_step` has made of a function: calling it runs nothing and returns a `Step`. In a class it makes methods.

    Attributes:
        fn: the undecorated function, for unit tests.
    """

    __wrapped__: Callable[..., Any]

    def __init__(self, fn: Callable[..., Any], template: str, options: StepOptions) -> None:
        check_function(fn, "zart_step")
        update_wrapper(self, fn, updated=())
        self.fn: Callable[..., Any] = fn
        self.template: str = template
        """The step's name before it is filled in."""
        self._options = options
        self._owner: tuple[Any, ...] = ()
        """The object whose method this is: the first of all arguments."""
        self._signature = _signature(fn)
        parameters = self._signature.parameters.values()
        self._defaults = {each.name: each.default for each in parameters if each.default is not each.empty}
        by_place = [each for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
        self._names = [each.name for each in by_place]
        several = any(each.kind is each.VAR_POSITIONAL for each in parameters)
        needed = any(each.kind is each.KEYWORD_ONLY and each.default is each.empty for each in parameters)
        # What arguments by place alone are right without another look: from the least up to all names.
        self._least = len(by_place) + 1 if needed or several else sum(each.default is each.empty for each in by_place)
        self._is_filled = _check_template(template, fn, self._signature)
        if self._is_filled:
            TEMPLATES.add(template)
        self._codec = _early_codec(fn, options)

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> Step[T]:
        """Return the step that calls the function with these arguments.

        Raises:
            TypeError: the function does not take them.
            ValueError: the name that they give is empty, too long or has control characters.
        """
        by_place: tuple[Any, ...] = self._owner + args
        by_name: dict[str, Any] = kwargs
        if by_name or not self._least <= len(by_place) <= len(self._names):  # to bind each call would cost more than the step
            by_place, by_name = self._bound(by_place, by_name)
        if self._codec is None:
            self._codec = result_codec(self.fn, self._options)
        name = self._name(by_place, by_name) if self._is_filled else self.template
        fn = partial(self.fn, **by_name) if by_name else self.fn
        return noticed(Step(name, fn, by_place[len(self._owner) :], self._options, self._codec))

    @overload
    def __get__(self, instance: None, owner: type | None = None) -> Self: ...
    @overload
    def __get__(self: "StepFactory[Concatenate[S, Q], T]", instance: S, owner: type | None = None) -> "StepFactory[Q, T]": ...
    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """Return the factory as a method of an object, if what it is made of would be one."""
        if instance is None or not hasattr(self.fn, "__get__"):
            return self
        method = copy(self)
        method.fn = method.__wrapped__ = MethodType(self.fn, instance)
        method._owner = (instance,)  # noqa: SLF001 # its own copy
        return method

    def __repr__(self) -> str:
        """Return what it is made of."""
        return f"<step {self.template!r} of {called(self.fn)}>"

    def _bound(self, args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"step {self.template!r} cannot be made: {called(self.fn)}(): {error}") from None
        return bound.args, bound.kwargs

    def _name(self, args: Sequence[Any], kwargs: dict[str, Any]) -> str:
        try:
            return self.template.format_map({**self._defaults, **dict(zip(self._names, args, strict=False)), **kwargs})
        except Exception as error:
            raise ValueError(
                f"the step name {self.template!r} cannot be filled from the arguments of {called(self.fn)}: {error!r}"
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

    `{parameter}` in the name is filled from the call's arguments, as `str.format` does it: `{order.id}`, `{day:%F}`, and for a
    method `{self.id}` too. `@classmethod` and `@staticmethod` stand above it. The options are those of `TaskContext.step`.

    Raises:
        TypeError: what is decorated is no function, or one that yields; a bad option, or a result that cannot be stored.
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
        fields = list(_fields(template))
    except ValueError as error:
        raise ValueError(f"the step name {template!r} cannot be read: {error}; write {{{{ for a brace") from None
    named = [each.name for each in signature.parameters.values() if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)]
    for field in fields:
        if field not in named:
            known = ", ".join(named) or "none"
            raise ValueError(f"the step name {template!r} has {{{field}}}, but the parameters of {called(fn)} are: {known}")
    if not fields:
        check_name(template.format(), "step name")
    return "{" in template or "}" in template


def _fields(template: str) -> Iterator[str]:
    for _, field, width, _ in Formatter().parse(template):
        if field is not None:
            yield re.split(r"[.\[]", field)[0]
            yield from _fields(width or "")


def _early_codec(fn: Callable[..., Any], options: StepOptions) -> Codec | None:
    """Return the codec of the result, so that one that cannot be stored is refused at once; None if it cannot be told yet."""
    try:
        return result_codec(fn, options)
    except UnresolvedType:  # it may be defined further down
        return None


def check_function(fn: Any, decorator: str) -> None:
    """Refuse what no decorator can take.

    Raises:
        TypeError: it is none; the message says what to write.
    """
    if isinstance(fn, staticmethod | classmethod):
        kind = type(fn).__name__
        raise TypeError(f"write @{kind} above @{decorator}, not below: {called(fn.__func__)} is decorated as a {kind}")
    if isinstance(fn, StepFactory):
        raise TypeError(f"{called(fn.fn)} is made into a step already; a handler's body, or another function, awaits it")
    if not callable(fn):
        raise TypeError(f"{decorator} decorates functions, and {fn!r} is none")
    for each in (fn, type(fn).__call__):
        if inspect.isgeneratorfunction(each) or inspect.isasyncgenfunction(each):
            raise TypeError(f"{called(fn)} is a generator function, and what it yields cannot be saved; return a list instead")


def _signature(fn: Callable[..., Any]) -> inspect.Signature:
    try:
        return inspect.signature(fn)
    except ValueError:  # some builtins have none
        raise TypeError(f"the parameters of {called(fn)} cannot be told; call it in a function of your own") from None
