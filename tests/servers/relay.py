"""What stands between clients and a PostgreSQL server, on a free port: it listens, speaks with each that comes, and cuts."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, TypeAlias

PIECE = 65536

End: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]
"""A connection, as one side of a relay has it."""
Ways: TypeAlias = tuple[Coroutine[Any, Any, None], Coroutine[Any, Any, None]]


class Listener:
    """Listens while the block runs. A kind of its own says in `_talk` what becomes of whoever comes."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._server: asyncio.Server | None = None
        self._talks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> Self:
        """Begin to listen."""
        self._server = await asyncio.start_server(self._welcome, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Cut every connection."""
        self._listening().close()
        await asyncio.sleep(0)  # who has just come is welcomed, and cut like the others
        self.reset()
        await asyncio.gather(*self._talks, return_exceptions=True)
        for writer in self._writers:  # not closed: that would wait for who reads no more, and some talks had not even begun
            writer.transport.abort()
        await asyncio.sleep(0)

    @property
    def port(self) -> int:
        """Where it listens."""
        port: int = self._listening().sockets[0].getsockname()[1]
        return port

    @property
    def dsn(self) -> str:
        """The server, through this."""
        return f"postgresql://zart@127.0.0.1:{self.port}/postgres"

    def reset(self) -> int:
        """Cut every connection; return how many there were."""
        for talk in self._talks:
            talk.cancel()
        return len(self._talks)

    def _listening(self) -> asyncio.Server:
        if self._server is None:
            raise RuntimeError("use it inside `async with`")
        return self._server

    async def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        # A task of its own: Python 3.11 takes it for a fault when the one that this runs in is cancelled.
        talk = asyncio.create_task(self._speak(reader, writer))
        self._talks.add(talk)
        talk.add_done_callback(self._talks.discard)

    async def _speak(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._talk(reader, writer)
        finally:
            self._hang_up(writer)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise NotImplementedError

    def _hang_up(self, writer: asyncio.StreamWriter) -> None:
        writer.close()


class Relay(Listener):
    """Passes bytes on, both ways, until either side ends. What else is done to them, a kind of its own says."""

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            return  # the server is not there: then neither is this
        self._writers.append(there_writer)
        asking, answering = self._ways((reader, writer), (there_reader, there_writer))
        both = [asyncio.create_task(_while_it_lasts(asking)), asyncio.create_task(_while_it_lasts(answering))]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in both:
                each.cancel()
            self._hang_up(there_writer)

    def _ways(self, here: End, there: End) -> Ways:
        """Return the two ways of a new connection: there, and back. It is cut when one of them ends."""
        return self._pass_on(here[0], there[1]), self._bring_back(there[0], here[1])

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(PIECE):
            writer.write(data)

    async def _bring_back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(PIECE):
            writer.write(data)


class Lossy(Relay):
    """Loses replies to statements, each with its connection."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self._lose = 0
        self.lost: int = 0
        """How many replies were lost."""

    def _loses(self, data: bytes) -> bool:
        """Whether what the server says now is to be lost."""
        # Only the end of a statement counts: the driver also asks what a statement looks like, and that does nothing.
        if not self._lose or data.rstrip(b"\x00")[:1] != b"2":
            return False
        self._lose -= 1
        self.lost += 1
        return True


async def _while_it_lasts(way: Coroutine[Any, Any, None]) -> None:
    with suppress(OSError):
        await way
