"""A network between workers and their server, with a will of its own."""

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Self


class Cutter:
    """A TCP proxy before a server. It cuts all connections, or the next that says COMMIT, before or after that was heard."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._shut = False
        self._flows = asyncio.Event()
        self._flows.set()
        self.heard: bool | None = None
        """Whether the server shall hear of the next COMMIT; None: nothing is cut."""
        self.cut: int = 0
        """How many connections were cut."""

    async def __aenter__(self) -> Self:
        """Begin to listen."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Cut every connection."""
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def dsn(self) -> str:
        """The server, through the proxy."""
        assert self._server is not None
        return f"postgresql://zart@127.0.0.1:{self._server.sockets[0].getsockname()[1]}/postgres"

    def shut(self) -> None:
        """Cut every connection, and take no other."""
        self._shut = True
        for task in self._tasks:
            task.cancel()

    def clog(self) -> None:
        """Keep what is sent, until it is open again."""
        self._flows.clear()

    def open(self) -> None:
        """Take connections again, and bring what was kept."""
        self._shut = False
        self._flows.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._shut:
            writer.close()
            return
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._target)
        deaf = asyncio.Event()
        both = [
            asyncio.create_task(self._pass_on(reader, there_writer, deaf)),
            asyncio.create_task(self._bring_back(there_reader, writer, deaf)),
        ]
        self._tasks |= set(both)
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in both:
                each.cancel()
            writer.close()
            there_writer.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, deaf: asyncio.Event) -> None:
        while data := await reader.read(65536):
            if b"COMMIT;" in data and self.heard is not None:
                heard, self.heard = self.heard, None
                self.cut += 1
                if not heard:
                    return
                deaf.set()
            await self._flows.wait()
            writer.write(data)

    async def _bring_back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, deaf: asyncio.Event) -> None:
        while data := await reader.read(65536):
            if deaf.is_set():
                return
            writer.write(data)


class Strait:
    """A TCP proxy before a server that loses replies, resets connections, is slow, or silent; it counts what it did."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._server: asyncio.Server | None = None
        self._ships: set[asyncio.Task[None]] = set()
        self.flows = asyncio.Event()
        """Cleared: what comes from the server is kept back."""
        self.flows.set()
        self.lose: int = 0
        """How many replies to statements shall be lost, with their connections."""
        self.delay: float = 0.0
        """How many seconds each reply takes longer."""
        self.lost: int = 0
        self.delayed: int = 0
        self.kept: int = 0

    async def __aenter__(self) -> Self:
        """Begin to listen."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Cut every connection."""
        assert self._server is not None
        self._server.close()
        self.reset()
        await asyncio.gather(*self._ships, return_exceptions=True)

    @property
    def dsn(self) -> str:
        """The server, through the proxy."""
        assert self._server is not None
        return f"postgresql://zart@127.0.0.1:{self._server.sockets[0].getsockname()[1]}/postgres"

    def reset(self) -> int:
        """Cut every connection; return how many there were."""
        for ship in self._ships:
            ship.cancel()
        return len(self._ships)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        ship = asyncio.create_task(self._sail(reader, writer, there_reader, there_writer))
        self._ships.add(ship)
        ship.add_done_callback(self._ships.discard)

    async def _sail(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        there_reader: asyncio.StreamReader,
        there_writer: asyncio.StreamWriter,
    ) -> None:
        both = [
            asyncio.create_task(self._pass_on(reader, there_writer)),
            asyncio.create_task(self._bring_back(there_reader, writer)),
        ]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in both:
                each.cancel()
            writer.transport.abort()
            there_writer.transport.abort()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)

    async def _bring_back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                # Only the end of a statement counts: the driver also asks what a statement looks like, and that does nothing.
                if self.lose and data.rstrip(b"\x00")[:1] == b"2":
                    self.lose -= 1
                    self.lost += 1
                    return
                if self.delay:
                    self.delayed += 1
                    await asyncio.sleep(self.delay)
                if not self.flows.is_set():
                    self.kept += 1
                    await self.flows.wait()
                writer.write(data)
