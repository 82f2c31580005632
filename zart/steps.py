"""What a step is: a named call with its policy, made before it runs.

An awaited step finds the execution that it belongs to through the context variable of `zart.turns`; this module says what it
expects to find there, and `zart.context` implements it.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Generator
from typing import Any, Generic, Literal, Protocol, TypeVar, TypeVarTuple, cast, get_args, get_origin, overload

from attrs import evolve, field, frozen

from zart.clock import Micros, micros
from zart.codec import Codec, codec_for, return_type
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

    def require(self, step: "Step[T]") -> Awaitable[T]:
        """Perform a step and return its value."""
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
class Step(Generic[T_co]):
    """A named call that has not run yet. Awaiting it inside a handler performs it, once and for all.

    Make one with `Step.of`, or with a function that `@zart_step` has decorated.
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
        return evolve(self, name=name)

    def __await__(self) -> Generator[Any, None, T_co]:
        """Perform the step in the execution around it: `require`.

        Raises:
            NoActiveExecution: there is no execution around it.
            InsideStep: it was awaited inside a step's function.
        """
        performer = current(f"step {self.name!r} was awaited", "start a handler that awaits it, or call its function")
        return performer.require(self).__await__()


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
        """Return the call that this object stands for."""
        returns = type_argument(type(self), ZartStep, 0) if self.returns is UNSET else self.returns
        return Step(self.name, self.run, (), step_options(self.retry, self.timeout, self.timeout_scope, self.raises, returns))

    def __await__(self) -> Generator[Any, None, T_co]:
        """Perform the step in the execution around it, as awaiting a `Step` does."""
        return self.as_step().__await__()


AnyStep = Step[T] | ZartStep[T]


def result_codec(fn: Callable[..., Any], options: StepOptions) -> Codec:
    """Return the codec of what `fn` returns.

    Raises:
        TypeError: the declared type cannot be stored.
    """
    return codec_for(return_type(fn) if options.returns is UNSET else options.returns)


def type_argument(cls: type, generic: type, position: int) -> Any:
    """Return the type argument that `cls` gives to a generic class it derives from; UNSET when it gives none."""
    for ancestor in cls.__mro__:
        for parent in ancestor.__dict__.get("__orig_bases__", ()):
            if get_origin(parent) is generic:
                argument = get_args(parent)[position]
                return UNSET if isinstance(argument, TypeVar) else argument
    return UNSET
