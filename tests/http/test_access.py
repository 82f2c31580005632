"""Who may do what: every route with every token, where requests may come from, and what becomes of tokens."""

import logging

import httpx2
import pytest
from attrs import evolve

import zart.http
from tests.http.conftest import OPERATOR, READ, TOKENS, V1, client, speaking
from tests.http.flows import registry
from zart.http import Access, AccessRules, Caller, Limits
from zart.http.application import EndpointRoute
from zart.http.endpoints import ENDPOINTS, Endpoint, Way
from zart.testing import FakeClock

BY_TOKEN = {"stranger": Access.PUBLIC, "reader": Access.READ, "operator": Access.OPERATOR}
RANK = [Access.PUBLIC, Access.READ, Access.OPERATOR]


def asked(endpoint: Endpoint) -> str:
    return endpoint.path.replace("{execution_id}", "x").replace("{name}", "e")


def expected(endpoint: Endpoint, who: str) -> int | None:
    """Return the refusal that is due, None for none."""
    if RANK.index(BY_TOKEN[who]) >= RANK.index(endpoint.access):
        return None
    return 401 if who == "stranger" else 403


@pytest.mark.parametrize("who", BY_TOKEN)
@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.name)
async def test_every_route_with_every_token(memory, endpoint, who):
    async with speaking(memory, limits=Limits(longest_stream=0.02, stream_gap=0.01)) as spoken:
        answer = await getattr(spoken, who).request(endpoint.method, asked(endpoint))
    refusal = expected(endpoint, who)
    assert answer.status_code == refusal or (refusal is None and answer.status_code not in {401, 403})
    if refusal == 401:
        assert answer.headers["www-authenticate"].startswith("Bearer")


def test_all_routes_are_those_of_the_table(memory):
    routes = zart.http.asgi(memory, access=TOKENS).routes
    assert all(isinstance(route, EndpointRoute) for route in routes)
    assert [route.endpoint for route in routes] == list(ENDPOINTS)


def test_an_endpoint_without_a_declared_access_cannot_be_made():
    with pytest.raises(TypeError, match="access"):
        Endpoint(name="x", method="GET", path="/x", summary="x", results={})


def test_what_changes_something_is_the_operators():
    changing = [each for each in ENDPOINTS if each.way is not Way.AGENT]  # whose tools have an access each
    assert all((each.access is Access.OPERATOR) == (each.method == "POST") for each in changing)


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer ", f"Basic {OPERATOR}", f"Bearer {OPERATOR}x", f"Bearer {OPERATOR[:-1]}", OPERATOR, "Bearer \xff"],
)
async def test_what_is_no_token_is_refused(idle, header):
    answer = await idle.stranger.get(f"{V1}/tasks", headers={"authorization": header.encode("latin-1")})
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")


async def test_a_token_in_the_query_is_none(idle):
    assert (await idle.stranger.get(f"{V1}/tasks?token={OPERATOR}")).status_code == 401


async def test_tokens_can_be_replaced_without_a_gap(memory):
    rules = AccessRules.from_environment({"ZART_OPERATOR_TOKEN": f"old-{OPERATOR}, new-{OPERATOR}"})
    async with speaking(memory, access=rules) as spoken:
        for token in (f"old-{OPERATOR}", f"new-{OPERATOR}"):
            answer = await spoken.stranger.get(f"{V1}/tasks", headers={"authorization": f"Bearer {token}"})
            assert answer.status_code == 200


def test_a_token_is_of_one_scope_and_printable():
    with pytest.raises(ValueError, match="both"):
        AccessRules(read="a" * 20, operator="a" * 20)
    with pytest.raises(ValueError, match="ASCII"):
        AccessRules(read="ä" * 20)


