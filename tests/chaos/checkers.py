"""What must be true of a long storm when it is over: each checker reads the history, and yields what is wrong with it."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from typing import Any

from attrs import field, frozen

from tests.chaos.ledger import Line
from tests.chaos.voyages import steps_of
from zart.records import SUSPECT

CONNECTION_FAULTS = frozenset({"connections ended", "reply lost", "connections reset", "cut off", "disk full"})


@frozen
class Interruption:
    """Something that was done to one process, or to all of them."""

    kind: str
    since: float
    until: float
    pid: int | None = None


@frozen
class Record:
    """What storage says of an execution at the end."""

    status: str
    result: Any
    reason: str | None
    steps: tuple[tuple[str, Any], ...]
    """Name and value of each step that is saved as completed."""
    failed: frozenset[str] = frozenset()
    """The transactions of which it is saved that an attempt failed: outside their functions nobody else notes it."""


@frozen
class History:
    """All that is known of a storm."""

    lines: list[Line]
    records: dict[str, Record]
    interruptions: list[Interruption] = field(factory=list)
    bookings: list[tuple[str, str, str]] = field(factory=list)
    max_crashes: int = 5
    by_id: dict[str, list[Line]] = field(init=False)
    by_pid: dict[int, list[Line]] = field(init=False)
    words: dict[str, list[str]] = field(init=False)
    """What each execution was told to do."""

    @by_id.default
    def _by_id(self) -> dict[str, list[Line]]:
        found: dict[str, list[Line]] = defaultdict(list)
        for line in self.lines:
            if line.id:
                found[line.id].append(line)
        return dict(found)

    @by_pid.default
    def _by_pid(self) -> dict[int, list[Line]]:
        found: dict[int, list[Line]] = defaultdict(list)
        for line in self.lines:
            found[line.pid].append(line)
        return dict(found)

    @words.default
    def _words(self) -> dict[str, list[str]]:
        return {line.id: line.value for line in self.lines if line.what == "start?"}

    def noted(self, execution_id: str, *what: str) -> list[Line]:
        """Return the lines of these kinds about an execution."""
        return [line for line in self.by_id.get(execution_id, ()) if line.what in what]

    def told(self, execution_id: str, *verbs: str) -> bool:
        """Whether an execution was told to do something of these kinds."""
        return any(word.startswith(verbs) for word in self.words.get(execution_id, ()))

    def fails(self, execution_id: str) -> bool:
        """Whether its body must fail, so that `on_failure` makes it good; or may, because it is taken for poison."""
        return self.told(execution_id, "doom", "poison") or self.given_up(execution_id)

    def given_up(self, execution_id: str) -> bool:
        """Whether an innocent was taken for poison: so many of its workers, one after the other, were hindered by the storm."""
        if not any("workers died" in str(line.value) for line in self.noted(execution_id, "undoing")):
            return False
        hindered = {each.pid for each in self.interruptions if each.pid is not None}
        bodies = [line for line in self.noted(execution_id, "body") if line.pid in hindered]
        return not self.told(execution_id, "poison") and len(bodies) >= self.max_crashes


def starts(history: History) -> Iterator[str]:
    """Every start that was acknowledged is there, and has ended."""
    for line in history.lines:
        if line.what == "start!" and line.id not in history.records:
            yield f"{line.id}: its start was acknowledged, and it is not there"
    for each, record in history.records.items():
        if record.status not in {"completed", "failed", "cancelled"}:
            yield f"{each}: it is still {record.status}: {record.reason}"


def values(history: History) -> Iterator[str]:
    """A step has one value: all who went on with it had the same, and it is the one that is saved, and that a call returned."""
    for each, record in history.records.items():
        twice = [name for name, times in Counter(name for name, _ in record.steps).items() if times > 1]
        if twice:
            yield f"{each}: saved twice: {twice}"
        saved = dict(record.steps)
        ends = {(line.step, line.value) for line in history.noted(each, "end")}
        for line in history.noted(each, "saved"):
            if saved.get(line.step) != line.value:
                yield f"{each}: {line.pid} went on with {line.value!r}, and {saved.get(line.step)!r} is saved"
        for name, value in record.steps:
            if not name.startswith("news") and (name, value) not in ends:
                yield f"{each}: {value!r} is saved for {name}, and no call returned it"


def calls(history: History) -> Iterator[str]:
    """A step is called again only after it failed or its caller was hindered, and never once it is known to be saved."""
    for each in history.by_id:
        saved: set[str] = set()
        last: dict[str, Line] = {}
        failed: set[Any] = set()
        for line in history.by_id[each]:
            if line.what == "fail":
                failed.add(line.value)
            elif line.what == "saved":
                saved.add(line.step)
            elif line.what == "begin":
                before, last[line.step] = last.get(line.step), line
                if line.step in saved:
                    yield f"{each}: {line.step} was called again at {line.at:.3f}, after it was saved"
                if before is not None and before.value not in failed and not excused(history, before, line):
                    yield (
                        f"{each}: {line.step} was called by {before.pid} at {before.at:.3f} and again by {line.pid}"
                        f" at {line.at:.3f}, and nobody was hindered"
                    )


def excused(history: History, first: Line, second: Line) -> bool:
    """Whether something came between two calls of a step: upon the first caller, or upon a second that held it no longer."""
    record = history.records.get(first.id)
    if record is not None and first.step in record.failed:
        return True
    for each in history.interruptions:
        if each.pid not in {None, first.pid, second.pid} or each.since > second.at or each.until < first.at:
            continue
        if each.pid is not None or (first.step.startswith("book") and each.kind in CONNECTION_FAULTS | {"server crash"}):
            return True
    return False


def news(history: History) -> Iterator[str]:
    """News are taken in the order of their sending, none is lost and none comes twice."""
    for each, record in history.records.items():
        taken = [value for name, value in record.steps if name.startswith("news")]
        if taken != list(range(len(taken))):
            yield f"{each}: it took the news {taken}"
        if (extra := len(taken) - len(history.noted(each, "send?"))) > 0:
            yield f"{each}: it took {extra} news that nobody sent"


def results(history: History) -> Iterator[str]:
    """A result is what its saved steps make of it, and whoever reads it reads the same."""
    for each, record in history.records.items():
        saved = dict(record.steps)
        names = ["undo:1"] if history.fails(each) else steps_of(history.words[each])
        if record.status == "completed" and record.result != [saved.get(name) for name in names]:
            yield f"{each}: its result is {record.result}, and its steps came to {saved}"
        for line in history.noted(each, "read"):
            if line.value != [record.status, record.result]:
                yield f"{each}: {line.pid} read {line.value}, and it is {[record.status, record.result]}"


def endings(history: History) -> Iterator[str]:
    """It ends as it was told to, `on_failure` never beside a body that succeeds; what was cancelled stays so."""
    for each, record in history.records.items():
        noted = {line.what for line in history.by_id.get(each, ())}
        cancelled = any(line.value is True for line in history.noted(each, "cancel!"))
        if cancelled and record.status != "cancelled":
            yield f"{each}: its cancelling was acknowledged, and it is {record.status}"
        if record.status == "cancelled" and "cancel?" not in noted:
            yield f"{each}: nobody cancelled it"
        if {"done", "undoing"} <= noted:
            yield f"{each}: its body came to its end, and on_failure was called"
        if "undoing" in noted and not history.fails(each):
            yield f"{each}: on_failure was called, and its body had no reason to fail"
        if record.status not in {"cancelled", "completed"}:
            yield f"{each}: it is {record.status}: {record.reason}"


def poisons(history: History) -> Iterator[str]:
    """What kills its workers is given up after so many of them, and `on_failure` hears why."""
    for each, record in history.records.items():
        if not history.told(each, "poison"):
            continue
        deaths = history.noted(each, "died")
        counted = [death for death in deaths if not uncounted(history, death)]
        if len(counted) > history.max_crashes:
            yield f"{each}: it has killed {len(counted)} workers, and {history.max_crashes} are allowed"
        heard = [line.value for line in history.noted(each, "undoing") if "workers died" not in str(line.value)]
        if heard:
            yield f"{each}: on_failure heard {heard}"
        if record.status == "completed" and not history.noted(each, "undone"):
            yield f"{each}: it is completed, and nothing was made good"


def uncounted(history: History, death: Line) -> bool:
    """Whether a death need not count against its execution.

    The worker may also have held a suspect, an execution with two deaths or more: then it counts against that one only.
    """
    dead = {each.pid for each in history.interruptions if each.pid is not None and each.since <= death.at}
    held = {line.id for line in history.by_pid[death.pid] if line.what in {"body", "undoing"} and line.at <= death.at}
    ended = {line.id for line in history.by_pid[death.pid] if line.what in {"done", "undone"} and line.at <= death.at}
    return any(
        len({line.pid for line in history.noted(other, "body") if line.at < death.at} & dead) >= SUSPECT
        for other in held - ended - {death.id}
    )


def books(history: History) -> Iterator[str]:
    """A row of the user's own is there exactly when its step is saved, and once."""
    saved = Counter(
        (each, name, value)
        for each, record in history.records.items()
        for name, value in record.steps
        if name.startswith("book")
    )
    there = Counter(history.bookings)
    for each, times in ((saved - there) + (there - saved)).items():
        yield f"{each[0]}: {each[1]} of {each[2]!r} is booked {there[each]} times and saved {saved[each]} times, off by {times}"


CHECKERS: dict[str, Callable[[History], Iterator[str]]] = {
    "acknowledged starts that are lost or have not ended": starts,
    "steps with two values": values,
    "calls that nothing excuses": calls,
    "news lost, doubled or out of order": news,
    "results that do not fit their steps, or were read otherwise": results,
    "endings that must not be": endings,
    "poison that goes on killing": poisons,
    "rows of the user's own that are missing or doubled": books,
}


def judged(history: History) -> dict[str, list[str]]:
    """Return what each checker finds."""
    return {name: list(checker(history)) for name, checker in CHECKERS.items()}
