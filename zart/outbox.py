"""What one execution has to say to storage, in order, until the journal takes it.

A record's number is its outcome's turn, so outcomes are handed over in the order of their numbers, live as on replay. What a
transaction saves goes its own way and could overtake the journal; so while it is *apart* the journal gets nothing of this
execution, and when it has landed it waits for what was numbered before it.
"""

from itertools import chain

from zart.journal import Author, Journal
from zart.operations import Operation
from zart.records import Commit, Move, StepRecord, Token
from zart.status import Phase

Line = tuple[Operation | None, StepRecord]
"""A record, and the operation that it speaks of."""


class Outbox:
    """The unsaved records of a run and its Move; numbers them when the journal takes them."""

    __slots__ = ("_author", "_journal", "_next_seq", "_queued", "apart", "in_flight", "late", "lines", "move")

    def __init__(self, journal: Journal, author: Author, next_seq: int) -> None:
        self._journal = journal
        self._author: Author | None = author
        self._next_seq = next_seq
        self._queued = False
        self.lines: list[Line] = []
        self.in_flight: list[Line] = []
        self.apart: list[Line] = []
        """What transactions are saving."""
        self.late: list[Line] = []
        """What they have saved, while something before it is still under way."""
        self.move: Move | None = None

    @property
    def is_empty(self) -> bool:
        """Whether all that was said is durable."""
        return not (self.lines or self.in_flight or self.apart or self.late or self.move)

    def add(self, operation: Operation | None, record: StepRecord) -> None:
        """Say something."""
        self.lines.append((operation, record))
        self.send()

    def end(self, move: Move) -> None:
        """Say the last word."""
        self.move = move
        self.send()

    def send(self) -> None:
        """Have the journal come by, if it does not already."""
        if not self._queued and self._author is not None:
            self._queued = True
            self._journal.write(self._author)

    def send_rest(self) -> None:
        """Send what was said while the last commit was in flight."""
        if self.lines or self.move is not None:
            self.send()

    def take(self, token: Token, seen: int) -> Commit | None:
        """Return everything unsaved as one commit; None when there is nothing (any more)."""
        lines = self.lines
        if self.apart or not (lines or self.move):
            self._queued = False
            return None
        self.lines = []
        self.in_flight = lines
        seq = self._next_seq
        records = []
        for _, record in lines:
            if not record.seq:  # else it has been on its way before
                record.seq = seq
                seq += 1
            records.append(record)
        self._next_seq = seq
        return Commit(token, records, seen, self.move)

    def landed(self) -> list[Line]:
        """Return what was in flight: the journal has had an answer."""
        self._queued = False
        lines, self.in_flight = self.in_flight, []
        return lines

    def again(self, lines: list[Line]) -> None:
        """Put back what storage was too busy to take, before what was said since."""
        self.lines = lines + self.lines
        self.send()

    def set_apart(self, line: Line) -> None:
        """Number a record that a transaction is about to save."""
        line[1].seq = self._next_seq
        self._next_seq += 1
        self.apart.append(line)

    def rejoin(self, line: Line, *, saved: bool) -> None:
        """Learn what has become of it; if nothing, its number stays unused."""
        self.apart = [one for one in self.apart if one is not line]
        if saved:
            self.late.append(line)
        self.send_rest()

    def ripe(self) -> list[Line]:
        """Return what transactions have saved and nothing comes before."""
        open_ = [record.seq for _, record in chain(self.lines, self.in_flight, self.apart) if record.seq]
        first = min(open_, default=self._next_seq)
        ripe = [line for line in self.late if line[1].seq < first]
        self.late = [line for line in self.late if line[1].seq >= first]
        return ripe

    def withdraw(self, operation: Operation) -> None:
        """Take back what was said of an operation and has not left."""
        self.lines = [line for line in self.lines if line[0] is not operation]

    def has_sent(self, operation: Operation) -> bool:
        """Whether the operation's outcome is on its way."""
        sent = chain(self.in_flight, self.apart, self.late)
        return any(one is operation and record.phase is Phase.OUTCOME for one, record in sent)

    def close(self) -> None:
        """Forget everything, and say nothing more."""
        self.clear()
        self._author = None

    def clear(self) -> None:
        """Forget everything unsaved, the last word included."""
        self.lines = []
        self.move = None
