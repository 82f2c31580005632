"""Names to handlers: typed outside, erased inside."""

import inspect
from collections.abc import Awaitable, Callable, Iterable, Iterator
from datetime import timedelta
from typing import Any, NoReturn, TypeVar, overload

from attrs import field, frozen

from zart.calls import is_coroutine_function
from zart.clock import Micros, micros
from zart.codec import Codec, codec_for
from zart.decorators import (
    CompensatedDecorator,
    DurableDecorator,
    DurableFunction,
    zart_durable,
)
from zart.durations import Duration, to_timedelta
from zart.errors import ExecutionFailure, UnknownTask
from zart.factories import StepDecorator, TypedStepDecorator, zart_step
from zart.handler import TaskHandler, data_type, output_type
from zart.ids import check_name
from zart.retry import ErrorTypes, RetryConfig, error_types
from zart.steps import UNSET, TimeoutScope

T = TypeVar("T")
D = TypeVar("D")
O = TypeVar("O")  # noqa: E741 # Output; the letter stands beside D


@frozen(eq=False)
class Task:
    """A registered handler with all that the engine needs to know of it."""

    name: str
    handler: TaskHandler[Any, Any]
    data: Codec
    output: Codec
    queue: str
    retry: RetryConfig
    timeout: Micros | None
    failure_timeout: Micros
    raises: tuple[type[BaseException], ...]
    compensates: bool = field()
    """Whether the handler has an `on_failure` of its own."""


def data_codec(handler: TaskHandler[Any, Any] | type[TaskHandler[Any, Any]]) -> Codec:
    """Return the codec of a handler's input.

    Raises:
        TypeError: its type cannot be stored, or an annotation cannot be resolved.
    """
    if isinstance(handler, DurableFunction):
        return codec_for(handler.data_type)
    return codec_for(data_type(_class(handler)))


def output_codec(handler: TaskHandler[Any, Any] | type[TaskHandler[Any, Any]]) -> Codec:
    """Return the codec of a handler's output; raises as `data_codec` does."""
    if isinstance(handler, DurableFunction):
        return codec_for(handler.output_type)
    return codec_for(output_type(_class(handler)))


def task_of(handler: TaskHandler[Any, Any], name: str | None = None) -> Task:
    """Return what there is to know of a handler.

    Raises:
        TypeError: it is no handler instance, or its types cannot be stored.
        ValueError: a bad name, duration or retry policy.
    """
    if isinstance(handler, type):
        raise TypeError(
            f"register an instance, {handler.__name__}(), not the class: handlers get what they depend on in __init__"
        )
    if not isinstance(handler, TaskHandler):
        raise TypeError(f"{handler!r} is no handler; subclass TaskHandler[Data, Output]")
    for method in (type(handler).run, type(handler).on_failure):
        if not is_coroutine_function(method):
            raise TypeError(
                f"{method.__qualname__} must be an async function: write `async def {method.__name__}(self, ctx, data, …)`"
            )
    _check_arity(type(handler).run, ("ctx", "data"))
    _check_arity(type(handler).on_failure, ("ctx", "data", "failure"))
    given = check_name(handler.name if name is None else name, "task name")
    timeout = None if handler.timeout is None else micros(to_timedelta(handler.timeout, f"timeout of task {given!r}"))
    return Task(
        given,
        handler,
        data_codec(handler),
        output_codec(handler),
        check_name(handler.queue, "queue"),
        _retry(handler, given),
        timeout,
        micros(to_timedelta(handler.failure_timeout, f"failure_timeout of task {given!r}")),
        error_types(handler.raises, "raises"),
        type(handler).on_failure is not TaskHandler.on_failure,
    )


