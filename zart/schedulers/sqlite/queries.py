"""The backend's SQL, read from `queries/*.sql`.

A file holds the statements of one operation; `-- name: x` begins the next. Where a statement takes many rows it shows one, marked
`/*rows*/ (?, ?)`, and `Statement.chunks` repeats that one. sqlite3 hands the interpreter lock over at every row that it executes or
fetches one by one, and must win it back from a busy event loop each time; a statement with many rows does so once.
"""

import re
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from importlib.resources import files

from attrs import frozen

_ROWS = re.compile(r"/\*rows\*/\s*(\([?,\s]+\))")
_HEADER = re.compile(r"^-- name: (\w+)$", re.MULTILINE)

# SQLite takes 32,766 parameters at most; the widest row has 15.
_SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
LARGEST = _SIZES[-1]
"""How many rows one statement takes at most."""

type_row = Sequence[object]
