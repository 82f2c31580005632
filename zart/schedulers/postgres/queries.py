"""The backend's SQL, read from `queries/*.sql`, with the tables' names put in; and columns as its statements take them.

A file holds the statements of one operation; `-- name: x` begins the next, and `Names.queries` knows it as `operation.x`. The
files say `zart_executions`; what stands in the database is up to the options `schema` and `prefix`.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from hashlib import blake2b
from importlib.resources import files

from attrs import define, field, frozen

_STATEMENT = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)
_TABLE = re.compile(r"(?P<index>\bINDEX )?\bzart_(?P<name>[a-z_]+)")
_IDENTIFIER = re.compile(r"[a-z_][a-z0-9_]*")
_NUL, _NULL, _PART = "\x00", "\x1e", "\x1f"
_LONGEST = 63  # bytes of an identifier; the rest is cut off without a word
_LONGEST_NAME = len("executions_due_suspects")


def _check_identifier(name: str, what: str, longest: int) -> str:
    """Return an identifier that needs no quotes.

    Raises:
        ValueError: it would, or is too long.
    """
    if not _IDENTIFIER.fullmatch(name) or len(name) > longest:
        raise ValueError(
            f"{what} must have 1 to {longest} lower-case letters, digits and underscores, no digit first, not {name!r}"
        )
    return name


@frozen
class Names:
    """How the tables are called. Without `schema` they are where the connection's search path finds them."""

    schema: str | None = None
    prefix: str = "zart_"

    def __attrs_post_init__(self) -> None:
        """Refuse what is no plain identifier: it is put into SQL as it is."""
        if self.schema is not None:
            _check_identifier(self.schema, "schema", _LONGEST)
        _check_identifier(self.prefix, "prefix", _LONGEST - _LONGEST_NAME)

    @property
    def channel(self) -> str:
        """What those who use these tables listen to, and lock while they migrate."""
        return "zart_" + blake2b(f"{self.schema or ''}.{self.prefix}".encode(), digest_size=8).hexdigest()

    def apply(self, sql: str) -> str:
        """Return SQL with the tables' names put in. An index has no schema of its own."""
        place = "" if self.schema is None else f'"{self.schema}".'

        def named(match: re.Match[str]) -> str:
            name = f'"{self.prefix}{match["name"]}"'
            return f"INDEX {name}" if match["index"] else place + name

        return _TABLE.sub(named, sql)

    def queries(self) -> Mapping[str, str]:
        """Return all statements by operation and name, as in "commit.write"."""
        return {name: self.apply(sql) for name, sql in _statements().items()}


@cache
def _statements() -> Mapping[str, str]:
    found = {}
    for entry in (files(__package__) / "queries").iterdir():
        if entry.name.endswith(".sql"):
            _, *parts = _STATEMENT.split(entry.read_text("utf-8"))
            for name, sql in zip(parts[::2], parts[1::2], strict=True):
                found[f"{entry.name.removesuffix('.sql')}.{name}"] = sql.strip()
    return found


def numbers(column: Sequence[int | None]) -> str | None:
    """Return whole numbers as the text of an array; None when there is none in it, which PostgreSQL fills up with NULL."""
    if not any(column) and column.count(None) == len(column):
        return None
    return "{" + str(column)[1:-1].replace("None", "NULL") + "}"


def booleans(column: Iterable[bool]) -> str:
    """Return truth values as the text of an array."""
    return "{" + ",".join(["t" if each else "f" for each in column]) + "}"


class Unstorable(ValueError):
    """Text that cannot be told to the server."""


def texts(column: Sequence[str]) -> str:
    """Return texts in one; see commit.sql.

    Raises:
        Unstorable: one has a control character.
    """
    joined = _join(column)
    if joined.count(_PART) != len(column) or _NULL in joined:
        odd = next(each for each in column if _PART in each or _NULL in each)
        raise Unstorable(f"{odd!r} has a control character")
    return joined


def some_texts(column: list[str | None]) -> str | None:
    """Return texts of which some may be missing in one; None when all are, which PostgreSQL fills up with NULL.

    Raises:
        Unstorable: one has a control character.
    """
    if column.count(None) == len(column):
        return None
    told = _join_some(column)
    if not _is_plain(told, column):
        raise Unstorable(f"one of {[each for each in column if each is not None]!r:.200} has a control character")
    return told


@define
class Payloads:
    """Payloads in one text per column, in hexadecimal if some of them cannot be said otherwise; see commit.sql."""

    _columns: list[list[str | None]] = field(factory=list)
    in_hex: bool = False

    def add(self, column: list[str | None]) -> None:
        """Take a column."""
        self._columns.append(column)

    def told(self) -> list[str | None]:
        """Return all columns; None for one without any text."""
        told = [_join_some(column) for column in self._columns]
        if not all(_is_plain(text, column) for text, column in zip(told, self._columns, strict=True)):
            self.in_hex = True
            told = [_join_some([None if each is None else each.encode().hex() for each in column]) for column in self._columns]
        return told


def _join(column: Sequence[str]) -> str:
    return _PART.join(column) + _PART if column else ""


def _join_some(column: list[str | None]) -> str | None:
    try:
        return _join(column) if column else None  # type: ignore[arg-type] # nearly always there is no None in it
    except TypeError:
        pass
    if column.count(None) == len(column):
        return None
    return _join([_NULL if each is None else each for each in column])


def _is_plain(text: str | None, column: list[str | None]) -> bool:
    """Whether the parts of a joined text are those that went into it."""
    if text is None:
        return True
    if _NUL in text or text.count(_PART) != len(column):
        return False
    return _NULL not in text or text.count(_NULL) == column.count(None)