async def test_a_hook_may_know_others(memory):
    async def by_session(headers):
        return Caller("alice", Access.READ) if headers.get("cookie") == "session=1" else None

    async with speaking(memory, access=evolve(TOKENS, authenticate=by_session)) as spoken:
        alice = {"cookie": "session=1"}
        assert (await spoken.stranger.get(f"{V1}/tasks", headers=alice)).status_code == 200
        assert (await spoken.stranger.post(f"{V1}/executions/x/cancel", headers=alice)).status_code == 403
        assert (await spoken.stranger.get(f"{V1}/tasks")).status_code == 401
        assert (await spoken.reader.get(f"{V1}/tasks")).status_code == 200


async def test_tokens_and_payloads_are_never_told(memory, caplog):
    caplog.set_level(logging.DEBUG)
    secret = "canary-9f3"
    async with speaking(memory) as spoken:
        assert OPERATOR not in repr(spoken.api.access)
        wrong = {"authorization": f"Bearer {secret}"}
        answers = [await spoken.stranger.get(f"{V1}/tasks", headers=wrong)]
        body = {"task": "pipeline", "data": {"dataset": secret}, "idempotency_key": "a"}
        answers.append(await spoken.operator.post(f"{V1}/executions", json=body))

        async def broken(*_):
            raise RuntimeError(f"no such host postgres://u:{secret}@db")

        spoken.api.operations.client.scheduler.find = broken
        answers.append(await spoken.reader.get(f"{V1}/executions"))
    assert [answer.status_code for answer in answers] == [401, 201, 500]
    assert answers[-1].json()["code"] == "internal"
    assert not any(secret in answer.text for answer in answers)
    assert "RuntimeError" in caplog.text
    assert "find" in caplog.text or "list_executions" in caplog.text  # where it was
    assert secret not in caplog.text
    assert OPERATOR not in caplog.text


async def test_each_change_leaves_a_line(idle, caplog):
    caplog.set_level(logging.INFO, "zart.http.audit")
    await idle.operator.post(f"{V1}/executions", json={"task": "fails", "idempotency_key": "a"})
    await idle.operator.post(f"{V1}/executions/a/cancel")
    await idle.reader.get(f"{V1}/executions/a")
    lines = [record.getMessage() for record in caplog.records if record.name == "zart.http.audit"]
    assert len(lines) == 2
    assert lines[0].startswith("start 'a': 201, by operator:")
    assert lines[1].startswith("cancel 'a': 200, by operator:")
    assert all(line.endswith("from 127.0.0.1") for line in lines)


# ---- without tokens -----------------------------------------------------------------------------------------------


def sent_from(api, address: str, host: str = "localhost:7700") -> httpx2.AsyncClient:
    return client(httpx2.ASGITransport(api, client=(address, 50000)), None, f"http://{host}")


@pytest.fixture
def open_api(memory):
    return zart.http.asgi(memory, registry, access=AccessRules())


@pytest.mark.parametrize(
    ("address", "host", "headers", "status"),
    [
        ("127.0.0.1", "localhost:7700", {}, 200),
        ("127.0.0.1", "127.0.0.1", {}, 200),
        ("::1", "[::1]:7700", {}, 200),
        ("127.0.0.1", "localhost:7700", {"origin": "http://localhost:7700"}, 200),
        ("10.0.0.7", "localhost:7700", {}, 403),
        ("127.0.0.1", "evil.test", {}, 403),
        ("127.0.0.1", "localhost.evil.test", {}, 403),
        ("127.0.0.1", "localhost:7700", {"origin": "null"}, 403),
        ("127.0.0.1", "localhost:7700", {"origin": "http://evil.test"}, 403),
        ("127.0.0.1", "localhost:7700", {"origin": "http://localhost:7701"}, 403),
        ("127.0.0.1", "localhost:7700", {"x-forwarded-for": "10.0.0.7"}, 403),
        ("127.0.0.1", "localhost:7700", {"forwarded": "for=10.0.0.7"}, 403),
    ],
)
async def test_without_tokens_only_programs_of_this_machine_are_served(open_api, address, host, headers, status):
    async with sent_from(open_api, address, host) as caller:
        assert (await caller.post(f"{V1}/executions", json={"task": "fails"}, headers=headers)).status_code == (
            201 if status == 200 else status
        )


