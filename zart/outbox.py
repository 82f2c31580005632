"""What one execution has to say to storage, in order, until the journal takes it.

A record's number is its outcome's turn, so outcomes are handed over in the order of their numbers, live as on replay. What a
transaction saves goes its own way and could overtake the journal; so while it is *apart* the journal gets nothing of this
execution, and when it has landed it waits for what was numbered before it.

What storage refuses is said again in halves, until the one thing that it refuses stands alone: so the others are saved.
"""

from collections.abc import Sequence
from itertools import chain

from zart.journal import Author, Journal
from zart.operations import Operation
from zart.records import Commit, Fate, Move, StepRecord, Token
from zart.status import Phase

Line = tuple[Operation | None, StepRecord]
"""A record, and the operation that it speaks of."""
# On Python 3.11 the attribute of an enum class costs as much as a function call.
BUSY = Fate.BUSY


class Outbox:
    """The unsaved records of a run and its Move; numbers them when the journal takes them."""

    __slots__ = (
        *("_author", "_busy", "_journal", "_last", "_most", "_next_seq", "_queued"),
        *("apart", "in_flight", "late", "lines", "move"),
    )

    def __init__(self, journal: Journal, author: Author, next_seq: int) -> None:
        self._journal = journal
        self._author: Author | None = author
        self._next_seq = next_seq
        self._queued = False
        self._busy = 0
        """How often in a row storage was too busy to take it."""
        self._most: int | None = None
        """How much may go out together, after something was refused."""
        self._last: Sequence[StepRecord] = ()
        self.lines: list[Line] = []
        self.in_flight: list[Line] = []
        self.apart: list[Line] = []
        """What transactions are saving."""
        self.late: list[Line] = []
        """What they have saved, while something before it is still under way."""
        self.move: Move | None = None

    @property
    def is_closed(self) -> bool:
        """Whether nothing is said any more."""
        return self._author is None

    @property
    def is_empty(self) -> bool:
        """Whether all that was said is durable."""
        return not (self.lines or self.in_flight or self.apart or self.late or self.move)

    def add(self, operation: Operation | None, record: StepRecord) -> None:
        """Say something."""
        self.lines.append((operation, record))
        self.send()

    def end(self, move: Move, records: Sequence[StepRecord] = ()) -> None:
        """Say the last word, and the records that go with it: all of that or nothing is saved."""
        self.move, self._last = move, records
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
        """Return everything unsaved as one commit, or a part if all was refused; None when there is nothing (any more)."""
        lines, move = self.lines, self.move
        if self.apart or not (lines or move):
            self._queued = False
            return None
        if self._most is not None and len(lines) + (move is not None) > self._most:
            lines, self.lines, move = lines[: self._most], lines[self._most :], None
        else:
            self.lines = []
        self.in_flight = lines
        records = [record for _, record in lines]
        if move is not None:
            records += self._last
        seq = self._next_seq
        for record in records:
            if not record.seq:  # else it has been on its way before
                record.seq = seq
                seq += 1
        self._next_seq = seq
        return Commit(token, records, seen, move)

    def landed(self, fate: Fate = Fate.APPLIED) -> list[Line]:
        """Return what was in flight: the journal has had an answer."""
        self._queued = False
        if fate is not BUSY:
            self._busy = 0
        if not self.lines:
            self._most = None
        lines, self.in_flight = self.in_flight, []
        return lines

    def again(self, lines: list[Line]) -> None:
        """Put back what storage was too busy to take, before what was said since. All goes out after a pause."""
        self.lines = lines + self.lines
        if self._author is not None:
            self._queued = True
            self._journal.write_later(self._author, self._busy)
            self._busy += 1

    def hurry(self) -> None:
        """End the pause, if there is one."""
        if self._busy and self._author is not None:
            self._busy = 0
            self._journal.hurry(self._author)

    def divide(self, lines: list[Line], move: Move | None) -> bool:
        """Have what was refused said again in parts; false if it was but one thing: a record, or the last word."""
        said = len(lines) + (move is not None)
        if said == 1:
            self._most = None
            return False
        self._most = said // 2
        self.lines = lines + self.lines
        self.send()
        return True

    def put_first(self, line: Line) -> None:
        """Say something before all else: in place of what was refused, and with its number."""
        self.lines.insert(0, line)
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

    def withdraw(self, operation: Operation) -> list[StepRecord]:
        """Take back, and return, what was said of an operation and has not left."""
        withdrawn = [record for one, record in self.lines if one is operation]
        if withdrawn:
            self.lines = [line for line in self.lines if line[0] is not operation]
        return withdrawn

    def has_sent(self, operation: Operation) -> bool:
        """Whether the operation's outcome is on its way."""
        sent = chain(self.in_flight, self.apart, self.late)
        return any(one is operation and record.phase is Phase.OUTCOME for one, record in sent)

    def close(self) -> None:
        """Forget everything, and say nothing more."""
        self.clear()
        if self._author is not None:
            self._journal.forget(self._author)
        self._author = None

    def clear(self) -> None:
        """Forget everything unsaved, the last word included."""
        self.lines = []
        self.move = None
