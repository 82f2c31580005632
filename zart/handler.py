"""The class that users subclass to write a durable workflow."""

import inspect
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import Any, Generic, TypeVar

from zart.codec import UnresolvedType, codec_for, parameter_type, return_type
from zart.context import TaskContext
from zart.durations import Duration
from zart.errors import ExecutionFailure
from zart.ids import check_name
from zart.retry import ErrorTypes, RetryConfig
from zart.steps import UNSET, type_argument

Data = TypeVar("Data", contravariant=True)  # noqa: PLC0105 # users meet the names, and not the variance
Output = TypeVar("Output", covariant=True)  # noqa: PLC0105 # as above


class TaskHandler(ABC, Generic[Data, Output]):
    """A durable workflow: `run` is its body, and may start again from the top many times.

    Subclass it as `TaskHandler[Data, Output]`; the two types (or else the annotations of `run`) decide how input and output are
    stored. Register an instance; what it depends on goes into `__init__`.

    Attributes:
        name: the task's name; default: the class's name.
        queue: the queue that its executions wait in.
        max_retries: how many times a failed body runs again, with `RetryConfig.exponential(max_retries, "1s", max_delay="1m",
            jitter="full")` between; or give `retry` instead.
        retry: the retry policy of the body; not together with `max_retries`.
        timeout: the deadline of the whole execution from its scheduled time, waits included; None for none.
        failure_timeout: the deadline of `on_failure`.
        raises: exception classes that the body declares as its business errors: they come back as themselves.

    Raises:
        TypeError: (when the subclass is made) both `retry` and `max_retries` are given, or a type cannot be stored. Types that
            are named before they are defined are looked up when the handler is registered.
        ValueError: (when the subclass is made) the name is empty, too long or has control characters.
    """

    name: str
    queue: str = "default"
    max_retries: int = 0
    retry: RetryConfig | None = None
    timeout: Duration | None = None
    failure_timeout: Duration = "10m"
    raises: ErrorTypes = ()

    def __init_subclass__(cls, **options: Any) -> None:
        """Name the task and refuse contradictions while the class is made."""
        super().__init_subclass__(**options)
        if "name" not in cls.__dict__:
            cls.name = cls.__name__
        if isinstance(cls.name, str):
            check_name(cls.name, "task name")
        if cls.__dict__.get("retry") is not None and cls.__dict__.get("max_retries"):
            raise TypeError(
                f"{cls.__name__} gives both retry and max_retries; retry has its own max_retries, keep one of the two"
            )
        for declared in (data_type, output_type):
            with suppress(UnresolvedType):
                codec_for(declared(cls))

    @abstractmethod
    async def run(self, ctx: TaskContext, data: Data) -> Output:
        """Do the work; code outside steps must be free of side effects."""

    async def on_failure(self, ctx: TaskContext, data: Data, failure: ExecutionFailure) -> Output:
        """Make good what the failed body has done; override it or leave it.

        It runs after the failure has been saved, and the body never runs again. It may use steps. What it returns completes the
        execution; what it raises leaves it failed with the first failure.
        """
        raise failure.error


def data_type(cls: type[TaskHandler[Any, Any]]) -> Any:
    """Return the type of a handler's input: the class's type argument, else what `run` says.

    Raises:
        UnresolvedType: it is only named, and not to be found.
    """
    argument = type_argument(cls, TaskHandler, 0)
    if argument is not UNSET:
        return argument
    parameters = list(inspect.signature(cls.run).parameters)  # self, the context, the data
    return parameter_type(cls.run, parameters[2]) if len(parameters) > 2 else Any


def output_type(cls: type[TaskHandler[Any, Any]]) -> Any:
    """Return the type of a handler's output; the rest is as for `data_type`."""
    argument = type_argument(cls, TaskHandler, 1)
    return return_type(cls.run) if argument is UNSET else argument
