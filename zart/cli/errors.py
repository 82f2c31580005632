"""What went wrong, in words and as an exit code: every code that there is stands here, or in `zart.problems`."""

import errno
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from enum import IntEnum
from typing import Self

from attrs import field, frozen

from zart.cli.settings import masked
from zart.cli.terminal import to_json, visible
from zart.errors import ExecutionNotFound, NotSupported
from zart.problems import KNOWN, known, parted


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


EXITS: Mapping[Exit, str] = {
    Exit.DONE: "done",
    Exit.FAILED: "the operation failed",
    Exit.USAGE: "usage: the command line is wrong, or the data does not fit",
    Exit.NOT_FOUND: "not found",
    Exit.ENDED_BADLY: "the execution ended failed or cancelled",
    Exit.CONFLICT: "conflict: `schedule` found other work under the id, or `event` an execution that has ended",
    Exit.UNAVAILABLE: "the database, or the server, cannot be reached",
    Exit.TIMED_OUT: "timed out; the execution goes on",
    Exit.NOT_ALLOWED: "not allowed",
    Exit.CONFIGURATION: "bad configuration: a wrong `--app` or URL, a schema that is missing, older or newer",
    Exit.INTERRUPTED: "interrupted",
}
"""Exit code -> what it means."""

_OWN: Mapping[str, tuple[Exit, str]] = {
    "usage": (Exit.USAGE, "The command line is wrong."),
    "invalid_json": (Exit.USAGE, "What `--data` says is no JSON."),
    "unreadable_data": (Exit.USAGE, "The file that `--data` names cannot be read."),
    "unwritable_output": (Exit.FAILED, "Standard output takes no more; what was asked is done."),
    "folder_not_empty": (Exit.USAGE, "The demo wants a folder of its own."),
    "bad_app": (Exit.CONFIGURATION, "`--app` names nothing that holds handlers, or importing it fails."),
    "bad_database_url": (Exit.CONFIGURATION, "It is no URL of a database that Zart knows, or of shards."),
    "bad_server_url": (Exit.CONFIGURATION, "It is no URL of a server."),
    "bad_payload_codec": (Exit.CONFIGURATION, "The payload codec, or the keys, that the environment names cannot be had."),
    "missing_extra": (Exit.CONFIGURATION, "The command, or the database, needs packages that come with an extra."),
    "no_token": (Exit.CONFIGURATION, "Without a token nobody but this machine may be served."),
    "cannot_listen": (Exit.CONFIGURATION, "The address cannot be listened on."),
    "demo_failed": (Exit.FAILED, "The demo did not come to its end."),
    "demo_differs": (Exit.FAILED, "The demo came to other numbers than it must."),
    "internal": (Exit.FAILED, "A fault in Zart or in a handler's module."),
}
_MEANINGS: Mapping[str, str] = {
    "not_found": "No execution has this id, or no such run.",
    "idempotency_mismatch": "The id belongs to another task or to other data.",
    "already_exists": "The id is taken.",
    "execution_finished": "The execution has ended.",
    "execution_failed": "The execution that was waited for has failed.",
    "execution_cancelled": "The execution that was waited for was cancelled.",
    "timed_out": "The execution has not ended in time; it goes on.",
    "storage_unavailable": "The database, or the server, does not answer.",
    "schema_mismatch": "The database's schema is not that of this version.",
    "task_not_registered": "No handler of this name is registered.",
    "payload_too_large": "The value is larger than storage takes.",
    "invalid_data": "The data does not fit the task; every wrong field is named.",
    "not_supported": "The backend, or the way to it, cannot do that.",
    "not_allowed": "The file, or the token, does not allow it.",
    "failed": "Anything else that went wrong.",
}
CODES: Mapping[str, tuple[Exit, str]] = {
    **{each.code: (Exit(each.exit), _MEANINGS.get(each.code, "")) for each in KNOWN},
    **_OWN,
}
"""Code -> exit code and meaning."""


def _checked(_instance: object, _attribute: object, code: str) -> None:
    if code not in CODES:
        raise LookupError(f"there is no error code {code!r}; it needs a line in zart.cli.errors")


def _said(_instance: object, _attribute: object, hint: str) -> None:
    if not hint:
        raise LookupError("an error must say what to do about it")


@frozen
class Problem:
    """An error as it is shown: a stable code for programs, words for people, and what to do about it."""

    code: str = field(validator=_checked)
    message: str
    hint: str = field(validator=_said)
    exit: Exit


class Refused(Exception):
    """A command cannot do what it was asked; `problem` says why."""

    def __init__(self, code: str, message: str, hint: str, leave: Exit) -> None:
        self.problem: Problem = Problem(code, message, hint, leave)
        super().__init__(message)

    @classmethod
    def of(cls, problem: Problem) -> Self:
        """Return the error that tells a problem."""
        return cls(problem.code, problem.message, problem.hint, problem.exit)


