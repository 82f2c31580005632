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
from zart.errors import ExecutionNotFound
from zart.problems import known, parted


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


_HINTS = {"not_found": "`zart list` shows what there is", "not_allowed": "look at who may read and write that file"}
"""Code -> what to do about it here; else the error's own words, after its last semicolon."""


def explain(error: BaseException) -> Problem:
    """Return what to say about an error, and how to leave."""
    if isinstance(error, Refused):
        return error.problem
    message, tail = parted(error)
    found = known(error)
    if found is None:
        message = f"{type(error).__name__}: {message}; {tail}" if tail else f"{type(error).__name__}: {message}"
        return Problem("internal", message, "this is a fault in Zart or in a handler's module", Exit.FAILED)
    missing_run = isinstance(error, ExecutionNotFound) and error.run is not None
    return Problem(found.code, message, tail if missing_run else _HINTS.get(found.code, tail), Exit(found.exit))


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
        message, tail = parted(error)
        raise Refused(code, message, tail or hint, Exit.USAGE) from error
