"""Saying statements to a server and hearing its answers, as many of them in one round trip as can be."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from asyncmy.connection import Connection
from attrs import define, field, frozen

from zart.clock import Clock, Instant, SystemClock, limited
from zart.schedulers.mysql.cluster import Cluster
from zart.schedulers.mysql.faults import Unstorable
from zart.schedulers.mysql.queries import NOW, Sql, Statement, portions

Row: TypeAlias = tuple[Any, ...]

_COMMAND = 1  # byte of a packet that is no SQL
_JOINT = b";\n"


@frozen
class Answer:
    """What came of a statement: its rows, or how many it has found to change."""

    count: int
    rows: Sequence[Row]


@define
class Talk:
    """A connection in use: its statements by their names, what time it is if a test says so, how long a round trip may take.

    With `joined` it is in somebody else's transaction, and leaves beginning and ending to him.
    """

    connection: Connection
    queries: Mapping[str, Statement]
    now: Instant | None
    """None: the server's time, of each statement's own moment. An operation that has been told it sets it."""
    timeout: float
    place: str
    largest: int
    """Bytes that the server takes at once."""
    cluster: Cluster | None = None
    """None: the server is the only one that takes writes."""
    joined: bool = False
    is_open: bool = False
    """Whether a transaction that was begun here has not ended."""
    _clock: Clock = field(factory=SystemClock)

    # ---- putting into words -----------------------------------------------------------------------------------------

    def say(self, name: str, **values: object) -> str:
        """Return a statement."""
        return self.queries[name].say(self.literal, {"now": self.now_said, **values})

    def each(self, name: str, items: Iterable[Mapping[str, object]]) -> list[str]:
        """Return selections of which each says what there is for one item, joined into few statements."""
        said = [self.say(name, **values) for values in items]
        return [" UNION ALL ".join(map(str, part)) for part in portions(said)]

    def over(self, name: str, items: Iterable[object], column: str = "keys", **values: object) -> list[str]:
        """Return a statement over a list of items, or several if the list is too long for one."""
        return [self.say(name, **values, **{column: part}) for part in portions(list(items))]

    def rows(self, name: str, rows: Sequence[Sequence[object]]) -> list[str]:
        """Return statements that insert rows."""
        return list(self.queries[name].over_rows(self.literal, rows))

    @property
    def now_said(self) -> object:
        """What time it is, as a value for a statement."""
        return Sql(NOW) if self.now is None else self.now

    def literal(self, text: str) -> str:
        """Return a text in quotes, as the connection takes it."""
        said: str = self.connection.literal(text)  # type: ignore[no-untyped-call] # the stubs say nothing of it
        return said

    # ---- round trips ------------------------------------------------------------------------------------------------

    async def begin(self, *said: str) -> list[Answer]:
        """Begin a transaction, and ask the first of it."""
        if self.joined:
            return await self.ask(*said)
        self.is_open = True
        return (await self.ask("START TRANSACTION", *said))[1:]

    async def end(self, *said: str) -> list[Answer]:
        """Ask the last of a transaction, and commit it."""
        if self.joined:
            return await self.ask(*said)
        answers = await self.ask(*said, "COMMIT")
        self.is_open = False
        return answers[:-1]

    async def whole(self, *said: str) -> list[Answer]:
        """Begin a transaction, ask, and commit it, in one round trip."""
        if self.joined:
            return await self.ask(*said)
        self.is_open = True
        answers = await self.ask("START TRANSACTION", *said, "COMMIT")
        self.is_open = False
        return answers[1:-1]

    async def roll_back(self) -> None:
        """Leave nothing of the transaction. One that is somebody else's is not ended: the statement that failed did nothing."""
        if not self.joined:
            await self.ask("ROLLBACK")
            self.is_open = False

    async def ask(self, *said: str) -> list[Answer]:
        """Ask as many statements as like; the first error ends it.

        It is one round trip, unless they are too long for a packet, or the server is a node of a cluster.

        Raises:
            Unstorable: a statement is too long for any packet.
            TimeoutError: the server did not answer in time.
        """
        answers: list[Answer] = []
        for packet in self._packets(said):
            async with limited(self._clock, self.timeout, "no answer in time"):
                answers += await self._send(packet)
        return answers

    def _packets(self, said: Iterable[str]) -> list[bytes]:
        packets: list[bytes] = []
        for statement in said:
            encoded = statement.encode()  # strictly: the driver would let half a pair of surrogates through as a broken byte
            if len(encoded) + _COMMAND > self.largest:
                raise Unstorable(
                    f"{len(encoded):,} bytes at once are more than the server's max_allowed_packet of {self.largest:,}; raise"
                    " it, or store the value elsewhere and pass a reference"
                )
            # A node that rolls a transaction back for another node's sake between two statements of a packet tells nobody: the
            # next would count by itself, and a COMMIT succeed with nothing in it.
            if self.cluster is None and packets and len(packets[-1]) + len(_JOINT) + len(encoded) + _COMMAND <= self.largest:
                packets[-1] += _JOINT + encoded
            else:
                packets.append(encoded)
        return packets

    async def _send(self, packet: bytes) -> list[Answer]:
        answers: list[Answer] = []
        cursor = self.connection.cursor()  # not closed: that would hide what went wrong, and there is nothing to close
        await cursor.execute(packet)
        while True:
            rows = await cursor.fetchall() if cursor.description else ()
            answers.append(Answer(int(cursor.rowcount), rows))  # type: ignore[call-overload] # a number, whatever the stubs say
            if not await cursor.nextset():
                return answers


def all_rows(answers: Iterable[Answer]) -> list[Row]:
    """Return the rows of several answers."""
    return [row for answer in answers for row in answer.rows]
