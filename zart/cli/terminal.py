"""Text and values from storage, made fit for a terminal or a JSON reader.

What is stored was written by others. A name or an error text may hold escape sequences that retitle a window, move the cursor
or hide a line; none of them reaches a terminal as such.
"""

import json
import unicodedata
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from math import isfinite, isnan
from typing import Any

_DANGEROUS = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp", "Co", "Cn"})
# Python refuses to write longer integers in decimals.
_LONGEST_INT = 10**600


def visible(text: str, *, keep: str = "") -> str:
    r"""Return text with every control, format or unassigned character written out, as `\x1b`; those in `keep` stay."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(each if each in keep or unicodedata.category(each) not in _DANGEROUS else _written(each) for each in text)


def _written(character: str) -> str:
    code = ord(character)
    match character:
        case "\n":
            return "\\n"
        case "\t":
            return "\\t"
        case "\r":
            return "\\r"
        case _ if code < 0x100:
            return f"\\x{code:02x}"
        case _ if code < 0x10000:
            return f"\\u{code:04x}"
        case _:
            return f"\\U{code:08x}"


def plain(value: Any) -> Any:
    """Return a value as what JSON can say: NaN and infinities as text, times in ISO 8601, lengths of time in seconds."""
    # Loops, not comprehensions: a stored value may be nested 500 deep, and each level should cost one frame.
    match value:
        case str() | bool() | None:
            return value
        case float() | int():
            return _number(value)
        case Mapping():
            fields: dict[str, Any] = {}
            for key, each in value.items():
                fields[str(key)] = plain(each)
            return fields
        case list() | tuple():
            items: list[Any] = []
            for each in value:
                items.append(plain(each))  # noqa: PERF401 # as above
            return items
        case _:
            return _other(value)


def _number(value: float) -> float | str:
    if isinstance(value, int):
        return value if -_LONGEST_INT < value < _LONGEST_INT else hex(value)
    if isnan(value):
        return "NaN"
    return value if isfinite(value) else "Infinity" if value > 0 else "-Infinity"


def _other(value: Any) -> Any:
    match value:
        case date():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case _:
            return str(value)


def to_json(value: Any) -> str:
    """Return a value as JSON in ASCII: whatever is not printable ASCII is escaped, so nothing in it can act on a terminal."""
    text = json.dumps(plain(value), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("\x7f", "\\u007f")


def to_cell(value: Any) -> str:
    """Return a value as one line for people."""
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"
    match plain(value):
        case None:
            return ""
        case True | False as truth:
            return "yes" if truth else "no"
        case str() as text:
            return visible(text)
        case other:
            return visible(json.dumps(other, ensure_ascii=False))
