"""Measures what the HTTP API adds to the database: GET of one execution beside a bare route, lists over few and many rows.

`python -m benchmarks.http` starts a PostgreSQL server, `zart serve`, a bare Starlette route that does one SELECT with asyncpg,
and a generator of load, each in a process of its own. What is compared takes turns within each round; the table shows medians.
On a busy machine look at the processor's time for one request, which others disturb less than the rate.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import uvicorn
from attrs import frozen
from rich.console import Console
from rich.table import Table
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from benchmarks.child import end_with_parent, processor_time
from benchmarks.fill import copies_of
from benchmarks.loop import fast_loop
from benchmarks.server import fresh_database, server, versions
from zart import DurableScheduler, Registry, Worker, WorkerConfig, connect
from zart.cli.bench.flow import Order, Sequential

_TOKEN = "a-token-of-the-benchmark"  # noqa: S105 # opens nothing but the server that is started here
_CONNECTIONS = 16
_POOL = 8
_STEPS = 5
_PAGE = 50
_FEW = 1_000
_WARM = 3.0
"""Seconds of the first turn, which does not count: there are modules to be imported, and plans to be made."""


@frozen
class Load:
    """What a generator of load asks for: `path` of a server on a port of this machine, for so many seconds."""

    port: int
    path: str
    seconds: float

    def written(self) -> str:
        """Return it as text."""
        return json.dumps([self.port, self.path, self.seconds])


@frozen
class Measured:
    """Requests a second, and milliseconds of the server's processor for one."""

    rate: float
    processor: float


# ---- the generator of load ------------------------------------------------------------------------------------------


class _Asking(asyncio.Protocol):
    """A connection that asks again as soon as it is answered."""

    def __init__(self, request: bytes) -> None:
        self.answered = 0
        self.failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._request = request
        self._buffer = b""
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._transport.write(self._request)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.failure.done():
            self.failure.set_exception(exc or ConnectionError("the server has closed the connection"))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, ended, body = self._buffer.partition(b"\r\n\r\n")
        if not ended:
            return
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(body) < length:
            return
        if not head.startswith(b"HTTP/1.1 200"):
            self.failure.set_exception(RuntimeError(self._buffer.decode("latin-1")))
            return
        self._buffer = body[length:]
        self.answered += 1
        self._transport.write(self._request)


async def _ask(load: Load, connections: int) -> float:
    """Return requests a second."""
    lines = (
        f"GET {load.path} HTTP/1.1",
        f"host: 127.0.0.1:{load.port}",
        f"authorization: Bearer {_TOKEN}",
        "accept: application/json",
    )
    request = "\r\n".join((*lines, "\r\n")).encode("ascii")
    loop = asyncio.get_running_loop()
    began = time.perf_counter()
    made = [await loop.create_connection(lambda: _Asking(request), "127.0.0.1", load.port) for _ in range(connections)]
    failures = [protocol.failure for _, protocol in made]
    failed, _ = await asyncio.wait(failures, timeout=load.seconds, return_when=asyncio.FIRST_COMPLETED)
    took = time.perf_counter() - began
    for failure in failed:
        failure.result()
    answered = sum(protocol.answered for _, protocol in made)
    for transport, protocol in made:
        protocol.failure.cancel()
        transport.close()
    return answered / took


