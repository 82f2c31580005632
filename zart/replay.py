"""One claim's past: which outcomes are to be handed over, in which order, and what the mailbox holds. Pure: no clock, no await.

A run's history has two chapters. The first is the body's; the second, once a failure was saved, is that of `on_failure`, and
then only it is replayed. Within a chapter, an outcome is handed over unless a failed attempt has *reopened* it: then its
operation begins afresh, and what had been recorded of it is past. Names belong to a chapter.

The outcomes come in the order of their `seq`; that place is an outcome's turn. An operation that was opened has begun and must
be asked for again; one that has failed attempts goes on with the next.
"""

from collections import deque
from collections.abc import Sequence
from typing import Any

from zart.clock import Instant
from zart.codec import ANY
from zart.errors import DeserializationError
from zart.records import Claim, Mail, StepRecord
from zart.status import Phase, StepKind

_WAITS = frozenset({StepKind.SLEEP, StepKind.EVENT})
_TEXTS, _PLACES = ("abandoned", "failure", "setback"), ("reopened", "returned")


class Mailbox:
    """The events of one run, as far as its worker knows them."""

    __slots__ = ("_by_name", "_letters", "_taken", "reason", "seen")

    def __init__(self, letters: Sequence[Mail], seen: int) -> None:
        self._letters: dict[int, Mail] = {}
        self._by_name: dict[str, list[Mail]] = {}
        self._taken: set[int] = set()
        self.seen: int = seen
        """The last letter known."""
        self.reason: str | None = None
        """Why a letter was set aside, in words."""
        self.add(letters)

    def add(self, letters: Sequence[Mail]) -> bool:
        """Put in new letters, ignoring known ones; say whether any was new."""
        new = False
        for letter in letters:
            if letter.seq not in self._letters:
                self._letters[letter.seq] = letter
                self._by_name.setdefault(letter.name, []).append(letter)
                self.seen = max(self.seen, letter.seq)
                new = True
        return new

    def letter(self, seq: int) -> Mail:
        """Return a letter by its place."""
        return self._letters[seq]

    def oldest(self, event: str) -> Mail | None:
        """Return the oldest letter of an event that nobody has taken."""
        for letter in self._by_name.get(event, ()):
            if letter.seq not in self._taken:
                return letter
        return None

    def take(self, seq: int) -> None:
        """Take a letter for a wait."""
        self._taken.add(seq)

    def give_back(self, seq: int) -> None:
        """Put a letter back: its wait was abandoned before its turn."""
        self._taken.discard(seq)

    def set_aside(self, letter: Mail, reason: str) -> None:
        """Leave a letter to nobody, and remember why."""
        self._taken.add(letter.seq)
        self.reason = reason


