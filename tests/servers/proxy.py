"""A TCP proxy before a server, that loses replies and goes silent when it is told to."""

import asyncio
from types import TracebackType
from typing import Self


class Proxy:
    """Passes bytes on. Every connection through it is cut when `lose_next_reply` was asked for and a reply comes."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._lose = 0
        self.lost: int = 0
        """How many replies were lost."""
        self.silent: bool = False
        """Whether nothing comes back any more."""

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

    def lose_next_reply(self) -> None:
        """Let the server do what it is asked next, and cut the connection instead of bringing the answer."""
        self._lose += 1

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._target)
        both = [
            asyncio.create_task(self._pass_on(reader, there_writer)),
            asyncio.create_task(self._bring_back(there_reader, writer)),
        ]
        self._tasks |= set(both)
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in both:
                each.cancel()
            for each in (writer, there_writer):
                each.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)

    async def _bring_back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            if self.silent:
                continue
            # Only the end of a statement counts: the driver also asks what a statement looks like, and that does nothing.
            if self._lose and data.rstrip(b"\x00")[:1] == b"2":
                self._lose -= 1
                self.lost += 1
                return
            writer.write(data)
