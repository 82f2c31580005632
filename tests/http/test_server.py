"""The server on a port: connections that are slow, silent or too many; and its end."""

import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from tests.http.conftest import OPERATOR, V1, Served, client, ended, serving, speaking
from zart.http import Limits
from zart.http.server import ConnectionLimits
from zart.testing import FakeClock

HEAD = f"Host: localhost\r\nAuthorization: Bearer {OPERATOR}\r\n".encode()


@asynccontextmanager
async def connected(served: Served) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    host, port = served.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=4096)
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


@pytest.mark.parametrize("begun", [b"", b"GET /healthz HTTP/1.1\r\nHost: loc", b"\r\n\r\n"], ids=["silent", "slow", "blank"])
async def test_a_connection_without_a_request_is_ended_in_time(memory, begun):
    clock = FakeClock()
    async with (
        speaking(memory, clock=clock) as spoken,
        serving(spoken.api, ConnectionLimits(head_time=10)) as served,
        connected(served) as (reader, writer),
        client(None, None, served.url) as healthy,
    ):
        writer.write(begun)
        await writer.drain()
        assert (await healthy.get("/healthz")).status_code == 200
        clock.advance(9)
        await looks(served)
        assert not reader.at_eof()
        clock.advance(2)
        assert await ended(reader) == b""


async def looks(served: Served) -> None:
    """Have the server look for connections that are late."""
    await served.server.on_tick(0)
    await asyncio.sleep(0)


async def test_a_connection_that_is_done_with_a_request_may_dawdle_but_not_with_the_next(memory):
    clock = FakeClock()
    async with (
        speaking(memory, clock=clock) as spoken,
        serving(spoken.api, ConnectionLimits(head_time=10)) as served,
        connected(served) as (reader, writer),
    ):
        writer.write(b"GET /healthz HTTP/1.1\r\n" + HEAD + b"\r\n")
        await reader.readuntil(b'{"status":"ok"}')
        clock.advance(20)
        await looks(served)
        assert not reader.at_eof()
        writer.write(b"GET /heal")
        connection = next(iter(served.server.server_state.connections))
        while connection._deadline is None:
            await asyncio.sleep(0)
        clock.advance(11)
        assert await ended(reader) == b""


async def test_a_connection_with_a_request_is_not_ended(memory):
    clock = FakeClock()
    async with (
        speaking(memory, clock=clock) as spoken,
        serving(spoken.api) as served,
        connected(served) as (reader, writer),
    ):
        await spoken.operator.post(f"{V1}/executions", json={"task": "fails", "idempotency_key": "a"})
        writer.write(b"GET /api/v1/executions/a/wait?timeout=600 HTTP/1.1\r\n" + HEAD + b"\r\n")
        while not spoken.api.gates._held:
            await asyncio.sleep(0)
        clock.advance(100)
        await looks(served)
        await spoken.operator.post(f"{V1}/executions/a/cancel")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")


async def test_a_head_that_grows_without_end_is_cut_off(memory):
    async with (
        speaking(memory, limits=Limits(headers=4096, query=1024)) as spoken,
        serving(spoken.api) as served,
        connected(served) as (reader, writer),
    ):
        writer.write(b"GET / HTTP/1.1\r\n" + (b"X-Filler: " + b"a" * 1000 + b"\r\n") * 6)
        answer = await ended(reader)
    assert answer.startswith(b"HTTP/1.1 431")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "headers_too_large"


async def test_what_is_no_http_is_told_so_in_the_form_of_all_errors(memory):
    async with speaking(memory) as spoken, serving(spoken.api) as served, connected(served) as (reader, writer):
        writer.write(b"\x16\x03\x01 hello\r\n\r\n")
        answer = await ended(reader)
    assert answer.startswith(b"HTTP/1.1 400")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "bad_request"


