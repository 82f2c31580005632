"""The HTTP client: the same calls and errors as the client with the database at hand."""

import asyncio
import inspect
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import httpx2
import pytest

from tests.http.conftest import OPERATOR, READ, Spoken, speaking
from tests.http.flows import Approval, Fails, Order, Pipeline, Strange
from zart import (
    Delivery,
    DeserializationError,
    DurableScheduler,
    ExecutionAlreadyExists,
    ExecutionFailed,
    ExecutionFinished,
    ExecutionNotFound,
    IdempotencyMismatch,
    NotSupported,
    PayloadTooLarge,
    SchedulerError,
    StorageUnavailable,
    UnknownTask,
    WaitTimedOut,
)
from zart.http import wire
from zart.http.client import HttpScheduler
from zart.http.refusals import Refusal
from zart.testing import FakeClock


def needs_the_database(name: str) -> bool:
    """Whether a method is of use only where the database is at hand; servers are there too."""
    return name.endswith("_in") or name in {"ended", "traced"}


def remote(spoken: Spoken, token: str | None = OPERATOR, **options: Any) -> HttpScheduler:
    transport = httpx2.ASGITransport(spoken.api, client=("127.0.0.1", 50000))
    return HttpScheduler("http://localhost", token, transport=transport, **options)


def test_the_methods_are_those_of_the_other_client():
    def public(kind):
        found = {name: value for name, value in vars(kind).items() if not name.startswith("_") and callable(value)}
        return {name: value for name, value in found.items() if not needs_the_database(name)}

    ours, theirs = public(HttpScheduler), public(DurableScheduler)
    assert set(theirs) <= set(ours)
    for name in set(theirs):
        assert list(inspect.signature(ours[name]).parameters) == list(inspect.signature(theirs[name]).parameters)


async def test_the_whole_way_with_types(spoken):
    async with remote(spoken) as client:
        handle = await client.start_for(Pipeline, "p/1", Order("a", 4))
        assert (handle.run, handle.task_name) == (1, "pipeline")
        assert await handle.send("approval", Approval(approved=True), event_id="e") is Delivery.RECORDED
        assert await handle.result("20s") == {"rows_written": 8}
        assert (await client.start_for(Pipeline, "p/1", Order("a", 4))).run == 1
        assert await client.wait_for(Pipeline, "p/1", 5) == {"rows_written": 8}
        assert await client.wait_completion_with_timeout("p/1", dict[str, int], 5) == {"rows_written": 8}


async def test_records_are_those_of_the_other_client(spoken):
    direct = DurableScheduler(spoken.storage)
    async with remote(spoken, READ) as client:
        await direct.start("p", "pipeline", {"dataset": "a", "rows": 1})
        await direct.start("f", "fails")
        for key in ("p", "f"):
            await direct.offer_event("p", "approval", {"approved": True}) if key == "p" else None
            await client.wait(key, 20)
            assert await client.status(key) == await direct.status(key)
        listed = [each.execution_id for each in await client.list_executions(limit=1)]
        assert listed == [each.execution_id for each in await direct.list_executions(limit=1)]
        assert await client.list_executions(steps=True) == await direct.list_executions(steps=True)
        failed = await client.list_executions(status="failed", task_name="fails", order="asc")
        assert [each.execution_id for each in failed] == ["f"]


async def test_what_json_cannot_say_comes_back_whole_and_is_not_sent(spoken):
    async with remote(spoken) as client:
        found = await client.start_and_wait_for(Strange, "s", None, 20)
        assert found != found  # noqa: PLR0124 # NaN
        with pytest.raises(NotSupported, match="NaN"):
            await client.start("x", "pipeline", {"dataset": float("nan")})


async def test_failures_are_raised_as_they_were(spoken):
    async with remote(spoken) as client:
        with pytest.raises(ExecutionFailed, match="no such table"):
            await client.start_and_wait_for(Fails, "f", None, 20)


async def test_errors_are_those_of_the_other_client(idle):
    async with remote(idle) as client:
        await client.start("a", "fails")
        with pytest.raises(ExecutionNotFound, match="'nobody'"):
            await client.status("nobody")
        with pytest.raises(ExecutionNotFound, match="run 7"):
            await client.status("a", 7)
        with pytest.raises(IdempotencyMismatch, match="another task"):
            await client.start("a", "endless")
        with pytest.raises(UnknownTask, match="registered: "):
            await client.start("b", "nobody")
        with pytest.raises(DeserializationError, match=r"data\.dataset"):
            await client.start("b", "pipeline", {"rows": 1})
        with pytest.raises(PayloadTooLarge, match="2,097,152"):
            await client.offer_event("a", "x", "y" * 2_100_000)
        with pytest.raises(WaitTimedOut):
            await client.wait("a", 0.01)
        with pytest.raises(ValueError, match="delay and at"):
            await client.start("b", "fails", delay=1, at=datetime.now(UTC))
        assert await client.cancel("a") is True
        assert await client.cancel("a") is False
        with pytest.raises(ExecutionFinished):
            await client.offer_event("a", "x")
        handle = await client.start("a", "fails", reuse="failed")
        assert handle.run == 2
        await client.cancel("a")
        with pytest.raises(ExecutionAlreadyExists) as caught:
            await _completed(idle, client)
        assert caught.value.status == "completed"


