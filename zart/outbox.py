"""What one execution has to say to storage, in order, until the journal takes it."""

from zart.journal import Author, Journal
from zart.operations import Operation
from zart.records import Commit, Move, StepRecord, Token

Line = tuple[Operation | None, StepRecord]
"""A record, and the operation that it speaks of."""


class Outbox:
    """The unsaved records of a run and its Move; numbers them when the journal takes them."""

    __slots__ = ("_author", "_journal", "_next_seq", "_queued", "in_flight", "lines", "move")

    def __init__(self, journal: Journal, author: Author, next_seq: int) -> None:
        self._journal = journal
        self._author: Author | None = author
        self._next_seq = next_seq
        self._queued = False
        self.lines: list[Line] = []
        self.in_flight: list[Line] = []
        self.move: Move | None = None

    @property
    def is_empty(self) -> bool:
        """Whether all that was said is durable."""
        return not self.lines and not self.in_flight and self.move is None

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
        if not lines and self.move is None:
            self._queued = False
            return None
        self.lines = []
        self.in_flight = lines
        seq = self._next_seq
        records = []
        for _, record in lines:
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
        self._next_seq -= len(lines)
        self.lines = lines + self.lines
        self.send()

    def withdraw(self, operation: Operation) -> None:
        """Take back what was said of an operation and has not left."""
        self.lines = [line for line in self.lines if line[0] is not operation]

    def has_sent(self, operation: Operation) -> bool:
        """Whether something about the operation is on its way."""
        return any(one is operation for one, _ in self.in_flight)

    def close(self) -> None:
        """Forget everything, and say nothing more."""
        self.clear()
        self._author = None

    def clear(self) -> None:
        """Forget everything unsaved, the last word included."""
        self.lines = []
        self.move = None
