"""Answers of the HTTP API made into what the library gives and raises: for the client."""

import json
from typing import Any, NoReturn, TypeVar

import msgspec

from zart.errors import (
    DeserializationError,
    ExecutionAlreadyExists,
    ExecutionFinished,
    ExecutionNotFound,
    IdempotencyMismatch,
    NotSupported,
    PayloadTooLarge,
    SchedulerError,
    SchemaMismatch,
    StorageUnavailable,
    UnknownTask,
)
from zart.http import wire
from zart.report import DurableExecutionStatus, StepStatusInfo, Waiting
from zart.status import ExecutionStatus

A = TypeVar("A")
_AGAIN = frozenset({"too_many_requests", "overloaded", "storage_unavailable"})


def read(body: bytes, kind: type[A]) -> A:
    """Return an answer.

    Raises:
        SchedulerError: it is none: something else than this API has answered.
    """
    try:
        # Not msgspec's own reader: it makes floats of long integers, and refuses what JSON says of lone surrogates.
        return msgspec.convert(json.loads(body), kind)
    except ValueError as error:  # msgspec's errors are, too
        raise SchedulerError(f"the answer is not that of a Zart server: {error}; look at the URL") from None


def record_of(shown: wire.Summary) -> DurableExecutionStatus:
    """Return the record that an answer shows."""
    whole = shown if isinstance(shown, wire.Execution) else None
    waits = () if whole is None else tuple(Waiting(each.name, each.kind, each.deadline) for each in whole.waiting_for)
    return DurableExecutionStatus(
        shown.task,
        shown.execution_id,
        shown.data,
        ExecutionStatus(shown.status),
        shown.error if shown.status == "failed" else shown.output,
        shown.scheduled_at,
        shown.started_at,
        shown.completed_at,
        shown.attempt,
        shown.run,
        waits,
        shown.reason,
        [] if whole is None else list(map(_step, whole.steps)),
        None if isinstance(shown.stored_result, msgspec.UnsetType) else shown.stored_result,
    )


def _step(shown: wire.Step) -> StepStatusInfo:
    return StepStatusInfo(
        shown.name,
        shown.kind,
        shown.status,
        shown.attempts,
        shown.result,
        shown.error,
        shown.started_at,
        shown.completed_at,
        shown.errors,
        shown.traceback,
    )


class Again(Exception):
    """The server asks to be asked again; `error` is what to raise if that does not help."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


def fail(status: int, body: bytes, execution_id: str, run: int | None) -> NoReturn:
    """Raise what an answer says went wrong.

    Raises:
        Again: it may go right in a while.
        SchedulerError: of the kind that the storage itself would raise.
        PermissionError: the token is wrong, or may not do this.
        ValueError: the request breaks a rule.
    """
    try:
        problem = msgspec.convert(json.loads(body), wire.Problem)
    except ValueError:
        error = StorageUnavailable(f"the server answered {status}, and not as Zart does; look at the URL and what is between")
        raise (Again(error) if status >= 500 else error) from None
    said = f"{problem.detail}; {problem.hint}" if problem.hint else problem.detail
    told = _error(problem, said, execution_id, run)
    raise Again(told) if problem.code in _AGAIN else told


_PLAIN: dict[str, type[Exception]] = {
    "invalid_data": DeserializationError,
    "schema_mismatch": SchemaMismatch,
    "not_supported": NotSupported,
    "unauthorized": PermissionError,
    "not_allowed": PermissionError,
    "host_not_allowed": PermissionError,
    "invalid_request": ValueError,
    "invalid_json": ValueError,
    **dict.fromkeys(_AGAIN, StorageUnavailable),
}
"""Codes whose errors say what the server says, and no more."""


def _error(problem: wire.Problem, said: str, execution_id: str, run: int | None) -> Exception:
    match problem.code:
        case "not_found":
            return ExecutionNotFound(execution_id, run)
        case "execution_finished":
            return ExecutionFinished(execution_id)
        case "already_exists" if not isinstance(problem.execution_status, msgspec.UnsetType):
            return ExecutionAlreadyExists(execution_id, ExecutionStatus(problem.execution_status))
        case "idempotency_mismatch" | "payload_too_large" | "body_too_large" | "task_not_registered" as code:
            found: dict[str, Exception] = {
                "idempotency_mismatch": IdempotencyMismatch(execution_id, "data"),
                "task_not_registered": UnknownTask(""),
            }
            return _worded(found.get(code) or PayloadTooLarge("the value", 0, 0), said)
        case code:
            return _PLAIN.get(code, SchedulerError)(said)


def _worded(error: Exception, said: str) -> Exception:
    """Return the error with the server's words: it knows what was wrong."""
    error.args = (said,)
    return error


def parameters(**given: Any) -> dict[str, str]:
    """Return a query, without what is None."""
    return {
        key: ("true" if value else "false") if isinstance(value, bool) else str(value)
        for key, value in given.items()
        if value is not None
    }
