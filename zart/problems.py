"""What an error is called on every surface: one stable code each, with an HTTP status and an exit code.

Surfaces add their own (a command line that is wrong, a body that is no JSON); what is raised by Zart itself stands here once.
"""

from attrs import frozen

from zart.errors import (
    DeserializationError,
    ExecutionAlreadyExists,
    ExecutionCancelled,
    ExecutionFailed,
    ExecutionFinished,
    ExecutionNotFound,
    IdempotencyMismatch,
    NotSupported,
    PayloadTooLarge,
    SchemaMismatch,
    StorageUnavailable,
    UndeclaredType,
    UnknownTask,
    WaitTimedOut,
    ZartError,
)


@frozen
class Known:
    """How surfaces tell one class of errors.

    Attributes:
        kind: the class; subclasses are told alike, unless they stand before it in `KNOWN`.
        code: its name for programs; it never changes.
        status: the HTTP status.
        exit: how a command leaves.
    """

    kind: type[BaseException]
    code: str
    status: int
    exit: int


KNOWN: tuple[Known, ...] = (
    Known(ExecutionNotFound, "not_found", 404, 3),
    Known(IdempotencyMismatch, "idempotency_mismatch", 409, 5),
    Known(ExecutionAlreadyExists, "already_exists", 409, 5),
    Known(ExecutionFinished, "execution_finished", 409, 5),
    Known(ExecutionFailed, "execution_failed", 409, 4),
    Known(ExecutionCancelled, "execution_cancelled", 409, 4),
    Known(WaitTimedOut, "timed_out", 504, 75),
    Known(StorageUnavailable, "storage_unavailable", 503, 69),
    Known(SchemaMismatch, "schema_mismatch", 503, 78),
    Known(UnknownTask, "task_not_registered", 422, 2),
    Known(PayloadTooLarge, "payload_too_large", 413, 2),
    Known(UndeclaredType, "invalid_data", 422, 2),
    Known(DeserializationError, "invalid_data", 422, 2),
    Known(NotSupported, "not_supported", 501, 1),
    Known(PermissionError, "not_allowed", 403, 77),
    Known(ZartError, "failed", 500, 1),
)
"""Errors that surfaces know, the first that fits decides."""


def known(error: BaseException) -> Known | None:
    """Return how surfaces tell an error; None for one that is a fault."""
    return next((each for each in KNOWN if isinstance(error, each.kind)), None)


def parted(error: BaseException) -> tuple[str, str]:
    """Return what an error says has happened, and what to do about it: what stands after its last semicolon."""
    try:
        said = str(error)
    except Exception:  # noqa: BLE001 # an error whose text fails is still an error
        said = "(its text cannot be read)"
    message, _, mend = said.rpartition("; ")
    return (message, mend) if message else (mend, "")
