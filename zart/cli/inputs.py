"""Values on the command line: `--data`, ids, names and lengths of time."""

import json
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from zart.cli.errors import Exit, Refused, usage
from zart.durations import to_timedelta
from zart.ids import check_name

DataOption = Annotated[str | None, Parameter(name=("--data", "-d"), allow_leading_hyphen=True)]
"""JSON, `@file`, or `-` for stdin."""

_LARGEST = 16 * 1024 * 1024
"""What is read of a file or of stdin at most, in characters: far above what storage takes."""


def read_data(text: str | None) -> Any:
    """Return the value that `--data` says; None when it is not given.

    Raises:
        Refused: (2) a file that cannot be read, or no JSON.
    """
    if text is None:
        return None
    where = "--data"
    try:
        if text == "-":
            where, text = "stdin", sys.stdin.read(_LARGEST)
        elif text.startswith("@"):
            where = f"the file {text[1:]!r}"
            with Path(text[1:]).open(encoding="utf-8") as file:
                text = file.read(_LARGEST)
        return json.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(
            "unreadable_data", f"--data cannot be read: {error}", "give JSON, @file, or - for stdin", Exit.USAGE
        ) from error
    except (ValueError, RecursionError) as error:
        hint = 'write e.g. --data \'{"dataset": "sales"}\'; text needs its double quotes'
        raise Refused("invalid_json", f"what {where} says is not JSON: {error}", hint, Exit.USAGE) from error


def read_length(text: str, option: str, *, above_zero: bool = False) -> timedelta:
    """Return a length of time: seconds, or text such as "1h30m".

    Raises:
        Refused: (2) it is none, or nothing at all and must be `above_zero`.
    """
    with usage(hint="write seconds, or e.g. 30s, 5m, 1h30m, 3d"):
        try:
            seconds = float(text)
        except ValueError:
            length = to_timedelta(text, option)
        else:
            length = to_timedelta(seconds, option)
        if above_zero and not length:
            raise ValueError(f"{option} must be above 0, not {text!r}")
        return length


def read_moment(text: str) -> datetime:
    """Return the time that `--at` says.

    Raises:
        Refused: (2) no date and time in ISO 8601, or without its offset from UTC.
    """
    with usage(hint="write e.g. 2030-01-31T08:00:00+01:00"):
        try:
            at = datetime.fromisoformat(text)
        except ValueError:
            raise ValueError(f"--at: {text!r} is no date and time") from None
        if at.tzinfo is None:
            raise ValueError(f"--at: {text!r} does not say its offset from UTC")
        return at


def read_name(text: str, what: str) -> str:
    """Return an id or name that keeps the rule for names.

    Raises:
        Refused: (2) it does not.
    """
    with usage(hint="write e.g. order-7"):
        return check_name(text, what)
