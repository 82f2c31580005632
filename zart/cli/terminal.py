"""Text and values from storage, made fit for a terminal or a JSON reader.

What is stored was written by others. A name or an error text may hold escape sequences that retitle a window, move the cursor
or hide a line; none of them reaches a terminal as such.
"""

import json
import unicodedata
from datetime import UTC, datetime
from typing import Any

from zart.codec.plain import plain

_DANGEROUS = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp", "Co", "Cn"})


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
