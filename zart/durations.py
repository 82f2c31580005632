"""Lengths of time as users write them: a timedelta, seconds, or text such as "1h30m"."""

import math
from datetime import timedelta

import durationpy

Duration = timedelta | float | int | str
"""What every public parameter that means a length of time accepts."""

LONGEST = timedelta(days=36525)
"""A hundred years; anything above is taken for a mistake."""


def to_timedelta(duration: Duration, what: str = "duration") -> timedelta:
    """Return a duration as a timedelta; `what` names the parameter in the error.

    Raises:
        ValueError: not a number, infinite, negative, above 100 years, or text that says no duration.
        TypeError: neither timedelta, number nor text; a bool is neither.
    """
    if isinstance(duration, timedelta):
        length = duration
    elif isinstance(duration, str):
        length = _parse(duration, what)
    elif isinstance(duration, bool) or not isinstance(duration, int | float):
        raise TypeError(f"{what} must be a timedelta, a number of seconds or text such as '5m', not {duration!r}")
    elif not math.isfinite(duration) or abs(duration) > LONGEST.total_seconds():
        raise ValueError(f"{what} must be between 0 and 100 years, not {duration!r} seconds")
    else:
        length = timedelta(seconds=duration)
    if not timedelta(0) <= length <= LONGEST:
        raise ValueError(f"{what} must be between 0 and 100 years, not {duration!r}")
    return length


def _parse(text: str, what: str) -> timedelta:
    try:
        return durationpy.from_str(text.strip())
    except (durationpy.DurationError, OverflowError, ValueError):
        raise ValueError(f"{what}: {text!r} is no duration; write e.g. '500ms', '30s', '5m', '1h30m', '3d'") from None