async def test_what_a_page_elsewhere_can_send_unasked_is_refused(open_api):
    async with sent_from(open_api, "127.0.0.1") as caller:
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
            answer = await caller.post(f"{V1}/executions", content='{"task":"fails"}', headers={"content-type": kind})
            assert answer.status_code == 415


async def test_hosts_can_be_listed(memory):
    async with speaking(memory, access=evolve(TOKENS, hosts=("zart.example",))) as spoken:
        assert (await spoken.reader.get(f"{V1}/tasks")).status_code == 403
        assert (await spoken.reader.get(f"{V1}/tasks", headers={"host": "zart.example:443"})).status_code == 200


async def test_origins_are_refused_unless_listed(memory):
    mine, other = {"origin": "https://console.example"}, {"origin": "https://evil.example"}
    async with speaking(memory, access=evolve(TOKENS, origins=("https://console.example",))) as spoken:
        answer = await spoken.reader.get(f"{V1}/tasks", headers=mine)
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, mine["origin"])
        refused = await spoken.reader.get(f"{V1}/tasks", headers=other)
        assert refused.status_code == 403
        assert "access-control-allow-origin" not in refused.headers
        asks = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
        assert (await spoken.stranger.options(f"{V1}/executions", headers=mine | asks)).status_code == 200
    async with speaking(memory) as spoken:
        refused = await spoken.reader.get(f"{V1}/tasks", headers=mine)
        assert refused.status_code == 403
        assert "access-control-allow-origin" not in refused.headers


# ---- headers and rates --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("endpoint", [each for each in ENDPOINTS if each.way is not Way.STREAM], ids=lambda each: each.name)
async def test_every_answer_has_the_headers_that_protect_its_reader(idle, endpoint):
    for who in (idle.stranger, idle.operator):
        answer = await who.request(endpoint.method, asked(endpoint))
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        assert answer.headers["referrer-policy"] == "no-referrer"


async def test_paths_and_methods_that_are_none(idle):
    assert (await idle.stranger.get("/nothing")).json()["code"] == "no_such_path"
    assert (await idle.stranger.get(f"{V1}/executions/")).json()["code"] == "no_such_path"
    refused = await idle.stranger.delete(f"{V1}/executions/x")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")


async def test_wrong_tokens_are_slowed_down_and_right_ones_of_the_same_place_are_not(memory):
    clock = FakeClock()
    async with speaking(memory, clock=clock, limits=Limits(failures=1.0)) as spoken:
        wrong = {"authorization": "Bearer wrong"}
        statuses = [(await spoken.stranger.get(f"{V1}/tasks", headers=wrong)).status_code for _ in range(12)]
        assert statuses == [401] * 10 + [429] * 2
        limited = await spoken.stranger.get(f"{V1}/tasks", headers=wrong)
        assert (limited.json()["code"], limited.headers["retry-after"]) == ("too_many_requests", "1")
        assert (await spoken.reader.get(f"{V1}/tasks")).status_code == 200
        clock.advance(1)
        assert (await spoken.stranger.get(f"{V1}/tasks", headers=wrong)).status_code == 401


async def test_who_asks_too_often_waits_and_nobody_else(memory):
    clock = FakeClock()
    async with speaking(memory, clock=clock, limits=Limits(rate=2.0)) as spoken:
        statuses = [(await spoken.reader.get(f"{V1}/tasks")).status_code for _ in range(5)]
        assert statuses == [200] * 4 + [429]
        assert (await spoken.operator.get(f"{V1}/tasks")).status_code == 200
        clock.advance(0.5)
        assert (await spoken.reader.get(f"{V1}/tasks")).status_code == 200
        assert READ not in repr(spoken.api.rates._buckets)
