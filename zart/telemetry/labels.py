"""What a step is called in metrics and spans: as its name was before values were filled in.

A name of `@zart_step("charge-{order_id}")` is known by its template. Of a name that was put together in the body, as in
`ctx.step(f"charge-{order_id}", ...)`, nobody knows which parts are values: what looks like one (an id, a number) becomes `*`.
Should names of one task still be without end, the later ones are all `(other)`.
"""

import re
from functools import lru_cache
from string import Formatter

from zart.observe import TEMPLATES

MOST_STEPS = 100
"""Different labels for one task's steps."""
OTHER = "(other)"

_VALUES = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"  # a UUID
    r"|\S+@\S+"  # an address
    r"|\b(?=\w*\d)\w{8,}\b"  # a long word with a digit: a hash, a key
    r"|\d+",
    re.IGNORECASE,
)


@lru_cache(maxsize=256)
def _pattern(template: str) -> re.Pattern[str]:
    parts = (re.escape(text) + (".*" if field is not None else "") for text, field, _, _ in Formatter().parse(template))
    return re.compile("".join(parts), re.DOTALL)


@lru_cache(maxsize=256)
def _literal(template: str) -> int:
    return sum(each.isalnum() for text, _, _, _ in Formatter().parse(template) for each in text)


@lru_cache(maxsize=4096)
def plain(name: str) -> str:
    """Return a step's name without values."""
    # A template of values alone would fit every step of every task.
    fitting = [each for each in tuple(TEMPLATES) if _literal(each) and _pattern(each).fullmatch(name)]
    if fitting:
        return max(fitting, key=lambda each: (_literal(each), each))
    return _VALUES.sub("*", name)


class StepLabels:
    """The labels of steps, a bounded number for each task."""

    def __init__(self, most: int = MOST_STEPS) -> None:
        self._most = most
        self._seen: dict[str, set[str]] = {}

    def of(self, task: str, name: str) -> str:
        """Return the label of a step."""
        label = plain(name)
        seen = self._seen.setdefault(task, set())
        if label in seen:
            return label
        if len(seen) >= self._most:
            return OTHER
        seen.add(label)
        return label
