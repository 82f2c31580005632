"""A TCP proxy before a server, that loses replies and goes silent when it is told to."""

import asyncio

from tests.servers.relay import PIECE, Lossy


class Proxy(Lossy):
    """Passes bytes on. A connection is cut when `lose_next_reply` was asked for and a reply comes."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.silent: bool = False
        """Whether nothing comes back any more."""

    def lose_next_reply(self) -> None:
        """Let the server do what it is asked next, and cut the connection instead of bringing the answer."""
        self._lose += 1

    async def _bring_back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(PIECE):
            if self.silent:
                continue
            if self._loses(data):
                return
            writer.write(data)
