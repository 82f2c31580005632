"""The options that commands share, and where their defaults come from."""

import os
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from attrs import frozen
from cyclopts import Parameter

from zart.places import BETWEEN

Format = Literal["table", "json", "jsonl"]

DEFAULT_DATABASE = "sqlite:///zart.db"
DATABASE_VARIABLES = ("ZART_DATABASE_URL", "DATABASE_URL")
SERVER_VARIABLE = "ZART_SERVER"
TOKEN_VARIABLE = "ZART_TOKEN"  # noqa: S105 # its name

VARIABLES: Mapping[str, str] = {
    "ZART_DATABASE_URL": "the database, where `--database-url` is not given",
    "DATABASE_URL": "the same, where `ZART_DATABASE_URL` is not set either",
    "ZART_SERVER": "the server to work through, where neither `--server` nor `--database-url` is given",
    "ZART_TOKEN": "the token to show to that server",
    "ZART_APP": "where the handlers are, where `--app` is not given",
    "ZART_OUTPUT": "`table`, `json` or `jsonl`, where neither `-o` nor `--json` is given",
    "ZART_READ_TOKEN": "the token of callers of `zart serve` that may look; several are parted by commas",
    "ZART_OPERATOR_TOKEN": "the token of callers of `zart serve` that may do everything; several are parted by commas",
    "ZART_PAYLOAD_KEYS": "encrypt payloads: `name=base64`, several parted by commas; the first writes, all of them read",
    "ZART_PAYLOAD_KEYS_FILE": "a file with the same",
    "ZART_PAYLOAD_ALLOW_PLAIN": "`1`: also read payloads that were never encrypted",
    "ZART_PAYLOAD_CODEC": "a payload codec of your own, as package.module:name",
    "NO_COLOR": "no colours, not even on a terminal",
}
"""What is read from the environment, and what it means."""
_PASSWORD = re.compile(  # also one with characters that should be escaped, and not the one in our own words
    r"(?<=://)([^/?#@:]*):(?!password@host:port)(?:\S*|[^/?#]*)(?=@)"
)
_SECRET_FIELD = re.compile(r"(?i)([?&](?:password|passwd|pwd|sslpassword)=)[^&#]*")


@Parameter(name="*")
@frozen(kw_only=True)
class OutputSettings:
    """What a command takes that needs no database.

    Attributes:
        output: How data is printed; default: a table on a terminal, otherwise JSON.
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
class DatabaseSettings(OutputSettings):
    """What commands take that need the database itself.

    Attributes:
        database_url: The database, e.g. postgresql://user@host/name; default: sqlite:///zart.db. Several URLs with commas
            between them are its shards, always in the same order.
    """

    database_url: Annotated[str | None, Parameter(env_var=DATABASE_VARIABLES)] = None

    @property
    def database(self) -> str:
        """The database's URL, or those of its shards."""
        if self.database_url == "" and "" not in map(os.environ.get, DATABASE_VARIABLES):
            return ""  # an option that was given counts, and this one names nothing: most likely a script's variable is not set
        return self.database_url or DEFAULT_DATABASE


@Parameter(name="*")
@frozen(kw_only=True)
class Settings(DatabaseSettings):
    """What commands take that start, send or look.

    Attributes:
        server: Work through the HTTP API of `zart serve` at this URL, instead of the database. Its token is in ZART_TOKEN.
    """

    server: Annotated[str | None, Parameter(env_var=SERVER_VARIABLE)] = None

    @property
    def server_url(self) -> str | None:
        """The server to work through; None: the database.

        An option stands above a variable; of two variables the server's counts.

        Raises:
            ValueError: both are given as options.
        """
        if self.server is None or self.database_url is None:
            return self.server
        by_variable = {os.environ.get(name) for name in (*DATABASE_VARIABLES, SERVER_VARIABLE)}
        if self.server not in by_variable and self.database_url not in by_variable:
            raise ValueError("--server and --database-url exclude each other; give one of the two")
        return None if self.server in by_variable and self.database_url not in by_variable else self.server


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
    """Return a database URL, or several, without passwords, to be shown."""
    return "".join(_SECRET_FIELD.sub(r"\1***", _PASSWORD.sub(r"\1:***", each)) for each in BETWEEN.split(url))
