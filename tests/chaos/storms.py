"""A network between workers and their server, with a will of its own."""

import asyncio
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
