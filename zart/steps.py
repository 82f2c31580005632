"""What a step is: a named call with its policy, made before it runs.

An awaited step finds the execution that it belongs to through the context variable of `zart.turns`; this module says what it
expects to find there, and `zart.context` implements it.
"""

import sys
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Generator
from functools import lru_cache, partial
from inspect import isawaitable
from opcode import opmap
from types import CodeType
from typing import Any, Generic, Literal, NoReturn, Protocol, TypeVar, TypeVarTuple, cast, get_args, get_origin, overload

from attrs import evolve, field, frozen

from zart.clock import Micros, micros
from zart.codec import Codec, UnresolvedType, codec_for, return_type, substituted
from zart.durations import Duration, to_timedelta
from zart.errors import NoActiveExecution
from zart.ids import check_name
from zart.retry import ErrorTypes, RetryConfig, error_types
from zart.turns import CURRENT, Scope

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
U = TypeVar("U")
Ts = TypeVarTuple("Ts")
TimeoutScope = Literal["global", "per_attempt"]
_POP_TOP, _CACHE = opmap["POP_TOP"], opmap.get("CACHE", 0)


class _Unset:
    def __repr__(self) -> str:
        return "<from the function's return annotation>"


UNSET: Any = _Unset()
"""Stands for a `returns=` that was not given; None means that None is returned."""


@frozen
class StepOptions:
    """How a step is carried out. Made by `step_options`, which validates."""

    retry: RetryConfig = RetryConfig.none()
    timeout: Micros | None = None
    per_attempt: bool = False
    """Whether `timeout` is a fresh budget for each attempt instead of one for all."""
    raises: tuple[type[BaseException], ...] = ()
    returns: Any = UNSET


PLAIN = StepOptions()


def step_options(
    retry: RetryConfig | None = None,
    timeout: Duration | None = None,
    timeout_scope: TimeoutScope = "global",
    raises: ErrorTypes = (),
    returns: Any = UNSET,
) -> StepOptions:
    """Return validated options.

    Raises:
        TypeError: `retry` is no RetryConfig, or `raises` names something that is no exception class.
        ValueError: a bad timeout or scope.
    """
    if retry is None and timeout is None and not raises and returns is UNSET and timeout_scope == "global":
        return PLAIN
    if retry is not None and not isinstance(retry, RetryConfig):
        raise TypeError(f"retry must be a RetryConfig such as RetryConfig.fixed(3, '1s'), not {retry!r}")
    if timeout_scope not in ("global", "per_attempt"):
        raise ValueError(f"timeout_scope must be 'global' or 'per_attempt', not {timeout_scope!r}")
    return StepOptions(
        retry or PLAIN.retry,
        None if timeout is None else micros(to_timedelta(timeout, "timeout")),
        timeout_scope == "per_attempt",
        error_types(raises, "raises"),
        returns,
    )


class Performer(Scope, Protocol):
    """What a step and a free function need of the execution around them."""

    @property
    def info(self) -> Any:
        """What it knows of itself: an `ExecutionInfo`."""
        ...

    def require(self, step: "Step[T]") -> Coroutine[Any, Any, T]:
        """Perform a step and return its value."""
        ...

    def _thrown_away(self, step: "Step[Any]") -> None:
        """Tell of a step that the body has made and does nothing with; only where there are turns."""
        ...


def current(what: str, mend: str) -> Performer:
    """Return the execution, or the step of one, that the code is part of.

    Raises:
        NoActiveExecution: it is part of none; the message says what was called and what to do instead.
    """
    performer = CURRENT.get()
    if performer is None:
        raise NoActiveExecution(f"{what} outside an execution; {mend}")
    return cast("Performer", performer)


