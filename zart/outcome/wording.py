"""Any exception in words, whatever its class does when it is asked. Nothing here raises.

The texts may hold NUL and lone surrogates; the codec keeps them.
"""

import traceback
from pathlib import Path

from zart.frames import users_frame
from zart.naming import exactly, type_name

MESSAGE_BYTES = 8 * 1024
TRACEBACK_BYTES = 32 * 1024
_FRAMES = 100
_CUT = "[…] "
_PLACE = 200


def text_of(error: BaseException) -> str:
    """Return what an exception says, at most 8 KiB of it, the end being kept."""
    try:
        return tail(exactly(str(error)), MESSAGE_BYTES)
    except BaseException as another:  # noqa: BLE001 # __str__ is users' code and may raise even SystemExit
        return f"(its text cannot be had: __str__ raised {type_name(type(another))})"


def trace_of(error: BaseException) -> str:
    """Return the traceback and causes of an exception, without the values of variables, at most 32 KiB, the end being kept."""
    try:
        lines = traceback.format_exception(type(error), error, error.__traceback__, limit=-_FRAMES)
        return tail(exactly("".join(lines)), TRACEBACK_BYTES)
    except BaseException:  # noqa: BLE001 # as above: it asks the exception and its causes for their texts and notes
        return ""


def origin_of(error: BaseException) -> str:
    """Return the innermost line of users' code that an exception came through, "orders.py:12 in helper"; empty if none."""
    try:
        found = users_frame(error)
        if found is None:
            return ""
        code = found[0].f_code
        return f"{Path(code.co_filename).name}:{found[1]} in {code.co_name}"[:_PLACE]
    except BaseException:  # noqa: BLE001 # as above
        return ""


def tail(text: str, limit: int) -> str:
    """Return the end of a text that takes at most so many bytes in UTF-8."""
    if len(text) * 4 <= limit:
        return text
    data = text[-limit:].encode("utf-8", "surrogatepass")
    if len(text) <= limit and len(data) <= limit:
        return text
    # A character that was cut in two is left out.
    kept = data[len(_CUT.encode()) - limit :].lstrip(bytes(range(0x80, 0xC0)))
    return _CUT + kept.decode("utf-8", "surrogatepass")


def one_line(text: str) -> str:
    """Return a text for people: line breaks and runs of spaces made one space each, what no database takes as text escaped."""
    return " ".join(text.split()).replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()
