"""What a scenario has come to: how many faults really hit, and what became of what was acknowledged."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from attrs import define, field, frozen

from tests.chaos.ledger import Line

Key = tuple[str, str]
"""An execution, and the name of a step or of an event."""
Values = Mapping[Key, list[str]]


@frozen
class Stored:
    """What a client finds when everything has ended."""

    ended: Mapping[str, str]
    """The status of each execution that it finds."""
    steps: Values
    """The values that are saved of each step: one, if all is well."""
    events: Values
    """The payloads that each execution was given of an event."""
    bookings: Iterable[tuple[str, str, str]]
    """The user's own rows: execution, step, value."""


@define(eq=False)
class Score:
    """The count of one scenario. `expected` are the faults of which each must have hit at least once."""

    name: str
    expected: tuple[str, ...]
    hits: Counter[str] = field(factory=Counter)
    acknowledged: int = 0
    lost: list[str] = field(factory=list)
    doubled: list[str] = field(factory=list)
    failures: list[str] = field(factory=list)
    """What else went wrong."""
    notes: list[str] = field(factory=list)

    @property
    def missed(self) -> list[str]:
        """Which of the expected faults never hit."""
        return [each for each in self.expected if not self.hits[each]]

    @property
    def is_good(self) -> bool:
        """Whether all faults hit, something was acknowledged, and nothing of that was lost or doubled."""
        return not (self.missed or self.lost or self.doubled or self.failures) and self.acknowledged > 0

    def __str__(self) -> str:
        """All of it, for people."""
        told = dict.fromkeys(self.expected, 0) | dict(self.hits)
        faults = ", ".join(f"{count} x {what}" for what, count in told.items()) or "none"
        counts = f"{self.acknowledged} acknowledged, {len(self.lost)} lost, {len(self.doubled)} doubled"
        lines = [f"{self.name}: {'good' if self.is_good else 'BAD'}", f"  faults: {faults}", f"  writes: {counts}"]
        lines += [f"  never hit: {each}" for each in self.missed]
        lines += [f"  lost: {each}" for each in self.lost[:5]]
        lines += [f"  doubled: {each}" for each in self.doubled[:5]]
        lines += [f"  failed: {each}" for each in self.failures]
        return "\n".join([*lines, *(f"  {each}" for each in self.notes)])

    def count(self, starts: Iterable[str], events: Iterable[tuple[Key, str]], lines: Iterable[Line], stored: Stored) -> None:
        """Compare what was acknowledged with what is found.

        Args:
            starts: the executions whose starts were acknowledged.
            events: the events that were, and what they brought.
            lines: what the workers' processes noted. A step is acknowledged when its awaiter goes on: "saved".
            stored: what is found.
        """
        for each in starts:
            self.acknowledged += 1
            status = stored.ended.get(each, "not found")
            if status != "completed":
                self.lost.append(f"execution {each} was started, and is {status}")
        for key, value in events:
            self.acknowledged += 1
            self._compare(f"event {key[1]} of {key[0]}", {value}, stored.events.get(key, []))
        told, called_again = _told(lines)
        for key, values in told.items():
            self.acknowledged += len(values)
            self._compare(f"step {key[1]} of {key[0]}", values, stored.steps.get(key, []))
        self.doubled += [f"step {step} of {each} was called after it was saved" for each, step in sorted(called_again)]
        rows: dict[Key, list[str]] = defaultdict(list)
        for execution_id, step, value in stored.bookings:
            rows[execution_id, step].append(value)
        for key in rows.keys() | {each for each in stored.steps if each[1].startswith("book")}:
            self._compare(f"rows of step {key[1]} of {key[0]}", set(stored.steps.get(key, [])), rows.get(key, []))

    def _compare(self, what: str, told: set[str], found: list[str]) -> None:
        """Note what was told and is not found, and what was told or is found more than once."""
        if missing := told - set(found):
            self.lost.append(f"{what}: {sorted(missing)} was told, and {found or 'nothing'} is found")
        if len(told) > 1 or len(found) > 1 or set(found) - told:
            self.doubled.append(f"{what}: {sorted(told)} was told, and {found or 'nothing'} is found")


def _told(lines: Iterable[Line]) -> tuple[dict[Key, set[str]], set[Key]]:
    """Return what values were told to be saved, and which steps were called after that."""
    told: dict[Key, set[str]] = defaultdict(set)
    called_again: set[Key] = set()
    for line in lines:
        key = line.id, line.step
        if line.what == "saved":
            told[key].add(line.value)
        elif line.what == "begin" and key in told:
            called_again.add(key)
    return told, called_again
