"""Under which trace something is started over HTTP: the caller's, if it says one, and never one that is made up."""

import httpx2
import pytest
from opentelemetry.sdk.trace import TracerProvider

from tests.http.conftest import OPERATOR, V1, speaking
from tests.http.test_client import remote
from zart import DurableScheduler, PayloadTooLarge, StorageUnavailable
from zart.clock import SystemClock
from zart.http import AccessRules, Limits
from zart.http.client import HttpScheduler
from zart.http.operations import Call, Operations
from zart.http.requests import trace_of
from zart.http.wire import StartRequest
from zart.ids import SystemRandomness
from zart.telemetry import Traces, watched
from zart.testing.contract.scene import demand, register

TRACE = f"00-{7:032x}-{8:016x}-01"
BAD = [
    "",
    "x",
    TRACE.upper().replace("7", "A"),
    f"{TRACE}-more",
    "00-" + "f" * 8000,
    "\xe9" * 55,
    "'; DROP TABLE zart_executions; --",
]


async def kept(storage):
    """Return with which traces executions were started, by their ids."""
    await register(storage)
    claims = await storage.claim(demand(tasks={"fails": None}))
    return {each.token.execution_id: each.trace for each in claims}


async def post(asking, key, **headers):
    answer = await asking.post(f"{V1}/executions", json={"task": "fails", "idempotency_key": key}, headers=headers)
    assert answer.status_code == 201, answer.text


async def test_the_callers_trace_is_kept_with_the_execution(storage):
    async with speaking(storage) as spoken:
        await post(spoken.operator, "a", traceparent=TRACE)
        await post(spoken.operator, "b")
        await post(spoken.operator, "c", traceparent=f"01{TRACE[2:]}-later")
    assert await kept(storage) == {"a": TRACE, "b": None, "c": TRACE}


@pytest.mark.parametrize("bad", BAD)
def test_it_is_checked_before_anything_is_done_with_it(bad):
    assert trace_of({b"traceparent": bad.encode("latin-1")}) is None
    assert trace_of({b"traceparent": f" {TRACE} ".encode()}) == TRACE
    assert trace_of({}) is None


@pytest.mark.parametrize("bad", BAD)
async def test_what_is_no_trace_is_left_out_and_not_refused(idle, bad):
    await post(idle.operator, "a", traceparent=bad.encode("latin-1"))
    assert await kept(idle.storage) == {"a": None}


async def test_the_client_under_a_trace_is_the_same_client(memory):
    class Own(DurableScheduler):
        """A program's own kind of client."""

    client = Own(memory, payload_limit=10)
    under = client.traced(lambda: TRACE)
    assert (type(under), under.scheduler, client.trace) == (Own, memory, None)
    with pytest.raises(PayloadTooLarge):
        await under.start("a", "fails", "x" * 10)
    await under.start("a", "fails", "x")
    await client.start("b", "fails", "x")
    assert await kept(memory) == {"a": TRACE, "b": None}


@pytest.mark.parametrize("trace", [None, TRACE])
async def test_a_start_over_http_has_the_clients_limit_whoever_traces_it(memory, trace):
    client = DurableScheduler(memory, payload_limit=10)
    operations = Operations(client, None, Limits(), SystemClock(), SystemRandomness())
    body = StartRequest(task="fails", data="x" * 10)
    with pytest.raises(PayloadTooLarge):
        await operations.start(Call(path={}, body=body, trace=trace))


async def test_a_span_of_the_servers_own_goes_before_the_header(memory):
    provider = TracerProvider()
    traces = Traces(provider)
    async with speaking(watched(memory, traces)) as spoken:
        with provider.get_tracer("server").start_as_current_span("POST"):
            span = traces.current()
            await post(spoken.operator, "a", traceparent=TRACE)
        await post(spoken.operator, "b", traceparent=TRACE)
    provider.shutdown()
    assert await kept(memory) == {"a": span, "b": TRACE}


@pytest.mark.parametrize(("said", "trace"), [(TRACE, TRACE), (None, None), ("x\n" * 1000, None)])
async def test_the_client_tells_the_server(idle, said, trace):
    async with remote(idle, trace=lambda: said) as asking:
        await asking.start("a", "fails")
    assert await kept(idle.storage) == {"a": trace}


@pytest.mark.parametrize(("said", "sent"), [(TRACE, TRACE), (None, None), ("x\r\nauthorization: Bearer y", None)])
async def test_the_client_sends_nothing_that_is_no_trace(said, sent):
    seen = []

    def answer(request):
        seen.append(request.headers.get("traceparent"))
        return httpx2.Response(404, text="nobody here")

    async with HttpScheduler("http://localhost", transport=httpx2.MockTransport(answer), trace=lambda: said) as asking:
        with pytest.raises(StorageUnavailable, match="not as Zart does"):
            await asking.start("a", "fails")
    assert seen == [sent]


async def test_a_page_of_a_listed_origin_may_send_it(memory):
    rules = AccessRules(operator=OPERATOR, origins=("https://app.example",))
    async with speaking(memory, access=rules) as spoken:
        asked = {"origin": "https://app.example", "access-control-request-method": "POST"}
        asked["access-control-request-headers"] = "authorization,content-type,traceparent"
        answer = await spoken.operator.options(f"{V1}/executions", headers=asked)
    assert answer.status_code == 200