def _loaded(load: Load, served: int, connections: int = _CONNECTIONS) -> Measured:
    """Put a load on a server, whose process is given, from a process of its own."""
    before = processor_time(served)
    said = subprocess.run(  # noqa: S603 # our own module
        [sys.executable, "-m", "benchmarks.http", "load", load.written(), str(connections)],
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    rate = float(said)
    spent = processor_time(served) - before
    return Measured(rate, 1000 * spent / (rate * load.seconds))


# ---- the servers ----------------------------------------------------------------------------------------------------


def _bare(url: str, port_to: Any) -> None:
    """Serve one route that does one SELECT, as `zart serve` serves: uvicorn, httptools, uvloop."""
    pools: list[Any] = []

    @asynccontextmanager
    async def opened(_: Starlette) -> Any:
        # One SELECT, and not a second statement that cleans up after it.
        async with asyncpg.create_pool(url, min_size=_POOL, max_size=_POOL, reset=_leave) as pool:
            pools.append(pool)
            yield

    async def show(request: Request) -> JSONResponse:
        row = await pools[0].fetchrow(
            "SELECT id, run, task, status, payload, result FROM zart_executions WHERE id = $1 ORDER BY run DESC LIMIT 1",
            request.path_params["id"],
        )
        shown = dict(row)
        for name in ("payload", "result"):
            shown[name] = json.loads(shown[name])
        return JSONResponse(shown)

    app = Starlette(routes=[Route("/executions/{id}", show)], lifespan=opened)
    config = uvicorn.Config(app, port=0, log_level="error", access_log=False, http="httptools")

    async def serve() -> None:
        running = uvicorn.Server(config)
        serving = asyncio.ensure_future(running.serve())
        while not running.started and not serving.done():  # it has nothing to wait for
            await asyncio.sleep(0.01)
        port_to.write(f"{running.servers[0].sockets[0].getsockname()[1]}\n")
        port_to.flush()
        await serving

    with asyncio.Runner(loop_factory=fast_loop()) as runner:
        runner.run(serve())


async def _leave(_: object) -> None:
    """Leave a connection as it is."""


@frozen
class Served:
    """A server that runs: its process and its port."""

    process: int
    port: int


@contextmanager
def _bare_server(url: str) -> Iterator[Served]:
    command = [sys.executable, "-m", "benchmarks.http", "bare", url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        try:
            assert process.stdout is not None  # noqa: S101 # it is a pipe
            yield Served(process.pid, int(process.stdout.readline()))
        finally:
            process.terminate()


@contextmanager
def _zart_server(url: str) -> Iterator[Served]:
    command = [sys.executable, "-m", "zart.cli", "serve", "--port", "0", "--database-url", url]
    environment = {**os.environ, "ZART_READ_TOKEN": _TOKEN}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:  # noqa: S603
        try:
            assert process.stderr is not None  # noqa: S101 # it is a pipe
            said = [""]
            while " at http://" not in said[-1]:
                said.append(process.stderr.readline())
                if not said[-1]:
                    raise RuntimeError(f"zart serve has ended: {''.join(said)}")
            yield Served(process.pid, int(said[-1].rstrip().rpartition(":")[2]))
        finally:
            process.terminate()


# ---- the measurement ------------------------------------------------------------------------------------------------


async def _prepare(url: str, rows: int) -> str:
    """Fill a database with executions that have ended, and return the id of one that has really run."""
    execution_id = "0000-measured"
    async with AsyncExitStack() as stack:
        storage = await stack.enter_async_context(connect(url))
        await storage.migrate()
        client = DurableScheduler(storage)
        async with Worker(storage, Registry([Sequential()]), WorkerConfig(max_concurrent=4)):
            await client.start_for(Sequential, execution_id, Order(_STEPS, "ada@example.com"))
            await client.wait(execution_id, "30s")
    await copies_of(url, execution_id, rows - 1)
    return execution_id


def _measure(few: str, many: str | None, rows: int, rounds: int, seconds: float) -> dict[str, list[Measured]]:
    found: dict[str, list[Measured]] = {}
    execution_id = asyncio.run(_prepare(few, _FEW))
    if many is not None:
        asyncio.run(_prepare(many, rows))
    with ExitStack() as stack:
        bare, zart = stack.enter_context(_bare_server(few)), stack.enter_context(_zart_server(few))
        subjects = {
            "bare route": (bare, f"/executions/{execution_id}", _CONNECTIONS),
            "GET of one": (zart, f"/api/v1/executions/{execution_id}", _CONNECTIONS),
            f"list, {_FEW:,} rows": (zart, f"/api/v1/executions?limit={_PAGE}", 1),
        }
        if many is not None:
            vast = stack.enter_context(_zart_server(many))
            subjects[f"list, {rows:,} rows"] = (vast, f"/api/v1/executions?limit={_PAGE}", 1)
        for number in range(rounds + 1):
            for name, (served, path, connections) in subjects.items():
                measured = _loaded(Load(served.port, path, seconds if number else _WARM), served.process, connections)
                if number:  # the first round warms up
                    found.setdefault(name, []).append(measured)
    return found


def _table(found: dict[str, list[Measured]]) -> Table:
    table = Table("", "requests/s", "ms of processor", "rate / base", "processor / base", title="HTTP API, medians")
    for name, measured in found.items():
        base = found["bare route"] if name in {"bare route", "GET of one"} else found[f"list, {_FEW:,} rows"]
        rates = statistics.median(each.rate / other.rate for each, other in zip(measured, base, strict=True))
        spent = statistics.median(each.processor / other.processor for each, other in zip(measured, base, strict=True))
        rate, processor = (statistics.median(getattr(each, what) for each in measured) for what in ("rate", "processor"))
        table.add_row(name, f"{rate:,.0f}", f"{processor:.3f}", f"{rates:.2f}", f"{spent:.2f}")
    return table


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks.http", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="how often each takes its turn (5)")
    parser.add_argument("--seconds", type=float, default=1.0, help="how long a turn lasts (1)")
    parser.add_argument(
        "--rows", type=int, default=1_000_000, help=f"rows of the long list beside {_FEW:,}; 0: none (1,000,000)"
    )
    parser.add_argument("--scratch", type=Path, default=Path(".bench"), help="where files go meanwhile (.bench)")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> None:
    """Measure, and print the table."""
    match arguments:
        case ["load", load, connections]:
            with asyncio.Runner(loop_factory=fast_loop()) as runner:
                sys.stdout.write(f"{runner.run(_ask(Load(*json.loads(load)), int(connections)))}\n")
            return
        case ["bare", url]:
            end_with_parent()
            _bare(url, sys.stdout)
            return
    asked = _options(arguments)
    asked.scratch.mkdir(parents=True, exist_ok=True)
    with server(versions()[0], asked.scratch) as running:
        many = fresh_database(running, "many") if asked.rows else None
        found = _measure(fresh_database(running, "few"), many, asked.rows, asked.rounds, asked.seconds)
    Console().print(_table(found))


if __name__ == "__main__":
    main(sys.argv[1:])
