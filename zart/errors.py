"""Everything that Zart raises, in one tree.

    ZartError
    ├── SchedulerError                  talking to storage, from outside an execution
    │   ├── ExecutionAlreadyExists      ValueError
    │   ├── ExecutionNotFound           LookupError
    │   ├── ExecutionFinished           an event, or a handle's operation, after the end
    │   ├── WaitTimedOut                TimeoutError
    │   ├── DeserializationError        ValueError
    │   │   └── SealedPayload           no key at hand opens it
    │   ├── ExecutionFailed             .failure
    │   ├── ExecutionCancelled
    │   ├── IdempotencyMismatch         ValueError
    │   ├── PayloadTooLarge             ValueError
    │   ├── NotSupported
    │   ├── StorageUnavailable          ConnectionError
    │   ├── SchemaMismatch
    │   ├── UnknownTask                 LookupError
    │   └── WorkerNotAlive              between a worker and its scheduler only
    ├── TaskError                       how an execution fails
    │   ├── StepFailed                  .step .error_type .message .traceback
    │   ├── MaxRetriesExhausted         .attempts .last
    │   ├── TaskTimeout                 TimeoutError
    │   ├── TaskCancelled
    │   └── NonDeterminism              the body no longer does what was saved
    ├── StepError                       how an operation fails
    │   ├── RetryExhausted              .step .attempts .last_error
    │   ├── StepTimedOut                TimeoutError
    │   ├── EventTimeout                TimeoutError
    │   ├── DuplicateStepName           ValueError
    │   └── UndeclaredType              TypeError
    ├── NoActiveExecution               RuntimeError
    ├── InsideStep                      RuntimeError
    ├── NonRetryable                    raised by users: stop at once
    └── RetryAfter                      raised by users: try again then

`ExecutionFailure` is no exception but a value, made for `match`: why an execution failed.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar

from attrs import field, frozen

from zart.durations import Duration, to_timedelta
from zart.naming import said, type_name
from zart.status import ExecutionStatus


class ZartError(Exception):
    """Everything that Zart raises."""


def _told(error: BaseException) -> str:
    """Return an error's type and text, or its text alone where that is a sentence."""
    name, text = type_name(type(error)), said(error)
    return text if name in SENTENCES else f"{name}: {text}" if text else name


# ---- outside an execution -------------------------------------------------------------------------------------------


class SchedulerError(ZartError):
    """Something went wrong between the caller and storage."""


class ExecutionAlreadyExists(SchedulerError, ValueError):
    """The execution id is taken: it is live, or has ended and `reuse` does not allow another run."""

    def __init__(self, execution_id: str, status: ExecutionStatus) -> None:
        self.execution_id = execution_id
        self.status = status
        mend = "allow another run with reuse=, or use another id" if status.is_terminal else "use another id, or wait for it"
        super().__init__(f"execution {execution_id!r} already exists and is {status}; {mend}")


class ExecutionNotFound(SchedulerError, LookupError):
    """No execution has this id; or, with `run`, the execution has no such run."""

    def __init__(self, execution_id: str, run: int | None = None) -> None:
        self.execution_id = execution_id
        self.run = run
        super().__init__(
            f"no execution has the id {execution_id!r}; look at list_executions()"
            if run is None
            else f"execution {execution_id!r} has no run {run}; leave the run out for the current one"
        )


class ExecutionFinished(SchedulerError):
    """The execution, or the run that was meant, has ended."""

    def __init__(self, execution_id: str) -> None:
        self.execution_id = execution_id
        super().__init__(f"execution {execution_id!r} has ended; nothing can be sent to it any more")


class WaitTimedOut(SchedulerError, TimeoutError):
    """The execution had not ended when the caller's patience did; it goes on."""

    def __init__(self, execution_id: str, timeout: float) -> None:
        self.execution_id = execution_id
        self.timeout = timeout
        super().__init__(f"execution {execution_id!r} has not ended within {timeout:g} s; it goes on, wait again")


class DeserializationError(SchedulerError, ValueError):
    """A stored value is absent or not of the type asked for."""


class SealedPayload(DeserializationError):
    """A stored value went through a payload codec, and cannot be opened here; it is still there."""


class ExecutionFailed(SchedulerError):
    """The execution whose result was asked for has failed; `failure` says why, and `failure.error` is the `__cause__`."""

    def __init__(self, failure: ExecutionFailure, execution_id: str = "") -> None:
        self.failure = failure
        self.execution_id = execution_id
        error = failure.error
        super().__init__(f"execution {execution_id!r} failed: {_told(error)}")
        self.__cause__: BaseException | None = error


