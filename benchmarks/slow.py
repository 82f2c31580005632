"""A proxy that makes a PostgreSQL server slow in one way: it commits one thing at a time, and each takes a while."""

import asyncio
import re

from tests.servers.relay import PIECE, End, Relay, Ways

_WRITES = re.compile(rb"\b(?:INSERT|UPDATE|DELETE)\b")
_HEAD = 5
_LENGTH = 4


class SlowCommits(Relay):
    """Passes bytes on, and holds the reply to every statement that writes for `seconds`, one after the other.

    That is a disk that does so many writes a second, however many connections there are. Reads pass as they are.
    """

    def __init__(self, port: int, seconds: float) -> None:
        super().__init__(port)
        self._seconds = seconds
        self._disk = asyncio.Lock()
        self.commits: int = 0
        """How many replies were held."""

    def _ways(self, here: End, there: End) -> Ways:
        said = _Said()
        return self._listen_in(said, here[0], there[1]), self._hold(said, there[0], here[1])

    async def _listen_in(self, said: "_Said", reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(PIECE):
            said.hear(data)
            writer.write(data)

    async def _hold(self, said: "_Said", reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(PIECE):
            if said.writes:
                said.writes = False
                async with self._disk:
                    self.commits += 1
                    await asyncio.sleep(self._seconds)
            writer.write(data)


class _Said:
    """What a client says on one connection: which of its statements write, and whether it has just run one of these."""

    def __init__(self) -> None:
        self.writes = False
        self._pending = b""
        self._begun = False
        self._writing: set[bytes] = set()

    def hear(self, data: bytes) -> None:
        """Take what has come; a message may come in pieces."""
        self._pending += data
        while len(self._pending) >= _HEAD:
            # The first message has no letter before its length.
            skip = 1 if self._begun else 0
            size = skip + int.from_bytes(self._pending[skip : skip + _LENGTH], "big")
            if len(self._pending) < size:
                return
            self._message(self._pending[:1] if self._begun else b"", self._pending[skip + _LENGTH : size])
            self._pending, self._begun = self._pending[size:], True

    def _message(self, kind: bytes, body: bytes) -> None:
        if kind == b"P":  # parse: the statement's name and its text
            name, _, rest = body.partition(b"\x00")
            if _WRITES.search(rest.partition(b"\x00")[0]):
                self._writing.add(name)
            else:
                self._writing.discard(name)
        elif kind == b"B":  # bind: a portal, and the name of the statement that is run in it
            name = body.partition(b"\x00")[2].partition(b"\x00")[0]
            self.writes = self.writes or name in self._writing
