"""What a backend finds out about itself when it is examined: for `zart doctor`, and for whoever asks as it does."""

from collections.abc import Sequence
from datetime import timedelta
from enum import StrEnum
from typing import Protocol, runtime_checkable

from attrs import frozen


class Verdict(StrEnum):
    """What a check came to."""

    OK = "ok"
    WARN = "warn"
    """It works, and not as well as it should, or not for long."""
    FAIL = "fail"
    """Something does not work."""


@frozen
class Finding:
    """What one check found: in words, and what to do about it unless all is well."""

    check: str
    verdict: Verdict
    detail: str
    hint: str = ""


@runtime_checkable
class Examinable(Protocol):
    """A storage that can be examined; the one in memory has nothing to look at."""

    async def examine(self, held_for: timedelta = timedelta(minutes=1)) -> Sequence[Finding]:
        """Look at everything that is known to go wrong, and say what was found; nothing is raised for what is wrong.

        It need not be open, and nothing of it is changed. A snapshot is told of when it has been held for `held_for`.
        """
        ...


def told(seconds: float) -> str:
    """Return a length of time in words, as long as it is worth it."""
    if seconds < 0.1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