class ExecutionCancelled(SchedulerError):
    """The execution whose result was asked for was cancelled."""

    def __init__(self, execution_id: str) -> None:
        self.execution_id = execution_id
        super().__init__(f"execution {execution_id!r} was cancelled; it has no result")


class IdempotencyMismatch(SchedulerError, ValueError):
    """The id belongs to an execution of another task or with other data."""

    def __init__(self, execution_id: str, difference: str) -> None:
        self.execution_id = execution_id
        other = "other data" if difference == "data" else f"another {difference}"
        super().__init__(f"execution {execution_id!r} was started with {other}; use another id for different work")


class PayloadTooLarge(SchedulerError, ValueError):
    """A value is larger than storage takes."""

    def __init__(self, what: str, size: int, limit: int) -> None:
        self.what = what
        self.size = size
        self.limit = limit
        super().__init__(
            f"{what} takes {size:,} bytes, more than the limit of {limit:,}; store it elsewhere and pass a reference"
        )


class NotSupported(SchedulerError):
    """This backend cannot do that."""


class StorageUnavailable(SchedulerError, ConnectionError):
    """Storage could not be reached or did not answer in time; nothing is known to have happened."""


class SchemaMismatch(SchedulerError):
    """The database's schema is missing, older or newer than this version of Zart needs."""


class UnknownTask(SchedulerError, LookupError):
    """The registry at hand has no such task."""

    def __init__(self, task_name: str, known: tuple[str, ...] = ()) -> None:
        self.task_name = task_name
        names = ", ".join(sorted(known)) or "none"
        super().__init__(f"no handler is registered for task {task_name!r}; registered: {names}")


class WorkerNotAlive(SchedulerError):
    """The worker is not registered, or was declared dead; it must register under a new id."""


# ---- an execution ---------------------------------------------------------------------------------------------------


class TaskError(ZartError):
    """How an execution fails."""


class StepFailed(TaskError):
    """A step raised something that is no declared business error.

    `error_type` is the original type's qualified name, `traceback` its text. On the first run the original is `__cause__`.
    """

    def __init__(self, step: str, error_type: str = "", message: str = "", traceback: str = "") -> None:
        self.step = step
        self.error_type = error_type
        self.message = message
        self.traceback = traceback
        super().__init__(f"step {step!r} failed: {error_type}: {message}" if message else f"step {step!r} failed: {error_type}")


class MaxRetriesExhausted(TaskError):
    """The execution failed as often as it may; `last` is the last attempt's error."""

    def __init__(self, attempts: int, last: BaseException | None = None) -> None:
        self.attempts = attempts
        self.last = last
        super().__init__(f"failed {attempts} times" + ("" if last is None else f", the last time with: {_told(last)}"))


class TaskTimeout(TaskError, TimeoutError):
    """The execution's deadline passed."""

    def __init__(self, message: str = "the execution's deadline passed") -> None:
        super().__init__(message)


class TaskCancelled(TaskError):
    """The execution was cancelled."""


class NonDeterminism(TaskError):
    """The body no longer asks for what was saved; deploy the code that does."""

    def __init__(self, expected: str, found: str) -> None:
        self.expected = expected
        self.found = found
        super().__init__(
            f"replay expected {expected}, but {found}; deploy code that matches what was saved, and the execution goes on"
        )


# ---- an operation ---------------------------------------------------------------------------------------------------


class StepError(ZartError):
    """How an operation inside an execution fails."""


class RetryExhausted(StepError):
    """A step failed at every attempt that its policy allows."""

    def __init__(self, step: str, attempts: int, last_error: BaseException) -> None:
        self.step = step
        self.attempts = attempts
        self.last_error = last_error
        super().__init__(f"step {step!r} failed {attempts} times, the last time with: {_told(last_error)}")


class StepTimedOut(StepError, TimeoutError):
    """A step took longer than its timeout."""

    def __init__(self, step: str, timeout: float | None = None) -> None:
        self.step = step
        self.timeout = timeout
        super().__init__(f"step {step!r} took longer than its timeout" + ("" if timeout is None else f" of {timeout:g} s"))


