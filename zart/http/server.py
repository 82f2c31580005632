"""The server of `zart serve`: uvicorn, with limits on connections that ask for nothing, ask slowly, or do not read.

The application itself keeps what a request may hold (`zart.http.limits`); here is what comes before there is a request, and
after there is an answer. A connection has a deadline while it should send a request's head, and while it does not read its
answer; one look a second ends those that are late. When there are too many connections, the one that has waited longest
without a request makes room for the next.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from socket import socket
from typing import Any

from attrs import frozen
from uvicorn import Config, Server
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from zart.http.application import Api
from zart.http.refusals import PROBLEM, Refusal
from zart.http.views import written

_SWEEP = 10
"""Ticks of uvicorn, each a tenth of a second, from one look to the next."""


@frozen(kw_only=True)
class ConnectionLimits:
    """What a server takes from connections; times are in seconds.

    Attributes:
        connections: how many there may be.
        head_time: how long a request's head may take to come, from its first byte or the connection's beginning.
        idle_time: how long a connection may be silent between two requests.
        send_time: how long an answer may wait for its reader.
        stop_time: how long requests may go on after the server was told to stop.
    """

    connections: int = 2000
    head_time: float = 10.0
    idle_time: int = 60
    send_time: float = 30.0
    stop_time: int = 10


class ServerConfig(Config):
    """How uvicorn serves an API."""

    def __init__(self, api: Api, limits: ConnectionLimits) -> None:
        self.api = api
        self.limits = limits
        self.waiting: dict[Connection, None] = {}
        """The connections that owe a request, in the order of how long they do."""
        super().__init__(
            api,
            http=Connection,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            # Whoever calls could say to be somebody else.
            proxy_headers=False,
            timeout_keep_alive=limits.idle_time,
            timeout_graceful_shutdown=limits.stop_time,
        )


class Connection(HttpToolsProtocol):
    """A connection that is ended when it is late."""

    config: ServerConfig

    def __init__(self, config: ServerConfig, *arguments: Any, **options: Any) -> None:
        super().__init__(config, *arguments, **options)
        self._deadline: float | None = None
        self._head = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # uvicorn's own narrowing
        """Begin to wait for a request, in the place of another if need be."""
        super().connection_made(transport)
        self._expect()
        if len(self.connections) > self.config.limits.connections:
            longest = next(iter(self.config.waiting))
            del self.config.waiting[longest]  # at once: others may come before it is lost
            longest.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Be forgotten."""
        self.config.waiting.pop(self, None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on; a head may not grow without end."""
        if self._deadline is None and self in self.config.waiting:
            self._deadline = self._now() + self.config.limits.head_time
        super().data_received(data)
        if self in self.config.waiting and not self.transport.is_closing():
            self._head += len(data)
            limits = self.config.api.limits
            if self._head > limits.headers + limits.query:
                self._answer(Refusal("headers_too_large", "the head of the request is too large", "send less"))

    def on_headers_complete(self) -> None:
        """Owe nothing for now."""
        self.config.waiting.pop(self, None)
        self._deadline = None
        self._head = 0
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """Wait for the next request, as long as uvicorn lets it."""
        super().on_response_complete()
        if not self.pipeline:
            self._head = 0
            self.config.waiting[self] = None

    def pause_writing(self) -> None:
        """Give the reader some time."""
        self._deadline = self._now() + self.config.limits.send_time
        super().pause_writing()

    def resume_writing(self) -> None:
        """Go on."""
        self._deadline = None
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Say that it is no HTTP, in the form of all other errors."""
        self._answer(Refusal("bad_request", "this is no HTTP request", "send HTTP/1.1"))

    def end_if_late(self, now: float) -> None:
        """End a connection whose deadline has passed."""
        if self._deadline is not None and now > self._deadline:
            self.transport.abort()

    def _expect(self) -> None:
        self.config.waiting[self] = None
        self._deadline = self._now() + self.config.limits.head_time

    def _now(self) -> float:
        return self.config.api.clock.monotonic()

    def _answer(self, refusal: Refusal) -> None:
        body = written(refusal.problem())
        lines = (
            f"HTTP/1.1 {refusal.status} {refusal.code}",
            f"content-type: {PROBLEM}",
            f"content-length: {len(body)}",
            "connection: close",
        )
        self.transport.write("\r\n".join((*lines, "\r\n")).encode("ascii") + body)
        self.transport.close()


class ApiServer(Server):
    """Serves an API; `started_at` is told the address when it does.

    Long polls are answered and streams end when it is told to stop.
    """

    config: ServerConfig

    def __init__(self, api: Api, limits: ConnectionLimits | None = None, tell: Callable[[str], None] | None = None) -> None:
        super().__init__(ServerConfig(api, limits or ConnectionLimits()))
        self._tell = tell

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at a signal, and leave it at that: uvicorn would raise it again when all is done."""
        with super().capture_signals():
            yield
            self._captured_signals.clear()

    async def startup(self, sockets: list[socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets)
        if self._tell is not None and self.started:
            host, port, *_ = self.servers[0].sockets[0].getsockname() if not sockets else sockets[0].getsockname()
            self._tell(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")

    async def on_tick(self, counter: int) -> bool:
        """Look for connections that are late, once a second."""
        if counter % _SWEEP == 0:
            now = self.config.api.clock.monotonic()
            for connection in list(self.server_state.connections):
                if isinstance(connection, Connection):
                    connection.end_if_late(now)
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        """Let everybody go who only waits, then stop."""
        self.config.api.closing.set()
        await super().shutdown(sockets)