class Registry:
    """The handlers that a worker runs, by task name.

    Raises:
        ValueError: two handlers of one name.
        TypeError: as for `register`.
    """

    def __init__(self, handlers: Iterable[TaskHandler[Any, Any]] = ()) -> None:
        if not isinstance(handlers, Iterable):
            raise TypeError(f"handlers come several at a time, as a list, not {handlers!r}")
        self._tasks: dict[str, Task] = {}
        for handler in handlers:
            self.register(handler)

    def register(self, handler: TaskHandler[Any, Any], name: str | None = None) -> None:
        """Add a handler under its own name, or another.

        Raises:
            ValueError: the name is taken.
            TypeError: it is no handler instance, or its types cannot be stored.
        """
        task = task_of(handler, name)
        if task.name in self._tasks:
            raise ValueError(f"task {task.name!r} is registered already; give one of the two another name")
        self._tasks[task.name] = task

    @overload
    def durable(
        self,
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
    def durable(
        self,
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
    def durable(
        self,
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

    def durable(self, name: str | None = None, **options: Any) -> Any:
        """Make a handler out of an async function, as `zart_durable` does, and register it here.

        Raises:
            ValueError: the name is taken, or bad.
            TypeError: as for `zart_durable`, or the function's types cannot be stored.
        """
        decorate = zart_durable(name, **options)

        def decorate_and_register(fn: Callable[..., Awaitable[Any]]) -> DurableFunction[Any, Any]:
            handler: DurableFunction[Any, Any] = decorate(fn)
            self.register(handler)
            return handler

        return decorate_and_register

    @overload
    @staticmethod
    def step(
        name: str,
        *,
        returns: type[T],
        retry: RetryConfig | None = None,
        timeout: Duration | None = None,
        timeout_scope: TimeoutScope = "global",
        raises: ErrorTypes = (),
    ) -> TypedStepDecorator[T]: ...

    @overload
    @staticmethod
    def step(
        name: str,
        *,
        returns: Any = UNSET,
        retry: RetryConfig | None = None,
        timeout: Duration | None = None,
        timeout_scope: TimeoutScope = "global",
        raises: ErrorTypes = (),
    ) -> StepDecorator: ...

    @staticmethod
    def step(name: str, **options: Any) -> Any:
        """Make steps out of a function; the same as `zart_step`, which raises the same. Steps are not registered anywhere."""
        return zart_step(name, **options)

    def __getitem__(self, name: str) -> Task:
        """Return a task by name.

        Raises:
            UnknownTask: nothing is registered under it.
        """
        try:
            return self._tasks[name]
        except KeyError:
            raise UnknownTask(name, tuple(self._tasks)) from None

    def __iter__(self) -> Iterator[Task]:
        """Iterate over the tasks in the order of their registration."""
        return iter(self._tasks.values())

    def __len__(self) -> int:
        """Return how many tasks there are."""
        return len(self._tasks)

    def __contains__(self, name: object) -> bool:
        """Whether a task of this name is registered."""
        return name in self._tasks


def _class(handler: Any) -> type[TaskHandler[Any, Any]]:
    cls = handler if isinstance(handler, type) else type(handler)
    if not issubclass(cls, TaskHandler):
        raise TypeError(f"a handler is wanted here, an instance or a subclass of TaskHandler, not {handler!r}")
    return cls


def _check_arity(method: Callable[..., Any], wanted: tuple[str, ...]) -> None:
    try:
        inspect.signature(method).bind(None, *wanted)
    except TypeError:
        raise TypeError(f"{method.__qualname__} must take (self, {', '.join(wanted)})") from None


def _retry(handler: TaskHandler[Any, Any], name: str) -> RetryConfig:
    if handler.retry is not None:
        if not isinstance(handler.retry, RetryConfig):
            raise TypeError(f"retry of task {name!r} must be a RetryConfig, not {handler.retry!r}")
        if handler.max_retries:
            raise TypeError(f"task {name!r} has both retry and max_retries; keep one of the two")
        return handler.retry
    return RetryConfig.exponential(handler.max_retries, timedelta(seconds=1), max_delay="1m", jitter="full")