async def _completed(idle, client):
    """Ask for another run of what has completed, where only failed ones may be run again."""

    async def submit(_call):
        raise ExecutionAlreadyExists("a", idle_status)

    idle_status = (await client.status("a")).status.COMPLETED
    idle.api.operations.start = submit
    await client.start("a", "fails", reuse="failed")


async def test_tokens_that_may_not_are_told_so(idle):
    async with remote(idle, READ) as reader, remote(idle, "wrong") as stranger:
        with pytest.raises(PermissionError, match="operator token"):
            await reader.cancel("a")
        with pytest.raises(PermissionError, match="token is missing or wrong"):
            await stranger.status("a")
        assert OPERATOR not in repr(remote(idle)) + repr(vars(remote(idle)))


async def advancing(clock: FakeClock, work):
    """Return what a call comes to whose pauses pass at once."""
    call = asyncio.ensure_future(work)
    while not call.done():
        clock.advance(0.5)
        await asyncio.sleep(0)
    return await call


async def test_a_call_that_the_server_could_not_answer_is_repeated_and_starts_once(idle):
    clock, calls = FakeClock(), []
    start = idle.api.operations.start

    async def unlucky(call):
        calls.append(call.body)
        reply = await start(call)
        if len(calls) < 3:
            raise StorageUnavailable("gone after the commit")
        return reply

    idle.api.operations.start = unlucky
    async with remote(idle, clock=clock) as client:
        handle = await advancing(clock, client.start("a", "fails", reuse="ended"))
        assert (handle.run, len(calls)) == (1, 3)
        assert len({body.start_key for body in calls}) == 1


async def test_a_server_that_stays_away_is_unavailable(idle):
    clock, calls = FakeClock(), []

    def refuse(request):
        calls.append(request)
        raise httpx2.ConnectError("refused")

    client = HttpScheduler("http://localhost", OPERATOR, transport=httpx2.MockTransport(refuse), clock=clock)
    async with client:
        with pytest.raises(StorageUnavailable, match="http://localhost cannot be reached"):
            await advancing(clock, client.status("a"))
    assert len(calls) == 4


@pytest.mark.parametrize(("status", "kind"), [(200, SchedulerError), (404, StorageUnavailable), (502, StorageUnavailable)])
async def test_something_else_that_answers_is_told_from_a_server(status, kind):
    clock = FakeClock()
    transport = httpx2.MockTransport(lambda _: httpx2.Response(status, text="<html>a proxy</html>"))
    async with HttpScheduler("http://localhost", transport=transport, clock=clock) as client:
        with pytest.raises(kind, match="look at the URL"):
            await advancing(clock, client.status("a"))


async def test_the_server_says_when_to_come_back(memory):
    clock = FakeClock()
    async with speaking(memory, clock=clock) as spoken:
        moments = []

        async def busy(_call):
            moments.append(clock.monotonic())
            raise Refusal("overloaded", "busy", headers={"retry-after": "8"})

        spoken.api.operations.tasks = busy
        async with remote(spoken, clock=clock) as client:
            with pytest.raises(StorageUnavailable, match="busy"):
                await advancing(clock, client.tasks())
        assert all(later - sooner >= 4 for sooner, later in pairwise(moments))


async def test_following_goes_on_where_a_connection_broke(memory, monkeypatch):
    monkeypatch.setattr("zart.http.client.FIRST_PAUSE", 0.001)
    async with speaking(memory) as spoken:
        direct = DurableScheduler(memory)
        await direct.start("a", "fails")
        await direct.cancel("a")
        asked = []

        class Breaking(httpx2.AsyncBaseTransport):
            async def handle_async_request(self, request):
                asked.append(request.headers.get("last-event-id"))
                if len(asked) == 2:
                    raise httpx2.ReadError("broken")
                if asked[-1] is None:
                    turn = b'id: 1\r\nevent: step\r\ndata: {"turn":1,"name":"s","kind":"step","phase":"outcome","ok":true,'
                    turn += b'"attempts":1,"result":2,"error":null,"due_at":null,"at":"2026-01-01T00:00:00Z"}\r\n\r\n: ping\r\n'
                    return httpx2.Response(200, content=turn)
                inner = httpx2.ASGITransport(spoken.api, client=("127.0.0.1", 1))
                return await inner.handle_async_request(request)

        async with HttpScheduler("http://localhost", OPERATOR, transport=Breaking()) as client:
            found = [each async for each in client.follow("a")]
            with pytest.raises(ExecutionNotFound):
                await anext(client.follow("nobody", after="1"))
    assert asked[:3] == [None, "1", "1"]
    assert [type(each) for _, each in found] == [wire.Turn, wire.Execution]
    assert found[-1][1].status == "cancelled"


async def test_ids_of_dots_and_slashes_find_their_way(idle):
    async with remote(idle) as client:
        for key in ("a/b", "..", ".", "%2F", "ä b?#"):
            await client.start(key, "fails")
            assert (await client.status(key)).execution_id == key