_HINTS: Mapping[str, str] = {
    "not_found": "`zart list` shows what there is",
    "idempotency_mismatch": "use another id; once it has ended, reuse= starts the same id again from Python",
}
"""Code -> what to do about it here; else the error's own words, after its last semicolon."""
_LAST_HINTS: Mapping[str, str] = {
    "invalid_data": "`zart schema` shows what each task takes",
    "execution_failed": "`zart status` with --steps shows how",
    "storage_unavailable": "look at the server and the network, then try again; `zart doctor` says more",
    "schema_mismatch": "look whether it is the right database; `zart doctor` says more",
    "not_supported": "use another backend, or do without",
    "not_allowed": "look at who may do that",
}
"""Code -> what to do about it, if the error itself says nothing of that."""
_LAST_HINT = "`zart doctor` examines the database and the way to it"
_HERE: Mapping[str, str] = {
    "run migrate() of the ShardedScheduler": "run `zart migrate` with the same URLs in the same order",
    "run `zart migrate`, or await the scheduler's migrate()": "run `zart migrate`",
}
"""What an error tells a program to do -> what that is on the command line."""
_EXTRAS: Mapping[str, tuple[str, ...]] = {
    "server": ("anyio", "httptools", "sse_starlette", "starlette", "uvicorn"),
    "client": ("httpx2",),
    "mcp": ("mcp",),
}
"""Extra -> what it brings."""
_EXTRA = re.compile(r"zart-durable\[(\w+)\]")


_TAKES_NO_MORE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


def explain(error: BaseException) -> Problem:
    """Return what to say about an error, and how to leave."""
    if isinstance(error, Refused):
        return error.problem
    if (missing := without_extra(error)) is not None:
        return missing
    message, tail = parted(error)
    found = known(error)
    if found is None:
        return _unknown(error, f"{message}; {tail}" if tail else message)
    if isinstance(error, PermissionError) and error.errno is not None:
        tail = "look at who may read and write that file"
    tail = _HERE.get(tail, tail) or _LAST_HINTS.get(found.code, _LAST_HINT)
    missing_run = isinstance(error, ExecutionNotFound) and error.run is not None
    return Problem(found.code, message, tail if missing_run else _HINTS.get(found.code, tail), Exit(found.exit))


def without_extra(error: BaseException) -> Problem | None:
    """Return what to say about an error that comes of an extra that is not installed; None for any other."""
    if not isinstance(error, ModuleNotFoundError | NotSupported):
        return None
    why, mend = parted(error)
    package = (getattr(error, "name", None) or "").partition(".")[0]
    extra = next((extra for extra, packages in _EXTRAS.items() if package in packages), None)
    if extra is not None:
        why = f"there is no module {package!r}"
    elif (named := _EXTRA.search(mend)) is not None:  # by who knows better
        extra = named[1]
    else:
        return None
    message = f"this needs the extra {extra!r}: {why}"
    return Problem("missing_extra", message, f"pip install 'zart-durable[{extra}]'", Exit.CONFIGURATION)


def _unknown(error: BaseException, said: str) -> Problem:
    if isinstance(error, OSError) and error.errno in _TAKES_NO_MORE and error.filename is None:
        message = f"standard output takes no more: {error.strerror}"
        return Problem("unwritable_output", message, "what was asked is done; look where it goes", Exit.FAILED)
    hint = "this is a fault in Zart or in a handler's module; report it with the command that you typed"
    return Problem("internal", f"{type(error).__name__}: {said}", hint, Exit.FAILED)


def complain(problem: Problem, *, as_json: bool) -> None:
    """Write a problem to stderr: one JSON object for programs, one line for people."""
    # Whatever the error comes from may have quoted the database's URL.
    message, hint = masked(problem.message), masked(problem.hint)
    record = {"code": problem.code, "message": message, "hint": hint}
    line = to_json(record) if as_json else visible(f"zart: {message}; {hint}")
    with suppress(BrokenPipeError):  # whoever read it has left; the exit code says the same
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()


@contextmanager
def usage(code: str = "usage", hint: str = "`zart COMMAND --help` says what it takes") -> Iterator[None]:
    """Turn what is wrong with a value on the command line (ValueError or TypeError inside) into a usage error.

    The `hint` is told where the error itself says nothing of what to do.

    Raises:
        Refused: with exit code 2.
    """
    try:
        yield
    except (ValueError, TypeError) as error:
        message, tail = parted(error)
        raise Refused(code, message, tail or hint, Exit.USAGE) from error
