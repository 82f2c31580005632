"""The W3C trace context of whoever starts an execution: a line of text, kept with what is started.

It comes from outside. So what is kept is nothing but 55 characters of a form that is known, whatever was given.
"""

import re
from collections.abc import Callable
from typing import Protocol, TypeAlias, runtime_checkable

Trace: TypeAlias = Callable[[], str | None]
"""Returns the `traceparent` under which something is started at this moment, None if nothing is traced. Must not raise."""

_LENGTH = 55
_FORM = re.compile(r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")


@runtime_checkable
class Traced(Protocol):
    """A storage that is watched, as `zart.telemetry` does it: it says under which trace clients on it start something."""

    trace: Trace | None


def traceparent(given: str | None) -> str | None:
    """Return a `traceparent` in the form of version 00, which has 55 characters; None if it is none.

    What is wrong is left out and never refused, as the standard wants it. Of a later version what version 00 knows is taken.

    Example:
        >>> traceparent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
        '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
        >>> traceparent("00-me") is None
        True
    """
    found = _FORM.match(given) if isinstance(given, str) else None
    if found is None or given is None:
        return None
    version, *rest = found.groups()
    more = given[_LENGTH:]
    if more and (version == "00" or not more.startswith("-")):
        return None
    return "-".join(["00", *rest])


def ids_of(trace: str | None) -> tuple[int, int, int] | None:
    """Return the ids of trace and span, and the flags, of a `traceparent`; None if it is none."""
    checked = traceparent(trace)
    if checked is None:
        return None
    _, trace_id, span_id, flags = checked.split("-")
    return int(trace_id, 16), int(span_id, 16), int(flags, 16)