@frozen(slots=True, eq=False)
class Step(Coroutine[Any, Any, T_co]):
    """A named call that has not run yet. Awaiting it inside a handler performs it, once and for all.

    Make one with `Step.of`, or with a function that `@zart_step` has decorated. asyncio takes it for a coroutine: `gather`,
    `create_task` and `TaskGroup` perform it as `await` does.
    """

    name: str
    fn: Callable[..., Any]
    args: tuple[Any, ...] = ()
    options: StepOptions = PLAIN
    codec: Codec = field(repr=False, default=cast("Codec", None))

    def __attrs_post_init__(self) -> None:
        """Check the name and look up the codec of the result."""
        check_name(self.name, "step name")
        if self.codec is None:
            object.__setattr__(self, "codec", result_codec(self.fn, self.options))

    @overload
    @classmethod
    def of(
        cls,
        name: str,
        fn: Callable[[*Ts], object],
        *args: *Ts,
        retry: RetryConfig | None = None,
        timeout: Duration | None = None,
        timeout_scope: TimeoutScope = "global",
        raises: ErrorTypes = (),
        returns: type[U],
    ) -> "Step[U]": ...

    @overload
    @classmethod
    def of(
        cls,
        name: str,
        fn: Callable[[*Ts], Awaitable[U]],
        *args: *Ts,
        retry: RetryConfig | None = None,
        timeout: Duration | None = None,
        timeout_scope: TimeoutScope = "global",
        raises: ErrorTypes = (),
        returns: Any = UNSET,
    ) -> "Step[U]": ...

    @overload
    @classmethod
    def of(
        cls,
        name: str,
        fn: Callable[[*Ts], U],
        *args: *Ts,
        retry: RetryConfig | None = None,
        timeout: Duration | None = None,
        timeout_scope: TimeoutScope = "global",
        raises: ErrorTypes = (),
        returns: Any = UNSET,
    ) -> "Step[U]": ...

    @classmethod
    def of(
        cls,
        name: str,
        fn: Callable[..., Any],
        *args: *Ts,
        retry: RetryConfig | None = None,
        timeout: Duration | None = None,
        timeout_scope: TimeoutScope = "global",
        raises: ErrorTypes = (),
        returns: Any = UNSET,
    ) -> "Step[U]":
        """Return a step that calls `fn(*args)`; the options are those of `TaskContext.step`."""
        return Step(name, fn, args, step_options(retry, timeout, timeout_scope, raises, returns))

    def as_step(self) -> "Step[T_co]":
        """Return the step itself."""
        return self

    def named(self, name: str) -> "Step[T_co]":
        """Return the same step under another name."""
        return noticed(evolve(self, name=name))

    def __await__(self) -> Generator[Any, None, T_co]:
        """Perform the step in the execution around it: `require`.

        Raises:
            NoActiveExecution: there is no execution around it.
            InsideStep: it was awaited inside a step's function.
        """
        return self._performance().__await__()

    def send(self, value: Any, /) -> NoReturn:
        """Refuse to be driven by hand.

        The tasks of a body await a step. Only those of other code drive it, and learn here that there is no execution.

        Raises:
            NoActiveExecution: there is no execution around it.
            InsideStep: it is driven inside a step's function.
            TypeError: it is driven in a body, and not by a task that asyncio has made.
        """
        self._performance().close()
        raise TypeError(f"step {self.name!r} is not driven by hand; await it, or give it to asyncio.create_task")

    def throw(self, error: Any, value: Any = None, trace: Any = None, /) -> NoReturn:
        """Raise what is thrown into it: nothing has begun that could catch it."""
        raise error if value is None else value

    def close(self) -> None:
        """Do nothing: nothing has begun."""

    def _performance(self) -> Coroutine[Any, Any, T_co]:
        performer = current(f"step {self.name!r} was awaited", "start a handler that awaits it, or call its function")
        return performer.require(self)


def called(fn: Any) -> str:
    """Return what a function is called in messages."""
    whose = fn.func if isinstance(fn, partial) else fn
    return str(getattr(whose, "__qualname__", whose))


