"""Measures what 500 slow sockets and a chunked gigabyte do to healthy requests: `python -m tests.http.pressure`.

The server is a process of its own on SQLite. Prints the p95 of healthy requests and the server's memory: alone, under slow
sockets, and under both; then the rate of reading one execution, beside a bare Starlette route that makes the same two reads.
Fails when a bar is missed: p95 at most three times as long, memory at most 50 MB more.
"""

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from statistics import quantiles

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

import zart.http
from tests.http.flows import registry
from zart import DurableScheduler, connect
from zart.http import AccessRules
from zart.http.server import ApiServer

ROOT = Path(__file__).parents[2]
TOKEN = "o" * 32
HEAD = f"Host: localhost\r\nAuthorization: Bearer {TOKEN}\r\n".encode()
GIGABYTE = 1_000_000_000


async def serve(kind: str, url: str) -> None:
    """Serve the API, or the bare route, and print the address."""
    async with connect(url) as storage:
        await DurableScheduler(storage).start("a", "fails", start_key="a")

        async def bare(request: Request) -> JSONResponse:
            found = await storage.get(request.path_params["id"])
            await storage.history(request.path_params["id"])
            assert found is not None
            return JSONResponse({"id": found.id, "status": found.status, "payload": found.payload, "task": found.task})

        listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
        if kind == "api":
            api = zart.http.asgi(storage, registry, access=AccessRules(operator=TOKEN))
            await ApiServer(api).serve([listener])
        else:
            app = Starlette(routes=[Route("/api/v1/executions/{id}", bare)])
            await uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False)).serve([listener])


@asynccontextmanager
async def server(kind: str, url: str) -> AsyncIterator[tuple[int, int]]:
    """Start a server in a process of its own; gives its process id and port."""
    command = [sys.executable, "-m", "tests.http.pressure", "--serve", kind, url]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)  # noqa: ASYNC220 # nothing else runs yet
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline().rpartition(":")[2])
        yield process.pid, port
    finally:
        process.terminate()
        process.wait()


def memory(pid: int) -> float:
    """Return the resident memory of a process in MB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


async def connected(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect, as soon as somebody listens."""
    for _ in range(200):
        with suppress(ConnectionError):
            return await asyncio.open_connection("127.0.0.1", port)
        await asyncio.sleep(0.05)
    raise TimeoutError(f"nobody listens on port {port}")


async def asks(port: int, seconds: float, pause: float = 0.0) -> list[float]:
    """Return how long each request of one caller took."""
    reader, writer = await connected(port)
    took: list[float] = []
    end = time.perf_counter() + seconds
    while (begun := time.perf_counter()) < end:
        writer.write(b"GET /api/v1/executions/a HTTP/1.1\r\n" + HEAD + b"\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length: "))
        await reader.readexactly(int(length[16:]))
        took.append(time.perf_counter() - begun)
        if pause:
            await asyncio.sleep(pause)
    writer.close()
    return took


async def healthy(port: int, seconds: float) -> float:
    """Return the p95 of four callers that ask now and then, in milliseconds."""
    took = await asyncio.gather(*(asks(port, seconds, 0.02) for _ in range(4)))
    return quantiles([each for one in took for each in one], n=20)[18] * 1000


async def slow(port: int) -> None:
    """Be a socket that sends a request's head byte by byte, and begins again when it is cut off."""
    while True:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            _, writer = await connected(port)
            for byte in (b"POST /api/v1/executions HTTP/1.1\r\n" + HEAD) * 100:
                writer.write(bytes([byte]))
                await asyncio.sleep(1)


async def gigabyte(port: int) -> tuple[str, int, float]:
    """Send a gigabyte in chunks until told not to; return the answer, what was sent, and how long it took."""
    reader, writer = await connected(port)
    begun = time.perf_counter()
    writer.write(b"POST /api/v1/executions HTTP/1.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n" + HEAD)
    writer.write(b"\r\n")
    sent = 0
    answer = asyncio.ensure_future(reader.readline())
    with suppress(ConnectionError):
        while sent < GIGABYTE:
            writer.write(b"40000\r\n" + b"x" * 0x40000 + b"\r\n")
            sent += 0x40000
            await writer.drain()
    writer.close()
    with suppress(ConnectionError):
        return (await answer).decode().strip(), sent, time.perf_counter() - begun
    return "the connection broke", sent, time.perf_counter() - begun


async def rate(port: int, seconds: float) -> float:
    """Return how many requests a second eight callers get answered."""
    took = await asyncio.gather(*(asks(port, seconds) for _ in range(8)))
    return sum(map(len, took)) / seconds


async def pressed(port: int, seconds: float, work: Callable[[int], Awaitable[object]], times: int) -> float:
    """Return the p95 of healthy requests while others do something over and over."""

    async def over_and_over() -> None:
        while True:
            await work(port)

    others = [asyncio.ensure_future(over_and_over()) for _ in range(times)]
    await asyncio.sleep(1)
    found = await healthy(port, seconds)
    for each in others:
        each.cancel()
    await asyncio.wait(others)
    return found


async def measure(sockets: int, seconds: float) -> dict[str, object]:
    """Return all figures."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/zart.db"
        async with server("api", url) as (pid, port):
            await healthy(port, 1)
            alone, before = await healthy(port, seconds), memory(pid)
            slow_ones = await pressed(port, seconds, slow, sockets)
            after_slow = memory(pid)
            crowd = [asyncio.ensure_future(slow(port)) for _ in range(sockets)]
            answer, sent, took = "", 0, 0.0

            async def send(to: int) -> None:
                nonlocal answer, sent, took
                answer, sent, took = await gigabyte(to)

            both = await pressed(port, seconds, send, 1)
            after = memory(pid)
            for each in crowd:
                each.cancel()
            await asyncio.wait(crowd)
            reads = await rate(port, seconds)
        async with server("bare", url) as (_, port):
            await healthy(port, 1)
            bare = await rate(port, seconds)
    return {
        "p95_ms": {"alone": alone, "slow_sockets": slow_ones, "slow_sockets_and_gigabyte": both},
        "memory_mb": {"alone": before, "slow_sockets": after_slow, "slow_sockets_and_gigabyte": after},
        "gigabyte": {"answer": answer, "sent_mb": sent / 1e6, "seconds": took},
        "reads_per_second": {"api": reads, "bare_starlette": bare},
        "met": max(slow_ones, both) <= 3 * alone and after - before <= 50 and reads >= bare / 2,
    }


def main() -> None:
    """Measure, or serve."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--serve", nargs=2, metavar=("KIND", "URL"))
    parser.add_argument("--sockets", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=5.0)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve(*options.serve))
        return
    found = asyncio.run(measure(options.sockets, options.seconds))
    print(json.dumps(found, indent=1))
    sys.exit(not found["met"])


if __name__ == "__main__":
    main()
