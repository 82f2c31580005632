"""Any value as what JSON can say, for people and programs that are not Zart: nothing is to come back from it."""

from collections.abc import Mapping
from datetime import date, timedelta
from math import isfinite, isnan
from typing import Any

_LONGEST_INT = 10**600  # Python refuses to write integers of thousands of digits


def plain(value: Any) -> Any:
    """Return a value as what JSON can say: NaN and infinities as text, times in ISO 8601, lengths of time in seconds."""
    # Loops, not comprehensions: a value may be nested 500 deep, and each level should cost one frame.
    match value:
        case str() | bool() | None:
            return value
        case int() | float():
            return _number(value)
        case dict() | Mapping():  # the first is known sooner
            fields: dict[str, Any] = {}
            for key, each in value.items():
                fields[str(key)] = plain(each)
            return fields
        case list() | tuple():
            items: list[Any] = []
            for each in value:
                items.append(plain(each))  # noqa: PERF401 # as above
            return items
        case date() | timedelta():
            return value.isoformat() if isinstance(value, date) else value.total_seconds()
        case _:
            return str(value)


def _number(value: float) -> float | str:
    if isinstance(value, int):
        return value if -_LONGEST_INT < value < _LONGEST_INT else hex(value)
    return value if isfinite(value) else "NaN" if isnan(value) else "Infinity" if value > 0 else "-Infinity"
