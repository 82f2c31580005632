"""The backend's SQL, read from `queries/*.sql`, with the tables' names put in; and values as its statements take them.

A file holds the statements of one operation; `-- name: x` begins the next, and `Names.queries` knows it as `operation.x`. The
files say `zart_executions`; what stands in the database is up to the option `prefix`. `:name` stands for a value, `:names` in
parentheses for a list of them, `:rows` for rows of them. They are put in here, as literals, and not by the server: so a packet
can hold all statements of a round trip.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import blake2b
from importlib.resources import files

from attrs import frozen

_STATEMENT = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)
_COMMENT = re.compile(r"^\s*--.*\n", re.MULTILINE)
_TABLE = re.compile(r"(?<!@)\bzart_(?P<name>[a-z_]+)")
_VALUE = re.compile(r"(?<!:):([a-z]\w*)")
_IDENTIFIER = re.compile(r"[a-z_][a-z0-9_]*")
_LONGEST = 64  # characters of an identifier
_LONGEST_NAME = len("executions_chk_6")  # how MySQL calls a condition

_MANY = 500
"""How many items a list or a statement of rows has at most. MariaDB turns lists from 1,000 on into something slower."""
_WIDEST = 64
"""How many bits a number has at most. What is far longer the server takes for a fraction, or for an error in the SQL."""
_LONG = 200_000
"""How many characters a statement of rows has at most, if it has more than one: far below what any server takes."""

NOW = "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))"
"""The server's time, whatever the time zone of its sessions is."""


class Sql(str):
    """A value that is SQL already."""

    __slots__ = ()


@frozen
class Names:
    """How the tables are called, and their collation, which is not the same on all servers."""

    prefix: str = "zart_"

    def __attrs_post_init__(self) -> None:
        """Refuse what is no plain identifier: it is put into SQL as it is."""
        if not _IDENTIFIER.fullmatch(self.prefix) or len(self.prefix) > _LONGEST - _LONGEST_NAME:
            raise ValueError(
                f"prefix must have 1 to {_LONGEST - _LONGEST_NAME} lower-case letters, digits and underscores, no digit first,"
                f" not {self.prefix!r}"
            )

    def lock(self, database: str) -> str:
        """Return the name of the lock that those who migrate these tables wait for; the whole server shares such names."""
        return "zart:" + blake2b(f"{database}.{self.prefix}".encode(), digest_size=16).hexdigest()

    def apply(self, sql: str, *, mariadb: bool = True) -> str:
        """Return SQL with the tables' names put in, and in what makes them the name that a server has for the collation."""
        named = _TABLE.sub(lambda match: f"`{self.prefix}{match['name']}`", sql)
        return named if mariadb else named.replace("utf8mb4_nopad_bin", "utf8mb4_0900_bin")

    def queries(self) -> "Mapping[str, Statement]":
        """Return all statements by operation and name, as in "commit.write"."""
        found = {}
        for entry in (files(__package__) / "queries").iterdir():
            if entry.name.endswith(".sql"):
                _, *parts = _STATEMENT.split(entry.read_text("utf-8"))
                for name, sql in zip(parts[::2], parts[1::2], strict=True):
                    found[f"{entry.name.removesuffix('.sql')}.{name}"] = Statement.of(self.apply(sql))
        return found


Literal = Callable[[str], str]
"""Puts a text into quotes, as a connection takes it."""


@frozen
class Statement:
    """A statement between whose parts values stand."""

    parts: tuple[str, ...]
    """Text and names of values, in turn; text first and last."""

    @classmethod
    def of(cls, sql: str) -> "Statement":
        """Part a text."""
        return cls(tuple(_VALUE.split(" ".join(_COMMENT.sub("", sql + "\n").split()))))

    def say(self, literal: Literal, values: Mapping[str, object]) -> str:
        """Return the text with the values put in; what is put in is not looked through again."""
        said = list(self.parts)
        for place in range(1, len(said), 2):
            said[place] = _said(literal, values[said[place]])
        return "".join(said)

    def over_rows(self, literal: Literal, rows: Sequence[Sequence[object]]) -> Iterator[str]:
        """Yield the texts that together say all rows, where `:rows` stands."""
        before, _, after = self.parts
        said: list[str] = []
        length = 0
        for row in rows:
            one = "(" + ", ".join([_said(literal, each) for each in row]) + ")"
            if said and (len(said) >= _MANY or length + len(one) > _LONG):
                yield before + ", ".join(said) + after
                said, length = [], 0
            said.append(one)
            length += len(one)
        if said:
            yield before + ", ".join(said) + after


def portions(items: Sequence[object]) -> Iterator[Sequence[object]]:
    """Yield items in portions that a list in a statement may have."""
    for first in range(0, len(items), _MANY):
        yield items[first : first + _MANY]


def _said(literal: Literal, value: object) -> str:
    kind = type(value)
    if kind is str:
        return literal(value)  # type: ignore[arg-type] # text, as has just been seen
    if value is None:
        return "NULL"
    if isinstance(value, int):
        if value.bit_length() > _WIDEST:
            raise OverflowError(f"a number of {value.bit_length():,} bits is more than a column holds")
        return str(int(value))
    if kind is Sql:
        return str(value)
    if isinstance(value, str):  # one of an enumeration
        return literal(str(value))
    if isinstance(value, Sequence):
        return ", ".join([_said(literal, each) for each in value]) or "NULL"  # IN (NULL): in nothing
    raise TypeError(f"{value!r} is no value that a statement takes")
