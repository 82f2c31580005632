"""Bodies, heads and queries that are too much, and callers who ask too much at once."""

import asyncio
import gzip
import json

import pytest

from tests.http.conftest import OPERATOR, V1, speaking
from zart import StorageUnavailable
from zart.http import Limits
from zart.http.bodies import parse_json
from zart.http.limits import Gates, Rates
from zart.http.refusals import Refusal
from zart.testing import FakeClock

JSON = {"content-type": "application/json"}


def scope_of(method, path, query=b"", *, chunked=False):
    headers = [(b"host", b"localhost"), (b"authorization", f"Bearer {OPERATOR}".encode())]
    if chunked:
        headers += [(b"transfer-encoding", b"chunked"), (b"content-type", b"application/json")]
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query,
        "root_path": "",
        "client": ("127.0.0.1", 1),
        "headers": headers,
    }


SMALL = Limits(body=1000, stream_gap=0.01, waits=2, streams=1, concurrency=2, buffered=1500)


async def test_a_body_is_counted_while_it_is_read_however_it_comes(memory):
    sent = 0

    async def endless():
        nonlocal sent
        for _ in range(1000):
            sent += 1
            yield b"x" * 100

    async with speaking(memory, limits=SMALL) as spoken:
        chunked = await spoken.operator.post(f"{V1}/events/a/b", content=endless(), headers=JSON)
        declared = await spoken.operator.post(f"{V1}/events/a/b", content=b"x" * 1001, headers=JSON)
        just = await spoken.operator.post(f"{V1}/executions", content=b'{"task":"fails"}'.ljust(1000), headers=JSON)
    assert (chunked.status_code, chunked.json()["code"]) == (413, "body_too_large")
    assert (declared.status_code, declared.json()["code"]) == (413, "body_too_large")
    assert chunked.headers["connection"] == "close"
    assert just.status_code == 201


async def test_reading_stops_at_the_limit_and_soon_after_it(memory):
    taken = 0

    async def receive():
        nonlocal taken
        taken += 1
        return {"type": "http.request", "body": b"x" * 100_000, "more_body": True}

    answers = []

    async def send(message):
        answers.append(message)

    async with speaking(memory, limits=Limits(body=1_000_000)) as spoken:
        scope = scope_of("POST", f"{V1}/executions", chunked=True)
        await spoken.api(scope, receive, send)
    assert answers[0]["status"] == 413
    assert 10 <= taken <= 60  # what is allowed, and a little that is swallowed so that the answer is seen


async def test_a_body_that_does_not_come_is_given_up(memory):
    clock = FakeClock()
    transport_wait = asyncio.Event()

    async def receive():
        transport_wait.set()
        await asyncio.Event().wait()

    answers = []

    async def send(message):
        answers.append(message)

    async with speaking(memory, clock=clock, limits=Limits(body_time=30)) as spoken:
        scope = scope_of("POST", f"{V1}/executions", chunked=True)
        call = asyncio.ensure_future(spoken.api(scope, receive, send))
        await transport_wait.wait()
        clock.advance(29)
        await asyncio.sleep(0)
        assert not answers
        transport_wait.clear()
        clock.advance(1)
        await transport_wait.wait()  # the answer is sent, and what may still come is swallowed
        assert answers[0]["status"] == 408
        clock.advance(2)
        await call
    assert answers[-1]["more_body"] is False


async def test_bodies_that_come_together_have_one_limit(memory):
    async with speaking(memory, limits=SMALL) as spoken:
        gates = spoken.api.gates
        gates.buffered = 900
        refused = await spoken.operator.post(f"{V1}/events/a/b", content=b" " * 700, headers=JSON)
        assert (refused.status_code, refused.json()["code"]) == (503, "overloaded")
        assert gates.buffered == 900
        gates.buffered = 0
        assert (await spoken.operator.post(f"{V1}/events/a/b", content=b"1".ljust(700), headers=JSON)).status_code == 404
        assert gates.buffered == 0


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (gzip.compress(b'{"task":"fails"}', mtime=0), JSON | {"content-encoding": "gzip"}, 415),
        (b'{"task":"fails"}', {"content-type": "text/plain"}, 415),
        (b'{"task":"fails"}', {"content-type": "application/json; charset=utf-16"}, 415),
        (b'{"task":"fails"}', {}, 415),
        (b'{"task":"fails"}', {"content-type": 'application/json; charset="UTF-8"'}, 201),
        (b'{"task":"fails"}', JSON | {"content-encoding": "identity"}, 201),
        (b"", JSON, 400),
        (b"\xff", JSON, 400),
        (b"{'task':1}", JSON, 400),
        (b'{"task":"fails"} x', JSON, 400),
    ],
)
async def test_a_body_is_json_that_says_so(idle, content, headers, status):
    assert (await idle.operator.post(f"{V1}/executions", content=content, headers=headers)).status_code == status


@pytest.mark.parametrize(
    "text",
    [
        "[" * 200_000,
        "[" * 65 + "]" * 65,
        '{"a":' * 65 + "1" + "}" * 65,
        json.dumps(list(range(10_001))),
        json.dumps({str(each): 1 for each in range(10_001)}),
        json.dumps([[1] * 101] * 100),
        "1" * 401,
        "-" + "1" * 400,
        "NaN",
        "[Infinity]",
        "1e999",
        "[" * 63 + "-1e400" + "]" * 63,
        "",
    ],
    ids=lambda text: text[:12] or "nothing",
)
def test_json_above_a_limit_is_refused(text):
    with pytest.raises(Refusal) as caught:
        parse_json(text.encode(), Limits())
    assert (caught.value.code, caught.value.status) == ("invalid_json", 400)


