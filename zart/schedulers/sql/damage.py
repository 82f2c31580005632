"""What is stored and cannot be read (rule 9): told in words, so that one bad row stops no other.

Backends read rows the short way. Where that raises they read that one execution again here, piece by piece, and hand out, or
show, what there is with the rest in words. Texts may come as bytes, as columns hold them.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from attrs import define, field

from zart.clock import Instant
from zart.payloads import UNREADABLE
from zart.records import Claim, Execution, History, Mail, StepRecord, Token
from zart.schedulers.sql.crashed import workers
from zart.status import ExecutionStatus, Phase, StepKind

T = TypeVar("T")

_MOST = 3
"""So many faults are told; there may be as many as records."""


@define
class Damage:
    """Reads what belongs to one execution, and remembers what cannot be read."""

    _found: list[str] = field(factory=list)

    @property
    def said(self) -> str | None:
        """What cannot be read, in words; None if all can."""
        more = len(self._found) - _MOST
        return "; ".join([*self._found[:_MOST], *([f"and {more} more"] if more > 0 else [])]) or None

    def read(self, what: str, reading: Callable[[], T], instead: T) -> T:
        """Return what is read, or this instead if it cannot be."""
        try:
            return reading()
        except Exception as error:  # noqa: BLE001 # whatever is wrong with it, it is the row's fault
            self._found.append(f"{what}: {error}")
            return instead

    def words(self, what: str, stored: Any) -> str:
        """Return a text; in place of one that cannot be read another that says so, and that nothing can decode."""
        try:
            return text(stored)
        except (ValueError, TypeError) as error:
            self._found.append(f"{what}: {error}")
            return f"{UNREADABLE}{error}"

    def number(self, what: str, stored: Any) -> int:
        """Return a whole number; 0 in place of what is none."""
        return self.read(what, lambda: _number(stored), 0)

    def number_if_any(self, what: str, stored: Any) -> int | None:
        """Return a whole number, or None in place of what is none."""
        return None if stored is None else self.read(what, lambda: _number(stored), None)

    def count(self, what: str, stored: Any) -> int:
        """Return how many there are; 0 in place of what is no number, or less than none."""
        return self.read(what, lambda: _count(stored), 0)

    def record(self, row: Sequence[Any]) -> StepRecord:
        """Return a step record; one that cannot be read keeps its number, if that is one, and says nothing."""
        seq, *_ = row
        silent = StepRecord(seq if isinstance(seq, int) else 0, "", StepKind.BODY, Phase.ATTEMPT, ok=False)
        return self.read(f"record {legible(seq)}", lambda: _record(row), silent)

    def letter(self, row: Sequence[Any]) -> Mail:
        """Return one event of a mailbox; in place of what no wait can have a text that none can decode.

        Only its numbers are counted as damage: a payload that cannot be read is set aside, and the wait goes on.
        """
        seq, name, payload, at = row
        its = Damage()
        numbers = its.number(f"the number of event {legible(name)!r}", seq), its.number(f"when event {legible(seq)} came", at)
        self._found += its._found
        said = its.said
        try:
            told = text(payload) if said is None else f"{UNREADABLE}{said}"
        except (ValueError, TypeError) as error:
            told = f"{UNREADABLE}{error}"
        return Mail(numbers[0], legible(name), told, numbers[1])


def claim(row: Sequence[Any], steps: Iterable[Sequence[Any]], mail: Iterable[Sequence[Any]], now: Instant) -> Claim:
    """Return a claim of which something cannot be read.

    `row` has key, id, run, the fence given, task, queue, payload, trace, attempt, crashes, crashed_workers, scheduled_at and
    deadline; `steps` have what a `StepRecord` has, and `mail` what `Mail` has.
    """
    key, execution_id, run, fence, task, queue, payload, trace, attempt, crashes, crashed, scheduled_at, deadline = row
    damage = Damage()
    # In the order of their numbers: one that has lost its own stands before the others.
    letters = sorted((damage.letter(each) for each in mail), key=lambda each: each.seq)
    records = sorted((damage.record(each) for each in steps), key=lambda each: each.seq)
    nobody: tuple[str, ...] = ()
    return Claim(
        token=Token(legible(execution_id), damage.number("its run", run), key, fence),
        task=legible(task),
        queue=legible(queue),
        payload=damage.words("its input", payload),
        attempt=damage.number("its attempt", attempt),
        crashes=damage.number("its crashes", crashes),
        crashed_workers=damage.read("the workers that died over it", lambda: workers(crashed), nobody) if crashes else nobody,
        scheduled_at=damage.number("when it was due first", scheduled_at),
        deadline=damage.number_if_any("its deadline", deadline),
        steps=records,
        mail=letters,
        seen=letters[-1].seq if letters else 0,
        now=now,
        damage=damage.said,
        trace=None if trace is None else legible(trace),  # it is for people: whatever it is, it stops nothing
    )


def execution(row: Sequence[Any]) -> Execution:
    """Return an execution of which something cannot be read. `row` has what an `Execution` has.

    One whose status cannot be read is shown as waiting.
    """
    execution_id, run, task, queue, status, payload, result, attempt, fence, worker, crashes, crashed, reason, *rest = row
    created_at, scheduled_at, started_at, completed_at, due_at, deadline, mail, served = rest
    damage = Damage()
    nobody: tuple[str, ...] = ()
    return Execution(
        legible(execution_id),
        damage.number("its run", run),
        legible(task),
        legible(queue),
        damage.read("its status", lambda: ExecutionStatus(text(status)), ExecutionStatus.WAITING),
        damage.words("its input", payload),
        None if result is None else damage.words("its result", result),
        damage.number("its attempt", attempt),
        damage.number("its fence", fence),
        None if worker is None else legible(worker),
        damage.number("its crashes", crashes),
        damage.read("the workers that died over it", lambda: workers(crashed), nobody),
        None if reason is None else damage.read("its reason", lambda: text(reason), legible(reason)),
        damage.number("when it was created", created_at),
        damage.number("when it was due first", scheduled_at),
        damage.number_if_any("when it began", started_at),
        damage.number_if_any("when it ended", completed_at),
        damage.number_if_any("when it is due", due_at),
        damage.number_if_any("its deadline", deadline),
        damage.count("how much mail it has had", mail),
        bool(served),
        damage.said,
    )


def history(steps: Iterable[Sequence[Any]], mail: Iterable[Sequence[Any]]) -> History:
    """Return a history of which records, or numbers of its mail, cannot be read."""
    damage = Damage()
    return History([damage.record(each) for each in steps], [damage.letter(each) for each in mail], damage.said)


def letter(row: Sequence[Any]) -> Mail:
    """Return one event of a mailbox; in place of what cannot be read, a text that no wait can decode."""
    return Damage().letter(row)


def text(stored: Any) -> str:
    """Return a stored text.

    Raises:
        ValueError: its bytes are no UTF-8.
        TypeError: it is none.
    """
    if isinstance(stored, bytes):
        return stored.decode()
    if isinstance(stored, str):
        return stored
    raise TypeError(f"{stored!r} is no text")


def legible(stored: Any) -> str:
    """Return a stored text for people; bytes that are no UTF-8 are escaped."""
    return stored.decode(errors="backslashreplace") if isinstance(stored, bytes) else str(stored)


def _record(row: Sequence[Any]) -> StepRecord:
    seq, name, kind, phase, ok, payload, *rest = row
    told = None if payload is None else text(payload)
    numbers = [None if each is None else _number(each) for each in rest]
    told_of = StepKind(text(kind)), Phase(text(phase)), bool(_number(ok)), told
    return StepRecord(_number(seq), text(name), *told_of, *numbers)  # type: ignore[arg-type] # none is None where it may not


def _count(stored: Any) -> int:
    if (number := _number(stored)) < 0:
        raise ValueError(f"{number} is less than none")
    return number


def _number(stored: Any) -> int:
    if isinstance(stored, int):
        return stored
    raise TypeError(f"{stored.decode(errors='backslashreplace') if isinstance(stored, bytes) else stored!r} is no whole number")
