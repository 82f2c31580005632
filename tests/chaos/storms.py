"""A network between workers and their server, with a will of its own."""

import asyncio

from tests.servers.relay import PIECE, End, Lossy, Relay, Ways


class Cutter(Relay):
    """A TCP proxy before a server. It cuts all connections, or the next that says COMMIT, before or after that was heard."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self._shut = False
        self._flows = asyncio.Event()
        self._flows.set()
        self.heard: bool | None = None
        """Whether the server shall hear of the next COMMIT; None: nothing is cut."""
        self.cut: int = 0
        """How many connections were cut."""

    def shut(self) -> None:
        """Cut every connection, and take no other."""
        self._shut = True
        self.reset()

    def clog(self) -> None:
        """Keep what is sent, until it is open again."""
        self._flows.clear()

    def open(self) -> None:
        """Take connections again, and bring what was kept."""
        self._shut = False
        self._flows.set()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._shut:
            await super()._talk(reader, writer)

    def _ways(self, here: End, there: End) -> Ways:
        deaf = asyncio.Event()
        return self._pass_on_until(deaf, here[0], there[1]), self._bring_back_until(deaf, there[0], here[1])

    async def _pass_on_until(self, deaf: asyncio.Event, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(PIECE):
            if b"COMMIT;" in data and self.heard is not None:
                heard, self.heard = self.heard, None
                self.cut += 1
                if not heard:
                    return
                deaf.set()
            await self._flows.wait()
            writer.write(data)

    async def _bring_back_until(self, deaf: asyncio.Event, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (data := await reader.read(PIECE)) and not deaf.is_set():
            writer.write(data)


class Strait(Lossy):
    """A TCP proxy before a server that loses replies, resets connections, is slow, or silent; it counts what it did."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.flows = asyncio.Event()
        """Cleared: what comes from the server is kept back."""
        self.flows.set()
        self.delay: float = 0.0
        """How many seconds each reply takes longer."""
        self.delayed: int = 0
        self.kept: int = 0

    def lose(self, replies: int) -> None:
        """Lose so many replies to statements, with their connections; none any more with 0."""
        self._lose = replies

    def _hang_up(self, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    async def _bring_back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(PIECE):
            if self._loses(data):
                return
            if self.delay:
                self.delayed += 1
                await asyncio.sleep(self.delay)
            if not self.flows.is_set():
                self.kept += 1
                await self.flows.wait()
            writer.write(data)