async def test_the_one_that_waits_longest_makes_room(memory):
    async with (
        speaking(memory) as spoken,
        serving(spoken.api, ConnectionLimits(connections=3)) as served,
        connected(served) as (first, _),
        connected(served) as (second, _),
        connected(served),
        client(None, None, served.url) as healthy,
    ):
        assert (await healthy.get("/healthz")).status_code == 200
        assert await ended(first) == b""
        assert not second.at_eof()


async def test_room_is_made_for_each_of_those_who_come_at_once(memory):
    limit, more = 3, 9
    async with speaking(memory) as spoken, serving(spoken.api, ConnectionLimits(connections=limit)) as served:
        host, port = served.url.removeprefix("http://").split(":")
        # All are there before the server's loop turns again.
        sockets = [socket.create_connection((host, int(port))) for _ in range(limit + more)]
        opened = [await asyncio.open_connection(sock=each) for each in sockets]
        ends = [asyncio.ensure_future(ended(reader)) for reader, _ in opened]
        async with asyncio.timeout(10):
            for each in asyncio.as_completed(ends[:more]):
                assert await each == b""
        assert not any(each.done() for each in ends[more:])
        for _, writer in opened:
            writer.close()
        await asyncio.wait(ends)


async def test_a_reader_that_does_not_read_is_given_up(memory):
    clock = FakeClock()
    async with (
        speaking(memory, clock=clock) as spoken,
        serving(spoken.api, ConnectionLimits(send_time=30)) as served,
        connected(served) as (reader, writer),
    ):
        spoken.api.operations._registry = None
        big = {"task": "x", "data": "y" * 1_900_000, "idempotency_key": "a"}
        assert (await spoken.operator.post(f"{V1}/executions", json=big)).status_code == 201
        writer.write((b"GET /api/v1/executions/a HTTP/1.1\r\n" + HEAD + b"\r\n") * 20)
        while not served.server.server_state.connections:
            await asyncio.sleep(0)
        connection = next(iter(served.server.server_state.connections))
        while connection._deadline is None or connection in connection.config.waiting:
            await asyncio.sleep(0)
        clock.advance(29)
        await looks(served)
        assert connection in served.server.server_state.connections
        clock.advance(2)
        await looks(served)
        while served.server.server_state.connections:
            await asyncio.sleep(0)
        await ended(reader)


async def test_a_chunked_gigabyte_is_refused_soon_and_the_answer_is_seen(memory):
    async with (
        speaking(memory, limits=Limits(body=100_000)) as spoken,
        serving(spoken.api) as served,
        connected(served) as (reader, writer),
    ):
        writer.write(b"POST /api/v1/executions HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Type: application/json\r\n")
        writer.write(HEAD + b"\r\n")
        sent = 0
        answer = asyncio.ensure_future(reader.readline())
        with suppress(ConnectionError):
            while sent < 1_000_000_000 and not answer.done():
                writer.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
                sent += 0x10000
                await writer.drain()
        assert (await answer).startswith(b"HTTP/1.1 413")
        assert sent < 20_000_000


async def test_a_body_is_not_asked_for_before_it_is_known_who_sends_it(memory):
    async with speaking(memory) as spoken, serving(spoken.api) as served, connected(served) as (reader, writer):
        writer.write(b"POST /api/v1/executions HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 401")


async def test_several_requests_on_one_connection(memory):
    async with speaking(memory) as spoken, serving(spoken.api) as served, connected(served) as (reader, writer):
        writer.write((b"GET /healthz HTTP/1.1\r\n" + HEAD + b"\r\n") * 3)
        writer.write(b"GET /healthz HTTP/1.1\r\nConnection: close\r\n" + HEAD + b"\r\n")
        assert (await ended(reader)).count(b"HTTP/1.1 200 OK") == 4


def test_what_measures_the_pressure_works():
    command = [sys.executable, "-m", "tests.http.pressure", "--sockets", "10", "--seconds", "0.5"]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=50, check=False)
    found = json.loads(done.stdout)
    assert "413" in found["gigabyte"]["answer"]
    assert found["memory_mb"]["slow_sockets_and_gigabyte"] - found["memory_mb"]["alone"] <= 50
    assert found["reads_per_second"]["api"] > 0
