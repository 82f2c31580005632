"""A transaction pooler before a PostgreSQL server, as PgBouncer is one: each transaction gets a server connection."""

import asyncio
import struct
from contextlib import suppress
from types import TracebackType
from typing import Self

from tests.servers.relay import Listener

_READY, _KEY, _NOTIFICATION = b"Z", b"K", b"A"
_SSL_REQUEST = 80877103
_IDLE = b"I"
"""The state of a server that is in no transaction."""


class _Line:
    """One side of a connection, message by message."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def message(self) -> tuple[bytes, bytes]:
        """Return a message's type and all of it."""
        head = await self.reader.readexactly(5)
        body = await self.reader.readexactly(struct.unpack("!I", head[1:])[0] - 4)
        return head[:1], head + body

    async def startup(self) -> bytes:
        """Return the message that a client begins with, having refused to encrypt."""
        while True:
            head = await self.reader.readexactly(4)
            body = await self.reader.readexactly(struct.unpack("!I", head)[0] - 4)
            if struct.unpack("!I", body[:4])[0] != _SSL_REQUEST:
                return head + body
            self.writer.write(b"N")


class TransactionPooler(Listener):
    """Pools the connections to the server on a port; it takes any settings and drops them."""

    def __init__(self, port: int, *, size: int = 3) -> None:
        super().__init__(port)
        self._size = size
        self._free: asyncio.LifoQueue[_Line] = asyncio.LifoQueue()
        self._greeting = b""
        self._lines: list[_Line] = []

    async def __aenter__(self) -> Self:
        """Open all connections to the server, and listen."""
        for _ in range(self._size):
            line = _Line(*await asyncio.open_connection("127.0.0.1", self._target))
            parameters = b"user\x00zart\x00database\x00postgres\x00client_encoding\x00utf-8\x00\x00"
            line.writer.write(struct.pack("!II", len(parameters) + 8, 196608) + parameters)
            self._greeting = await self._greet(line)
            self._lines.append(line)
            self._free.put_nowait(line)
        return await super().__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Cut every connection."""
        await super().__aexit__(kind, error, trace)
        for line in self._lines:
            line.writer.close()

    @staticmethod
    async def _greet(line: _Line) -> bytes:
        """Return what the server says to who has come, with another key to cancel by."""
        said = b""
        while True:
            kind, message = await line.message()
            said += message[:5] + bytes(8) if kind == _KEY else message
            if kind == _READY:
                return said

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = _Line(reader, writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            await client.startup()
            writer.write(self._greeting)
            while True:
                kind, message = await client.message()
                if kind == b"X":
                    return
                await self._transact(client, message)

    async def _transact(self, client: _Line, message: bytes) -> None:
        """Pass on everything up to the end of a transaction, to one server connection."""
        server = await self._free.get()
        server.writer.write(message)
        asking = asyncio.create_task(self._pass_on(client, server))
        try:
            while True:
                kind, answer = await server.message()
                if kind == _READY and answer[5:6] == _IDLE:
                    break
                if kind != _NOTIFICATION:  # whoever asked for it has long gone on
                    client.writer.write(answer)
        finally:
            asking.cancel()  # before the client learns of the end: it asks for nothing meanwhile
            await asyncio.wait([asking])
        self._free.put_nowait(server)
        client.writer.write(answer)

    @staticmethod
    async def _pass_on(client: _Line, server: _Line) -> None:
        while True:
            server.writer.write((await client.message())[1])