def noticed(step: Step[T]) -> Step[T]:
    """Return a step that was just made. One that its maker throws away at once was meant to be awaited: that is told."""
    scope = CURRENT.get()
    if scope is not None and scope.turns is not None:
        maker = sys._getframe(2)  # noqa: SLF001 # whoever called what has called this
        if _throws_away(maker.f_code, maker.f_lasti):
            cast("Performer", scope)._thrown_away(step)  # noqa: SLF001 # nothing for users, whose context it is
    return step


@lru_cache(maxsize=4096)
def _throws_away(code: CodeType, call: int) -> bool:
    """Whether what a call returns is dropped by the instruction after it: the call is a statement of its own."""
    following = (each for each in code.co_code[call + 2 :: 2] if each != _CACHE)
    return next(following, None) == _POP_TOP


class ZartStep(ABC, Generic[T_co]):
    """A step as a class: subclass it with `name`, `async def run(self)` and, as attributes, the options of a step.

    The result's type is the class's type argument, else the return annotation of `run`.
    """

    name: str
    retry: RetryConfig | None = None
    timeout: Duration | None = None
    timeout_scope: TimeoutScope = "global"
    raises: ErrorTypes = ()
    returns: Any = UNSET

    @abstractmethod
    async def run(self) -> T_co:
        """Do the work."""

    def as_step(self) -> Step[T_co]:
        """Return the call that this object stands for.

        Raises:
            TypeError: it has no name, or a bad option.
        """
        if not hasattr(self, "name"):
            raise TypeError(f"{type(self).__name__} is a step without a name; give its class one: name = 'name-of-the-step'")
        returns = type_argument(type(self), ZartStep, 0) if self.returns is UNSET else self.returns
        return Step(self.name, self.run, (), step_options(self.retry, self.timeout, self.timeout_scope, self.raises, returns))

    def __await__(self) -> Generator[Any, None, T_co]:
        """Perform the step in the execution around it, as awaiting a `Step` does."""
        return self.as_step().__await__()


AnyStep = Step[T] | ZartStep[T]


def plain_step(step: AnyStep[T]) -> Step[T]:
    """Return the call that a step of either sort stands for.

    Raises:
        TypeError: it is no step; a function that makes steps is none, nor is a class of steps.
    """
    if isinstance(step, Step):
        return step
    if isinstance(step, ZartStep):
        return step.as_step()
    mend = "call it" if callable(step) else "make one with Step.of(name, fn, *args)"
    raise TypeError(f"a step is wanted here, not {step!r}; {mend}")


def result_codec(fn: Callable[..., Any], options: StepOptions) -> Codec:
    """Return the codec of what `fn` returns.

    Raises:
        TypeError: the declared type cannot be stored, or `fn` cannot be called.
    """
    if not callable(fn):
        mend = "pass the function and its arguments, and do not call it" if isawaitable(fn) else "pass a function"
        raise TypeError(f"a step calls a function, and this is of type {type(fn).__name__}; {mend}")
    try:
        return codec_for(options.returns if options.returns is not UNSET else return_type(fn))
    except UnresolvedType:
        raise
    except TypeError as error:
        raise TypeError(f"the result of {called(fn)} cannot be saved: {error}") from None


def type_argument(cls: type, generic: type, position: int) -> Any:
    """Return the type argument that `cls`, or a class above it, gives to a generic class; UNSET when none does."""
    argument = _argument(cls, generic, position)
    return UNSET if isinstance(argument, TypeVar) else argument


def _argument(cls: type, generic: type, position: int) -> Any:
    for parent in cls.__dict__.get("__orig_bases__", cls.__bases__):
        origin, arguments = get_origin(parent) or parent, get_args(parent)
        if origin is generic:
            return arguments[position] if arguments else UNSET
        if isinstance(origin, type) and issubclass(origin, generic):
            given = dict(zip(getattr(origin, "__parameters__", ()), arguments, strict=False))
            return substituted(_argument(origin, generic, position), given)
    return UNSET