class Replay:
    """What a claim says about the past."""

    __slots__ = ("abandoned", "attempts", "damage", "failure", "mailbox", "next_seq", "opened", "setbacks", "turns")

    def __init__(self, claim: Claim) -> None:
        self.mailbox: Mailbox = Mailbox(claim.mail, claim.seen)
        self.failure: StepRecord | None = None
        """The failure that was saved before `on_failure` ran."""
        self.setbacks: int = 0
        """How many times in a row replay was refused."""
        self.next_seq: int = claim.steps[-1].seq + 1 if claim.steps else 1
        self.opened: dict[str, StepRecord] = {}
        self.attempts: dict[str, StepRecord] = {}
        self.abandoned: set[str] = set()
        """What had begun and nobody waited for any more. It keeps its deadline, should it be asked for again."""
        self.turns: deque[StepRecord] = deque()
        """The outcomes to hand over."""
        self.damage: DeserializationError | None = None
        """What of it cannot be read; nothing may be made of the rest then."""
        if claim.damage is not None:
            self.damage = DeserializationError(f"what is stored of it cannot be read: {claim.damage}")
        if claim.steps:
            self._read_chapters(claim.steps)

    def _read_chapters(self, steps: Sequence[StepRecord]) -> None:
        chapter: list[StepRecord] = []
        reopened: set[int] = set()
        returned: Sequence[int] = ()
        for record in steps:
            try:
                told = body_record(record) if record.kind is StepKind.BODY and record.phase is Phase.ATTEMPT else {}
            except DeserializationError as error:
                self.damage, told = error, {}
            if record.kind is not StepKind.BODY or "abandoned" in told:
                chapter.append(record)
            elif record.phase is Phase.OUTCOME:
                self.failure = record
                # What the body's waits had taken stays taken; the rest of its chapter is closed.
                self._take_mail(chapter, returned)
                chapter, reopened = [], set()
            else:
                returned = told.get("returned", ())
                self.setbacks = self.setbacks + 1 if "setback" in told else 0
                reopened.update(told.get("reopened", ()))
                continue
            self.setbacks = 0
        self._read(chapter, reopened)

    def _read(self, chapter: list[StepRecord], reopened: set[int]) -> None:
        for record in chapter:
            match record.phase:
                case _ if record.kind is StepKind.BODY:
                    self.abandoned.add(abandoned_in(record) or "")
                case Phase.OPENED:
                    self.opened[record.name] = record
                    self.abandoned.discard(record.name)
                case Phase.ATTEMPT if record.mail is not None:  # a letter that did not decode: nobody's, for ever
                    self.mailbox.take(record.mail)
                case Phase.ATTEMPT:
                    self.attempts[record.name] = record
                case Phase.OUTCOME if record.seq in reopened:
                    self.opened.pop(record.name, None)
                    self.attempts.pop(record.name, None)
                case Phase.OUTCOME:
                    self.turns.append(record)

    def _take_mail(self, chapter: list[StepRecord], returned: Sequence[int]) -> None:
        for record in chapter:
            if record.mail is not None and record.seq not in returned:
                self.mailbox.take(record.mail)

    def check(self) -> None:
        """Make sure that all of it could be read.

        Raises:
            DeserializationError: it could not; this is `damage`.
        """
        if self.damage is not None:
            raise self.damage

    def open_waits(self) -> list[StepRecord]:
        """Return the waits that have begun and must be asked for again, whatever has become of them."""
        return [record for record in self.opened.values() if record.kind in _WAITS]


def body_record(record: StepRecord) -> dict[str, Any]:
    """Return what a record of kind BODY and phase ATTEMPT tells.

    That is `failure` with `reopened`, `setback`, `returned`, or `abandoned`: lists of outcomes' places, the others texts.

    Raises:
        DeserializationError: it cannot be read, or is of another shape.
    """
    what = f"record {record.seq}, which is the body's,"
    told: dict[str, Any] = ANY.decode(record.payload or "{}", what)
    if not isinstance(told, dict):
        raise DeserializationError(f"{what} holds no object but {told!r}")
    for key in _TEXTS:
        if key in told and not isinstance(told[key], str):
            raise DeserializationError(f"{what} holds no text as {key!r} but {told[key]!r}")
    for key in _PLACES:
        if key in told and not (isinstance(told[key], list) and all(type(each) is int for each in told[key])):
            raise DeserializationError(f"{what} holds no list of places as {key!r} but {told[key]!r}")
    return told


def body_payload(**told: Any) -> str:
    """Return the payload of such a record."""
    return ANY.encode(told)


def abandoned(name: str, now: Instant) -> StepRecord:
    """Return the record that nobody waits any more for an operation whose beginning is recorded."""
    return StepRecord(0, "", StepKind.BODY, Phase.ATTEMPT, False, body_payload(abandoned=name), at=now)


def abandoned_in(record: StepRecord) -> str | None:
    """Return the name of the operation that a record of kind BODY tells to be abandoned; None if it tells something else."""
    return body_record(record).get("abandoned") if record.phase is Phase.ATTEMPT else None
