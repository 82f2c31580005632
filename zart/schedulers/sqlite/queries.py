"""The backend's SQL, read from `queries/*.sql`.

A file holds the statements of one operation; `-- name: x` begins the next. Where a statement takes many rows it shows one,
marked `/*rows*/ (?, ?)`, and `Statement.chunks` repeats that one. sqlite3 hands the interpreter lock over with every row that
it is given or fetches one by one, and must win it back from a busy event loop each time. So rows go in many to a statement, and
come out as one row of JSON.
"""

import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from itertools import chain
from typing import Any

import msgspec
from attrs import field, frozen

_NAME = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)
_ROWS = re.compile(r"/\*rows\*/\s*(\([?, ]+\))")

_SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
"""Rows per statement. Few sizes, so that all stay prepared; at most a third of the rows are padding."""

LARGEST = _SIZES[-1]
"""How many rows one statement takes at most: SQLite takes 32,766 parameters, the widest row has 10."""


@frozen
class Statement:
    """One SQL statement, with one row shown for as many as are needed."""

    sql: str
    _texts: dict[int, str] = field(factory=dict, init=False, eq=False, repr=False)

    def chunks(self, rows: Sequence[tuple[object, ...]]) -> Iterator[tuple[str, list[object]]]:
        """Yield the texts and parameters that together say these rows.

        What is missing to the next size is filled with rows of zeros, which every statement ignores.
        """
        for start in range(0, len(rows), LARGEST):
            yield self.chunk(rows[start : start + LARGEST])

    def chunk(self, rows: Sequence[tuple[object, ...]]) -> tuple[str, list[object]]:
        """Return the text and parameters that say these rows, one to `LARGEST` of them."""
        size = _SIZES[bisect_left(_SIZES, len(rows))]
        parameters = list(chain.from_iterable(rows))
        parameters += [0] * (len(rows[0]) * (size - len(rows)))
        return self._for_rows(size), parameters

    def _for_rows(self, size: int) -> str:
        if size not in self._texts:
            self._texts[size] = _ROWS.sub(lambda row: ", ".join([row[1]] * size), self.sql)
        return self._texts[size]


@cache
def statements(operation: str) -> Mapping[str, Statement]:
    """Return the statements of one operation by their names."""
    text = (files(__package__) / "queries" / f"{operation}.sql").read_text("utf-8")
    _, *parts = _NAME.split(text)
    return {name: Statement(sql.strip()) for name, sql in zip(parts[::2], parts[1::2], strict=True)}


def to_json(value: object) -> str:
    """Return plain data as a statement takes it in. No text that may hold a NUL: SQLite's JSON cuts it off there."""
    return msgspec.json.encode(value).decode()


def from_json(text: str) -> Any:
    """Return what a statement selected as one text."""
    return msgspec.json.decode(text)