class EventTimeout(StepError, TimeoutError):
    """No event came before the wait's deadline."""

    def __init__(self, event: str, name: str | None = None) -> None:
        self.event = event
        self.name: str = event if name is None else name
        super().__init__(f"no event {event!r} came before the deadline of the wait {self.name!r}")


class DuplicateStepName(StepError, ValueError):
    """Two operations in one pass over the body have one name."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"the name {name!r} is used twice in one execution; give each operation a name of its own")


class UndeclaredType(StepError, TypeError):
    """A value's type is neither JSON-native nor declared, so it could not come back as it was."""

    def __init__(self, what: str, type_name: str, mend: str) -> None:
        self.what = what
        self.type_name = type_name
        self.mend = mend
        super().__init__(f"{what} is of type {type_name}, which is neither JSON-native nor declared; {mend}")


class NoActiveExecution(ZartError, RuntimeError):
    """An operation was called outside an execution."""


class InsideStep(ZartError, RuntimeError):
    """An operation was called inside a step's function."""


class NonRetryable(ZartError):
    """Raise it from a step, around the real error, to stop retrying at once.

    `raise NonRetryable from error` does the same, and so does `raise NonRetryable` where there is no other error.
    """

    def __init__(self, cause: BaseException | str | None = None) -> None:
        self.cause = cause
        super().__init__("not worth another try" if cause is None else said(cause))


class RetryAfter(ZartError):
    """Raise it from a step to set the delay before its next retry; the retry policy still counts it."""

    def __init__(self, delay: Duration, cause: BaseException | str | None = None) -> None:
        self.delay: timedelta = to_timedelta(delay, "delay")
        self.cause = cause
        super().__init__(f"try again in {self.delay.total_seconds():g} s" + ("" if cause is None else f": {said(cause)}"))


# ---- why an execution failed, as a value ----------------------------------------------------------------------------


@frozen
class ExecutionFailure:
    """Why an execution failed: one of the four below, made for `match`. `error` is the exception as the body raised it."""

    StepFailure: ClassVar[type[StepFailure]]
    DeadlineExceeded: ClassVar[type[DeadlineExceeded]]
    RetriesExhausted: ClassVar[type[RetriesExhausted]]
    BodyFailure: ClassVar[type[BodyFailure]]

    @property
    def error(self) -> BaseException:
        """The exception as the body raised it, or its nearest likeness after a restart."""
        raise NotImplementedError  # each variant has its own


@frozen
class StepFailure(ExecutionFailure):
    """A step's, wait's or other operation's error left the body. `raw` is the failure as it was saved."""

    step: str
    error_type: str
    message: str
    raw: Any = field(default=None, eq=False, repr=False)
    cause: BaseException | None = field(default=None, eq=False, repr=False, kw_only=True)

    @property
    def error(self) -> BaseException:
        """The exception that the operation raised."""
        return self.cause or StepFailed(self.step, self.error_type, self.message)


@frozen
class DeadlineExceeded(ExecutionFailure):
    """The execution's deadline passed."""

    @property
    def error(self) -> BaseException:
        """A `TaskTimeout`."""
        return TaskTimeout()


@frozen
class RetriesExhausted(ExecutionFailure):
    """The body failed `attempts` times, as often as `max_retries` allows; `last` is the last attempt's failure."""

    attempts: int
    last: ExecutionFailure

    @property
    def error(self) -> BaseException:
        """A `MaxRetriesExhausted`."""
        return MaxRetriesExhausted(self.attempts, self.last.error)


@frozen
class BodyFailure(ExecutionFailure):
    """The body itself raised. `traceback` is that of users' code as text, empty where there is none."""

    error_type: str
    message: str
    traceback: str = field(default="", eq=False, repr=False, kw_only=True)
    cause: BaseException | None = field(default=None, eq=False, repr=False, kw_only=True)

    @property
    def error(self) -> BaseException:
        """The exception, or a `TaskError` with its type and text after a restart."""
        return self.cause or TaskError(f"{self.error_type}: {self.message}")


ExecutionFailure.StepFailure = StepFailure
ExecutionFailure.DeadlineExceeded = DeadlineExceeded
ExecutionFailure.RetriesExhausted = RetriesExhausted
ExecutionFailure.BodyFailure = BodyFailure


SENTENCES: frozenset[str] = frozenset(
    name for name, each in list(globals().items()) if isinstance(each, type) and issubclass(each, ZartError)
) - {"NonRetryable", "RetryAfter"}
"""Zart's own errors whose text is a sentence, by name: it needs no type before it. The other two say what users said."""
