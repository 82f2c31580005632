"""What went wrong, in words and as an exit code.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | the operation failed |
| 2 | usage: the command line is wrong |
| 3 | not found |
| 4 | the execution ended failed or cancelled |
| 5 | conflict |
| 69 | the database cannot be reached |
| 75 | timed out, still running |
| 77 | not allowed |
| 78 | bad configuration |
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

from attrs import frozen

from zart.cli.settings import masked
from zart.cli.terminal import to_json, visible
from zart.errors import (
    ExecutionAlreadyExists,
    ExecutionFinished,
    ExecutionNotFound,
    IdempotencyMismatch,
    PayloadTooLarge,
    SchemaMismatch,
    StorageUnavailable,
    UndeclaredType,
    UnknownTask,
    WaitTimedOut,
    ZartError,
)


class Exit(IntEnum):
    """How a command ends."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    ENDED_BADLY = 4
    CONFLICT = 5
    UNAVAILABLE = 69
    TIMED_OUT = 75
    NOT_ALLOWED = 77
    CONFIGURATION = 78
    INTERRUPTED = 130


@frozen
class Problem:
    """An error as it is shown: a stable code for programs, words for people, and what to do about it."""

    code: str
    message: str
    hint: str
    exit: Exit


class Refused(Exception):
    """A command cannot do what it was asked; `problem` says why."""

    def __init__(self, code: str, message: str, hint: str, leave: Exit) -> None:
        self.problem: Problem = Problem(code, message, hint, leave)
        super().__init__(message)


_KNOWN: tuple[tuple[type[BaseException], str, Exit, str | None], ...] = (
    # A hint of None: the error's own, after its last semicolon.
    (ExecutionNotFound, "not_found", Exit.NOT_FOUND, "`zart list` shows what there is"),
    (IdempotencyMismatch, "idempotency_mismatch", Exit.CONFLICT, None),
    (ExecutionAlreadyExists, "already_exists", Exit.CONFLICT, None),
    (ExecutionFinished, "execution_finished", Exit.CONFLICT, None),
    (WaitTimedOut, "timed_out", Exit.TIMED_OUT, None),
    (StorageUnavailable, "storage_unavailable", Exit.UNAVAILABLE, None),
    (SchemaMismatch, "schema_mismatch", Exit.CONFIGURATION, None),
    (UnknownTask, "unknown_task", Exit.USAGE, None),
    (PayloadTooLarge, "payload_too_large", Exit.USAGE, None),
    (UndeclaredType, "invalid_data", Exit.USAGE, None),
    (PermissionError, "not_allowed", Exit.NOT_ALLOWED, "look at who may read and write that file"),
    (ZartError, "failed", Exit.FAILED, None),
)


def explain(error: BaseException) -> Problem:
    """Return what to say about an error, and how to leave."""
    if isinstance(error, Refused):
        return error.problem
    for kind, code, leave, hint in _KNOWN:
        if isinstance(error, kind):
            message, tail = _parted(error)
            missing_run = isinstance(error, ExecutionNotFound) and error.run is not None
            return Problem(code, message, tail if hint is None or missing_run else hint, leave)
    return Problem(
        "internal", f"{type(error).__name__}: {_said(error)}", "this is a fault in Zart or in a handler's module", Exit.FAILED
    )


def _parted(error: BaseException) -> tuple[str, str]:
    """Return what an error says has happened, and what to do about it."""
    message, _, mend = _said(error).rpartition("; ")
    return (message, mend) if message else (mend, "")


def _said(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 # an error whose text fails is still an error
        return "(its text cannot be read)"


def complain(problem: Problem, *, as_json: bool) -> None:
    """Write a problem to stderr: one JSON object for programs, one line for people."""
    # Whatever the error comes from may have quoted the database's URL.
    message, hint = masked(problem.message), masked(problem.hint)
    if as_json:
        line = to_json({"code": problem.code, "message": message, "hint": hint})
    else:
        line = visible(f"zart: {message}" + (f"; {hint}" if hint else ""))
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


@contextmanager
def usage(code: str = "usage", hint: str = "") -> Iterator[None]:
    """Turn what is wrong with a value on the command line (ValueError or TypeError inside) into a usage error.

    Raises:
        Refused: with exit code 2.
    """
    try:
        yield
    except (ValueError, TypeError) as error:
        message, tail = _parted(error)
        raise Refused(code, message, tail or hint, Exit.USAGE) from error
