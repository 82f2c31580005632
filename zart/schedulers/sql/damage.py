"""What is stored and cannot be read (rule 9): told in words, so that one bad row stops no other.

Backends read rows the short way. Where that raises they read that one execution again here, piece by piece, and hand out what
there is with the rest in words. Texts may come as bytes, as columns hold them.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import msgspec
from attrs import define, field

from zart.clock import Instant
from zart.records import Claim, Mail, StepRecord, Token
from zart.status import Phase, StepKind

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

    def record(self, row: Sequence[Any]) -> StepRecord:
        """Return a step record; one that cannot be read keeps its number, and says nothing."""
        seq, *_ = row
        return self.read(f"record {seq}", lambda: _record(row), StepRecord(seq, "", StepKind.BODY, Phase.ATTEMPT, ok=False))


def claim(row: Sequence[Any], steps: Iterable[Sequence[Any]], mail: Iterable[Sequence[Any]], now: Instant) -> Claim:
    """Return a claim of which something cannot be read.

    `row` has key, id, run, the fence given, task, queue, payload, attempt, crashes, crashed_workers, scheduled_at and deadline;
    `steps` have what a `StepRecord` has, and `mail` what `Mail` has.
    """
    key, execution_id, run, fence, task, queue, payload, attempt, crashes, crashed, scheduled_at, deadline = row
    damage = Damage()
    letters = [letter(each) for each in mail]
    nobody: tuple[str, ...] = ()
    workers = damage.read("the workers that died over it", lambda: _workers(crashed), nobody) if crashes else nobody
    return Claim(
        token=Token(legible(execution_id), run, key, fence),
        task=legible(task),
        queue=legible(queue),
        payload=damage.read("its input", lambda: text(payload), ""),
        attempt=attempt,
        crashes=crashes,
        crashed_workers=workers,
        scheduled_at=scheduled_at,
        deadline=deadline,
        steps=[damage.record(each) for each in steps],
        mail=letters,
        seen=letters[-1].seq if letters else 0,
        now=now,
        damage=damage.said,
    )


def letter(row: Sequence[Any]) -> Mail:
    """Return one event of a mailbox; in place of a payload that cannot be read, a text that no wait can decode."""
    seq, name, payload, at = row
    try:
        return Mail(seq, legible(name), text(payload), at)
    except (ValueError, TypeError) as error:
        return Mail(seq, legible(name), f"cannot be read: {error}", at)


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
    return StepRecord(seq, text(name), StepKind(text(kind)), Phase(text(phase)), bool(ok), told, *rest)


def _workers(stored: Any) -> tuple[str, ...]:
    return tuple(msgspec.json.decode(text(stored), type=list[str]))
