"""`/healthz`, `/readyz` and `/metrics` of a worker's process on a port of its own: a few lines of HTTP, no server to install.

The answers come from the worker's own event loop. While that is blocked there is none: so `/healthz` tells.
"""

import asyncio
import logging
from collections.abc import Mapping
from http import HTTPStatus
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

from zart.clock import Clock, SystemClock, limited
from zart.guard import bearer, is_among, is_loopback
from zart.telemetry.watched import Watched

logger: logging.Logger = logging.getLogger("zart.telemetry")

PATHS: tuple[str, ...] = ("/healthz", "/readyz", "/metrics")
_LARGEST = 8 * 1024
_MOST = 100
_PATIENCE = 5.0
_PLAIN = "text/plain; charset=utf-8"
Answer = tuple[HTTPStatus, str, bytes]


@runtime_checkable
class Exposed(Protocol):
    """What has metrics to show: `zart.telemetry.Metrics`."""

    content_type: str

    async def exposition(self, storage: object) -> bytes:
        """Return them as Prometheus reads them."""
        ...


class Probes:
    """Answers probes while the block runs; `url` is where.

    Health is told to anybody. Metrics name tasks and steps: on an address that others can reach, only who sends one of the
    `tokens` (digests, `zart.guard`) is shown them, and nobody where there are none.

    Raises:
        OSError: the port is taken, or not to be had.
    """

    def __init__(
        self,
        storage: Watched,
        metrics: Exposed | None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        tokens: tuple[bytes, ...] = (),
        clock: Clock | None = None,
    ) -> None:
        self._storage = storage
        self._metrics = metrics
        self._host = host
        self._port = port
        self._tokens = tokens
        self._clock: Clock = clock or SystemClock()
        self._open = 0
        self._server: asyncio.Server | None = None
        self.url: str = ""

    async def __aenter__(self) -> Self:
        """Begin to listen."""
        self._server = await asyncio.start_server(self._serve, self._host, self._port, limit=_LARGEST)
        host, port, *_ = self._server.sockets[0].getsockname()
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            if self._open <= _MOST:
                async with limited(self._clock, _PATIENCE, "the request did not come in time"):
                    await self._talk(reader, writer)
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return  # whoever asks like that gets no answer
        except Exception:
            logger.exception("a probe could not be answered")
        finally:
            self._open -= 1
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        request, *lines = head.decode("latin-1").split("\r\n")
        method, _, target = request.partition(" ")
        path = target.partition(" ")[0].partition("?")[0]
        pairs = (line.partition(":") for line in lines)
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        status, kind, body = await self._answer(method, path, headers)
        told = (
            f"HTTP/1.1 {status.value} {status.phrase}",
            f"content-type: {kind}",
            f"content-length: {len(body)}",
            "x-content-type-options: nosniff",
            "cache-control: no-store",
            "connection: close",
            "\r\n",
        )
        writer.write("\r\n".join(told).encode("latin-1") + (b"" if method == "HEAD" else body))
        await writer.drain()

    async def _answer(self, method: str, path: str, headers: Mapping[str, str]) -> Answer:
        if path not in PATHS or (path == "/metrics" and self._metrics is None):
            return HTTPStatus.NOT_FOUND, _PLAIN, b"there is nothing at this path\n"
        if method not in {"GET", "HEAD"}:
            return HTTPStatus.METHOD_NOT_ALLOWED, _PLAIN, b"use GET\n"
        if path == "/metrics" and self._metrics is not None:
            if not self._may_see(headers):
                return HTTPStatus.UNAUTHORIZED, _PLAIN, b"send a token of ZART_READ_TOKEN\n"
            return HTTPStatus.OK, self._metrics.content_type, await self._metrics.exposition(self._storage)
        problem = self._storage.health.problem() if path == "/readyz" else None
        if problem is not None:
            return HTTPStatus.SERVICE_UNAVAILABLE, _PLAIN, f"{problem}\n".encode()
        return HTTPStatus.OK, _PLAIN, b"ok\n"

    def _may_see(self, headers: Mapping[str, str]) -> bool:
        if not self._tokens:
            return is_loopback(self._host)
        given = bearer(headers.get("authorization", "").encode("latin-1"))
        return given is not None and is_among(given, self._tokens)
