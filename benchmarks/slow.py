"""A proxy that makes a PostgreSQL server slow in one way: it commits one thing at a time, and each takes a while."""

import asyncio
import re
from types import TracebackType
from typing import Self

_WRITES = re.compile(rb"\b(?:INSERT|UPDATE|DELETE)\b")
_HEAD = 5
_LENGTH = 4


class SlowCommits:
    """Passes bytes on, and holds the reply to every statement that writes for `seconds`, one after the other.

    That is a disk that does so many writes a second, however many connections there are. Reads pass as they are.
    """

    def __init__(self, port: int, seconds: float) -> None:
        self._target = port
        self._seconds = seconds
        self._disk = asyncio.Lock()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.commits: int = 0
        """How many replies were held."""

    async def __aenter__(self) -> Self:
        """Begin to listen."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Cut every connection."""
        self._listening().close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def port(self) -> int:
        """Where it listens."""
        port: int = self._listening().sockets[0].getsockname()[1]
        return port

    def _listening(self) -> asyncio.Server:
        if self._server is None:
            raise RuntimeError("use the proxy inside `async with`")
        return self._server

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._target)
        talk = _Talk()
        both = [
            asyncio.create_task(self._pass_on(reader, there_writer, talk)),
            asyncio.create_task(self._bring_back(there_reader, writer, talk)),
        ]
        self._tasks |= set(both)
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in both:
                task.cancel()
            for each in (writer, there_writer):
                each.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, talk: "_Talk") -> None:
        while data := await reader.read(65536):
            talk.hear(data)
            writer.write(data)

    async def _bring_back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, talk: "_Talk") -> None:
        while data := await reader.read(65536):
            if talk.writes:
                talk.writes = False
                async with self._disk:
                    self.commits += 1
                    await asyncio.sleep(self._seconds)
            writer.write(data)


class _Talk:
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
