"""An API on a storage, with a worker beside it, spoken to without a socket; and one served on a port."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import httpx2
import pytest
from attrs import frozen

import zart.http
from tests.http.flows import HANDLERS, registry
from zart import Worker, WorkerConfig, connect
from zart.http import AccessRules, Api, Limits
from zart.http.server import ApiServer, ConnectionLimits
from zart.scheduler import Storage
from zart.schedulers.postgres import PostgresScheduler

READ, OPERATOR = "r" * 32, "o" * 32
TOKENS = AccessRules(read=READ, operator=OPERATOR)
QUICK = Limits(stream_gap=0.02)
V1 = "/api/v1"
_numbers = count(1)


@frozen
class Spoken:
    """An API and ways to speak to it."""

    api: Api
    storage: Storage
    operator: httpx2.AsyncClient
    reader: httpx2.AsyncClient
    stranger: httpx2.AsyncClient


def client(transport: httpx2.AsyncBaseTransport, token: str | None, url: str = "http://localhost") -> httpx2.AsyncClient:
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    return httpx2.AsyncClient(transport=transport, base_url=url, headers=headers, timeout=30)


@asynccontextmanager
async def speaking(storage: Storage, **options) -> AsyncIterator[Spoken]:
    api = zart.http.asgi(storage, registry, **{"access": TOKENS, "limits": QUICK, **options})
    transport = httpx2.ASGITransport(api, client=("127.0.0.1", 50000))
    async with (
        client(transport, OPERATOR) as operator,
        client(transport, READ) as reader,
        client(transport, None) as stranger,
    ):
        yield Spoken(api, storage, operator, reader, stranger)


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def storage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Storage]:
    match request.param:
        case "memory":
            found: Storage = connect("memory://")
        case "sqlite":
            found = connect(f"sqlite:///{tmp_path / 'zart.db'}")
        case _:
            found = PostgresScheduler(request.getfixturevalue("postgres_server").dsn, schema=f"http_{next(_numbers)}")
            await found.migrate()
    async with found:
        yield found


@pytest.fixture
async def memory() -> AsyncIterator[Storage]:
    async with connect("memory://") as opened:
        yield opened


@pytest.fixture
async def idle(memory: Storage) -> AsyncIterator[Spoken]:
    """An API that nobody works for."""
    async with speaking(memory) as spoken:
        yield spoken


@pytest.fixture
async def spoken(storage: Storage) -> AsyncIterator[Spoken]:
    """An API with a worker."""
    config = WorkerConfig(poll_interval="20ms", park_after="1ms")
    async with speaking(storage) as found, Worker(storage, HANDLERS, config):
        yield found


@frozen
class Served:
    """A server on a port."""

    url: str
    server: ApiServer


@asynccontextmanager
async def serving(api: Api, limits: ConnectionLimits | None = None) -> AsyncIterator[Served]:
    """Serve an API on a free port of this machine."""
    began: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    server = ApiServer(api, limits, began.set_result)
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        task = asyncio.ensure_future(server._serve([listener]))
        await asyncio.wait([began, task], return_when=asyncio.FIRST_COMPLETED)
        try:
            yield Served(began.result(), server)
        finally:
            server.should_exit = True
            await task


async def ended(reader: asyncio.StreamReader) -> bytes:
    """Return what comes until the connection ends."""
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""
