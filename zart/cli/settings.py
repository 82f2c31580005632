"""The options that commands share, and where their defaults come from."""

import os
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from attrs import frozen
from cyclopts import Parameter

Format = Literal["table", "json", "jsonl"]

DEFAULT_DATABASE = "sqlite:///zart.db"
_PASSWORD = re.compile(r"(?<=://)([^/?#@:]*):(?:\S*|[^/?#]*)(?=@)")  # also one with characters that should be escaped
_SECRET_FIELD = re.compile(r"(?i)([?&](?:password|passwd|pwd|sslpassword)=)[^&#]*")


@Parameter(name="*")
@frozen(kw_only=True)
class OutputSettings:
    """What a command takes that needs no database.

    Attributes:
        output: How data is printed: a table for people on a terminal, otherwise JSON.
        json: Print JSON, as `-o json`.
    """

    output: Annotated[Format | None, Parameter(name=("--output", "-o"), env_var="ZART_OUTPUT")] = None
    json: Annotated[bool, Parameter(name="--json", negative=())] = False

    @property
    def format(self) -> Format:
        """How data is to be printed."""
        return chosen("json" if self.json else self.output)


@Parameter(name="*")
@frozen(kw_only=True)
class Settings(OutputSettings):
    """What every other command takes.

    Attributes:
        database_url: The database.
    """

    database_url: Annotated[str, Parameter(env_var=("ZART_DATABASE_URL", "DATABASE_URL"))] = DEFAULT_DATABASE


DEFAULTS = Settings()
"""Nothing given."""

AppOption = Annotated[str | None, Parameter(name="--app", env_var="ZART_APP")]
"""`--app package.module:name`, see `zart.cli.handlers`."""


def chosen(asked: Format | None) -> Format:
    """Return the format asked for, else a table where a person reads and JSON where a program does."""
    return asked or ("table" if sys.stdout.isatty() else "json")


def format_of(tokens: Sequence[str], environment: Mapping[str, str] = os.environ) -> Format:
    """Return the format that a command line asks for, however wrong the rest of it is: errors are told in it."""
    asked = environment.get("ZART_OUTPUT", "")
    for position, token in enumerate(tokens):
        match token.partition("="):
            case ("--", "", ""):
                break
            case ("--json", _, _):
                return "json"
            case ("-o" | "--output", "", _):
                asked = tokens[position + 1] if position + 1 < len(tokens) else ""
            case ("-o" | "--output", "=", value):
                asked = value
            case _:
                continue
    return chosen("table" if asked == "table" else "json" if asked == "json" else "jsonl" if asked == "jsonl" else None)


def masked(url: str) -> str:
    """Return a database URL without its passwords, to be shown."""
    return _SECRET_FIELD.sub(r"\1***", _PASSWORD.sub(r"\1:***", url))