@pytest.mark.parametrize("value", [int("1" * 400), [[]] * 5000, 1e308, "x" * 100_000, None])
def test_json_below_the_limits_is_taken(value):
    assert parse_json(json.dumps(value).encode(), Limits()) == value
    for inside in (b"", b"1"):
        assert parse_json(b"[" * 64 + inside + b"]" * 64, Limits())


async def test_heads_and_queries_have_limits(idle):
    long = await idle.reader.get(f"{V1}/executions?task={'a' * 9000}")
    assert (long.status_code, long.json()["code"]) == (414, "uri_too_long")
    large = await idle.reader.get(f"{V1}/executions", headers={"x-filler": "a" * 17_000})
    assert (large.status_code, large.json()["code"]) == (431, "headers_too_large")


async def test_long_polls_have_places_by_caller(memory):
    async with speaking(memory, limits=SMALL) as spoken:
        await spoken.operator.post(f"{V1}/executions", json={"task": "fails", "idempotency_key": "a"})
        path = f"{V1}/executions/a/wait?timeout=600"
        polls = [asyncio.ensure_future(spoken.reader.get(path)) for _ in range(2)]
        while len(spoken.api.gates._held) < 1 or sum(spoken.api.gates._held.values()) < 2:
            await asyncio.sleep(0)
        third = await spoken.reader.get(path)
        assert (third.status_code, third.json()["code"]) == (429, "too_many_requests")
        assert third.headers["retry-after"] == "1"
        assert (await spoken.operator.get(f"{V1}/executions/a/wait?timeout=0")).status_code == 202
        spoken.api.closing.set()  # a server that stops answers at once
        assert [(await poll).status_code for poll in polls] == [202, 202]
        assert not spoken.api.gates._held


async def test_quick_requests_have_places_together_and_health_needs_none(idle):
    gates, limits = idle.api.gates, idle.api.limits
    gates.quick = limits.concurrency
    refused = await idle.reader.get(f"{V1}/tasks")
    assert (refused.status_code, refused.json()["code"], refused.headers["retry-after"]) == (503, "overloaded", "1")
    assert (await idle.stranger.get("/healthz")).status_code == 200
    gates.quick = 0
    assert (await idle.reader.get(f"{V1}/tasks")).status_code == 200
    assert gates.quick == 0


async def test_a_page_ends_when_its_values_are_large(memory):
    async with speaking(memory, limits=Limits(page=2500)) as spoken:
        spoken.api.operations._registry = None
        for number in range(4):
            body = {"task": "x", "data": "y" * 1000, "idempotency_key": f"k{number}"}
            await spoken.operator.post(f"{V1}/executions", json=body)
        first = (await spoken.reader.get(f"{V1}/executions?order=asc")).json()
        assert [each["execution_id"] for each in first["executions"]] == ["k0", "k1"]
        rest = (await spoken.reader.get(f"{V1}/executions?order=asc&after={first['next']}")).json()
        assert ([each["execution_id"] for each in rest["executions"]], rest["next"]) == (["k2", "k3"], None)


async def test_a_database_that_hangs_is_unavailable(memory):
    clock = FakeClock()
    async with speaking(memory, clock=clock) as spoken:
        asked = asyncio.Event()

        async def hangs(*_):
            asked.set()
            await asyncio.Event().wait()

        spoken.api.operations.client.scheduler.get = hangs
        call = asyncio.ensure_future(spoken.reader.get(f"{V1}/executions/a"))
        await asked.wait()
        clock.advance(15)
        answer = await call
    assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (503, "storage_unavailable", "5")


async def test_the_database_is_asked_whether_it_answers_once_a_second_at_most(memory):
    clock, asked = FakeClock(), []
    async with speaking(memory, clock=clock) as spoken:

        async def get(*_):
            asked.append(1)
            if len(asked) == 2:
                raise StorageUnavailable("gone: postgres://user:secret@host")

        spoken.api.operations.client.scheduler.get = get
        statuses = []
        for seconds in (0, 0.9, 0.1, 0, 1):
            clock.advance(seconds)
            answer = await spoken.stranger.get("/readyz")
            statuses.append(answer.status_code)
            assert "secret" not in answer.text
    assert statuses == [200, 200, 503, 200, 200]
    assert len(asked) == 4


async def test_a_caller_who_goes_away_is_waited_for_no_longer(memory):
    async with speaking(memory) as spoken:
        await spoken.operator.post(f"{V1}/executions", json={"task": "fails", "idempotency_key": "a"})
        gone = asyncio.Event()

        async def receive():
            await gone.wait()
            return {"type": "http.disconnect"}

        sent = []

        async def send(message):
            sent.append(message)

        path = f"{V1}/executions/a/wait"
        scope = scope_of("GET", path, b"timeout=3600")
        call = asyncio.ensure_future(spoken.api(scope, receive, send))
        while not spoken.api.gates._held:
            await asyncio.sleep(0)
        gone.set()
        await call
        assert not sent
        assert not spoken.api.gates._held


def test_buckets_fill_with_time_up_to_their_size():
    clock = FakeClock()
    rates = Rates(clock, rate=2, burst=3)
    for _ in range(3):
        assert not rates.is_empty("a")
        rates.take("a")
    assert rates.is_empty("a")
    assert not rates.is_empty("b")
    clock.advance(0.5)
    assert not rates.is_empty("a")
    clock.advance(100)
    for _ in range(3):
        rates.take("a")
    assert rates.is_empty("a")


def test_a_place_is_given_back_whatever_happens():
    gates = Gates(SMALL)
    with pytest.raises(LookupError), gates.place("plain", "a"):
        raise LookupError
    assert gates.quick == 0


@pytest.mark.parametrize("bad", [{"body": 0}, {"rate": 0}, {"longest_wait": -1}, {"waits": True}])
def test_limits_that_make_no_sense_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        Limits(**bad)
