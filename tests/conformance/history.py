"""A history as lines of text, and lines with placeholders that they are compared with."""

import re
from collections.abc import Sequence

from zart.outcome import error_summary
from zart.records import History, StepRecord
from zart.replay import body_record
from zart.status import Phase, StepKind

_UNITS = ((86_400_000_000, "d"), (3_600_000_000, "h"), (60_000_000, "m"), (1_000_000, "s"), (1_000, "ms"), (1, "us"))
_PLACEHOLDER = re.compile(r"<([a-z]\w*|\*)>")


def lines(history: History) -> list[str]:
    """Return a history as text, one line for each record.

    `KIND NAME begins, due in 1h` when an operation was opened; `step NAME attempt 1 failed: ERROR, next in 2s`; then what it
    came to: `KIND NAME = JSON`, `sleep NAME is over`, `event NAME takes mail 1 = JSON` or `KIND NAME failed: ERROR`. Lines of
    `body` tell of the handler itself.
    """
    payloads = {letter.seq: letter.payload for letter in history.mail}
    names = {record.seq: record.name for record in history.steps}
    return [_line(record, payloads, names) for record in history.steps]


def _line(record: StepRecord, payloads: dict[int, str], names: dict[int, str]) -> str:  # noqa: PLR0911 # one for each sort
    who = f"{record.kind} {record.name}".rstrip()
    payload = record.payload or ""
    due_in = "" if record.due_at is None else length(record.due_at - record.at)
    match record.phase:
        case Phase.OPENED:
            return f"{who} begins" + (f", due in {due_in}" if due_in else "")
        case Phase.ATTEMPT if record.kind is StepKind.BODY:
            return f"{who} {_attempt(record, due_in, names)}"
        case Phase.ATTEMPT if record.mail is not None:
            return f"{who} sets mail {record.mail} aside: {error_summary(payload)}"
        case Phase.ATTEMPT:
            return f"{who} attempt {record.attempts} failed: {error_summary(payload)}, next in {due_in}"
        case _ if not record.ok:
            return f"{who} failed: {error_summary(payload)}"
        case _ if record.mail is not None:
            return f"{who} takes mail {record.mail} = {payloads[record.mail]}"
        case _:
            return f"{who} is over" if record.payload is None else f"{who} = {record.payload}"


def _attempt(record: StepRecord, due_in: str, names: dict[int, str]) -> str:
    told = body_record(record)
    if "setback" in told:
        return f"is set aside: {told['setback']}"
    if "failure" in told:
        reopened = ", ".join(names[seq] for seq in told["reopened"])
        again = f", reopens {reopened}" if reopened else ""
        return f"attempt {record.attempts} failed: {error_summary(told['failure'])}, next in {due_in}{again}"
    if "abandoned" in told:
        return f"abandons {told['abandoned']}"
    return f"gives back {', '.join(names[seq] for seq in told['returned'])}"


def length(micros: int) -> str:
    """Return a length of time in the largest unit that makes a whole number of it."""
    if not micros:
        return "0s"
    size, unit = next((size, unit) for size, unit in _UNITS if micros % size == 0)
    return f"{micros // size}{unit}"


class Bindings:
    """What placeholders stand for, from their first use on."""

    def __init__(self) -> None:
        self._bound: dict[str, str] = {}

    def matches(self, pattern: str, text: str) -> bool:
        """Whether a text is what an expected line says; binds the placeholders that are new."""
        parts, new, last = [], set(), 0
        for found in _PLACEHOLDER.finditer(pattern):
            parts.append(re.escape(pattern[last : found.start()]))
            name, last = found[1], found.end()
            if name == "*":
                parts.append(".*?")
            elif name in self._bound:
                parts.append(re.escape(self._bound[name]))
            elif name in new:
                parts.append(f"(?P={name})")
            else:
                new.add(name)
                parts.append(f"(?P<{name}>.+?)")
        parts.append(re.escape(pattern[last:]))
        match = re.fullmatch("".join(parts), text, re.DOTALL)
        if match is not None:
            self._bound |= match.groupdict()
        return match is not None


def difference(expected: Sequence[str], found: Sequence[str], *, unordered: bool = False, strict: bool = True) -> str | None:
    """Return how a history differs from what was expected, None if it does not.

    An expected line that begins with "? " may be missing, unless `strict`.
    """
    bindings = Bindings()
    rest, told, same = list(found), [], True
    for line in expected:
        optional = line.startswith("? ")
        pattern = line.removeprefix("? ")
        number = next((number for number, each in enumerate(rest) if bindings.matches(pattern, each)), None)
        if number == 0 or (unordered and number is not None):
            told.append(f"  {rest.pop(number)}")
        elif strict or not optional:
            same = False
            told.append(f"- {pattern}")
            if number is None and rest:
                told.append(f"+ {rest.pop(0)}")
    told += [f"+ {line}" for line in rest]
    return None if same and not rest else "\n".join(line if len(line) < 200 else f"{line[:200]}…" for line in told)
