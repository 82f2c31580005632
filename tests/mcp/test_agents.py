"""Agents, with the official client: the whole way over standard input and output and over HTTP, and what they may not do."""

import json
import logging
import os
import signal
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import jsonschema
import pytest
from mcp import Client, StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client

import zart.mcp
from tests.http.conftest import OPERATOR, READ, client, serving, speaking
from tests.http.flows import HANDLERS
from zart import Worker, connect
from zart.http import Limits
from zart.mcp.tools import TOOLS
from zart.testing.contract.scene import demand, register

ROOT = Path(zart.__file__).parents[1]
WRITING = {"zart_schedule", "zart_event", "zart_cancel"}


@asynccontextmanager
async def over_stdio(folder, *options, app="tests.http.flows:registry"):
    """An agent that has started `zart mcp`; a worker works on the same file from here."""
    url = f"sqlite:///{folder / 'zart.db'}"
    command = StdioServerParameters(
        command=sys.executable,
        args=["-m", "zart.cli", "mcp", "--database-url", url, *(() if app is None else ("--app", app)), *options],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=str(folder),
    )
    async with connect(url) as storage, Worker(storage, HANDLERS), Client(stdio_client(command)) as agent:
        yield agent


@asynccontextmanager
async def over_http(token, mode="auto", **options):
    """An agent that speaks to a server; a worker works beside that."""
    async with (
        connect("memory://") as storage,
        speaking(storage, agents=zart.mcp.over_http, **options) as spoken,
        serving(spoken.api) as served,
        Worker(storage, HANDLERS),
        client(httpx2.AsyncHTTPTransport(), token, served.url) as http,
        Client(streamable_http_client(f"{served.url}/mcp", http_client=http), mode=mode) as agent,
    ):
        yield agent


@pytest.fixture(params=["stdio", "http", "http-of-before"])
def connected(request, tmp_path):
    if request.param == "stdio":
        return over_stdio(tmp_path)
    return over_http(OPERATOR, "legacy" if request.param == "http-of-before" else "auto")


@pytest.fixture(params=["stdio", "http"])
def reading(request, tmp_path):
    return over_stdio(tmp_path, "--read-only") if request.param == "stdio" else over_http(READ)


async def said(agent, tool, **arguments):
    answer = await agent.call_tool(tool, arguments)
    assert not answer.is_error, answer.content
    assert json.loads(answer.content[0].text) == answer.structured_content
    return answer.structured_content


async def refused(agent, tool, **arguments):
    answer = await agent.call_tool(tool, arguments)
    assert answer.is_error, answer.structured_content
    return json.loads(answer.content[0].text)


@pytest.mark.timeout(90)
async def test_an_agent_lists_schedules_waits_approves_and_collects(connected):
    async with connected as agent:
        tools = {tool.name: tool for tool in (await agent.list_tools()).tools}
        assert set(tools) == set(TOOLS)
        tasks = {task["name"]: task for task in (await said(agent, "zart_list_tasks"))["tasks"]}
        assert "dataset" in json.dumps(tasks["pipeline"]["input"])

        order = {"task": "pipeline", "data": {"dataset": "sales", "rows": 3}, "idempotency_key": "p-1"}
        assert (await said(agent, "zart_schedule", **order))["repeated"] is False
        assert (await said(agent, "zart_schedule", **order))["repeated"] is True
        for _ in range(100):
            goes_on = await said(agent, "zart_wait", execution_id="p-1", timeout=0.2)
            assert goes_on["status"] in {"pending", "running", "waiting"}  # an answer, not an error
            if goes_on["current_step"] == "await-approval":
                break
        assert "steps" not in goes_on

        approval = {"execution_id": "p-1", "name": "approval", "data": {"approved": True}, "event_id": "once"}
        assert (await said(agent, "zart_event", **approval))["result"] == "recorded"
        ended = await said(agent, "zart_wait", execution_id="p-1", timeout=50)
        assert (ended["status"], ended["output"]) == ("completed", {"rows_written": 6})

        steps = (await said(agent, "zart_steps", execution_id="p-1"))["steps"]
        assert [step["name"] for step in steps] == ["extract", "await-approval", "load"]
        assert (await said(agent, "zart_status", execution_id="p-1"))["status"] == "completed"
        listed = (await said(agent, "zart_list", task="pipeline", limit=5))["executions"]
        assert [each["execution_id"] for each in listed] == ["p-1"]
        assert "stored_result" not in listed[0]
        assert (await refused(agent, "zart_event", **{**approval, "event_id": "twice"}))["code"] == "execution_finished"

        started = await said(agent, "zart_schedule", task="endless")
        assert (await said(agent, "zart_cancel", execution_id=started["execution_id"]))["cancelled"] is True


TRACES = [f"00-{number:032x}-{number:016x}-01" for number in (1, 2)]


@pytest.mark.parametrize(
    ("said", "headers", "kept"),
    [
        ({"traceparent": TRACES[0]}, {"traceparent": TRACES[1]}, TRACES[0]),
        (None, {"traceparent": TRACES[1]}, TRACES[1]),
        ({"traceparent": ["x"]}, {"traceparent": "x"}, None),
        (None, {}, None),
    ],
)
async def test_what_an_agent_starts_is_under_its_trace(said, headers, kept):
    async with (
        connect("memory://") as storage,
        speaking(storage, agents=zart.mcp.over_http) as spoken,
        serving(spoken.api) as served,
        client(httpx2.AsyncHTTPTransport(), OPERATOR, served.url) as http,
    ):
        http.headers.update(headers)
        async with Client(streamable_http_client(f"{served.url}/mcp", http_client=http)) as agent:
            await agent.call_tool("zart_schedule", {"task": "fails"}, meta=said)
        await register(storage)
        (claim,) = await storage.claim(demand(tasks={"fails": None}))
    assert claim.trace == kept


async def test_a_reader_sees_only_what_looks_and_is_refused_the_rest(reading):
    async with reading as agent:
        assert {tool.name for tool in (await agent.list_tools()).tools} == set(TOOLS) - WRITING
        for tool in WRITING:
            refusal = await refused(agent, tool, execution_id="x", name="e", task="pipeline")
            assert refusal["code"] in {"not_allowed", "invalid_request"}
        assert (await refused(agent, "zart_cancel", execution_id="x"))["code"] == "not_allowed"
        assert (await refused(agent, "zart_schedule", task="fails"))["code"] == "not_allowed"
        assert (await said(agent, "zart_list"))["executions"] == []


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT, None], ids=["SIGTERM", "Ctrl-C", "closed"])
def test_it_leaves_when_the_agent_does_or_a_signal_comes(tmp_path, end):
    url = f"sqlite:///{tmp_path / 'zart.db'}"
    process = subprocess.Popen(
        [sys.executable, "-m", "zart.cli", "mcp", "--database-url", url],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process.stdin.write('{"jsonrpc":"2.0","id":1,"method":"ping"}\n')
    process.stdin.flush()
    assert json.loads(process.stdout.readline()) == {"jsonrpc": "2.0", "id": 1, "result": {}}
    if end is None:
        process.stdin.close()
    else:
        process.send_signal(end)
    assert process.wait(20) == 0
    assert process.stderr.read() == ""
    process.stdout.close()
    process.stderr.close()
    if end is not None:
        process.stdin.close()


async def test_without_handlers_any_task_can_be_started(tmp_path):
    async with over_stdio(tmp_path, app=None) as agent:
        assert (await said(agent, "zart_list_tasks"))["tasks"] == []
        assert (await said(agent, "zart_schedule", task="of-somebody-else"))["status"] == "pending"


@pytest.mark.parametrize(
    ("tool", "arguments", "code", "word"),
    [
        ("zart_status", {}, "invalid_request", "execution_id"),
        ("zart_status", {"execution_id": 7}, "invalid_request", "execution_id"),
        ("zart_status", {"execution_id": "x", "stored": True}, "invalid_request", "stored"),
        ("zart_status", {"execution_id": "x", "runn": 1}, "invalid_request", "runn"),
        ("zart_status", {"execution_id": "x\x00"}, "invalid_request", "execution id"),
        ("zart_status", {"execution_id": "nobody"}, "not_found", "nobody"),
        ("zart_schedule", {}, "invalid_request", "task"),
        ("zart_schedule", {"task": "pipeline", "dataa": 1}, "invalid_request", "dataa"),
        ("zart_schedule", {"task": "pipeline", "data": {"rows": 1}}, "invalid_data", "dataset"),
        ("zart_schedule", {"task": "pipelin"}, "task_not_registered", "pipelin"),
        ("zart_wait", {"execution_id": "x", "timeout": "soon"}, "invalid_request", "timeout"),
        ("zart_list", {"limit": 501}, "invalid_request", "limit"),
        ("zart_event", {"execution_id": "x"}, "invalid_request", "name"),
        ("zart_nothing", {}, "invalid_request", "zart_nothing"),
    ],
)
async def test_what_is_wrong_is_said_so_that_an_agent_can_mend_it(tool, arguments, code, word):
    async with over_http(OPERATOR) as agent:
        refusal = await refused(agent, tool, **arguments)
    assert refusal["code"] == code
    assert word in refusal["message"]
    assert "GET /api" not in refusal["hint"]


async def test_answers_are_as_the_schemas_say():
    async with over_http(OPERATOR) as agent:
        tools = {tool.name: tool for tool in (await agent.list_tools()).tools}
        order = {"task": "pipeline", "data": {"dataset": "a"}, "idempotency_key": "a", "delay": "1h"}
        calls = {
            "zart_schedule": order,
            "zart_status": {"execution_id": "a"},
            "zart_steps": {"execution_id": "a"},
            "zart_wait": {"execution_id": "a", "timeout": 0},
            "zart_event": {"execution_id": "a", "name": "approval"},
            "zart_list": {"status": "pending"},
            "zart_list_tasks": {},
            "zart_cancel": {"execution_id": "a"},
        }
        assert set(calls) == set(TOOLS)
        for name, arguments in calls.items():
            jsonschema.validate(arguments, tools[name].input_schema)
            jsonschema.validate(await said(agent, name, **arguments), tools[name].output_schema)
            assert tools[name].annotations.read_only_hint is (name not in WRITING)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"execution_id": "a", "timeout": 51}, tools["zart_wait"].input_schema)


async def test_what_the_protocol_cannot_say_is_said_otherwise():
    async with over_http(OPERATOR) as agent:
        await said(agent, "zart_schedule", task="strange", idempotency_key="s")
        ended = await said(agent, "zart_wait", execution_id="s")
    assert ended["status"] == "completed"


async def test_lone_surrogates_do_not_break_an_answer():
    async with (
        connect("memory://") as storage,
        speaking(storage, agents=zart.mcp.over_http) as spoken,
        serving(spoken.api) as served,
        client(httpx2.AsyncHTTPTransport(), OPERATOR, served.url) as http,
        Client(streamable_http_client(f"{served.url}/mcp", http_client=http)) as agent,
    ):
        await zart.DurableScheduler(storage).start("s", "x", {"name": "a\ud800é"})
        assert (await said(agent, "zart_status", execution_id="s"))["data"] == {"name": "a?é"}


async def test_each_change_leaves_a_line(caplog):
    caplog.set_level(logging.INFO, "zart.http.audit")
    async with over_http(OPERATOR) as agent:
        await said(agent, "zart_schedule", task="endless", idempotency_key="a")
        await said(agent, "zart_status", execution_id="a")
        await said(agent, "zart_cancel", execution_id="a")
    lines = [record.getMessage() for record in caplog.records if record.name == "zart.http.audit"]
    assert [line.partition(", by")[0] for line in lines] == ["start 'a': 201 over MCP", "cancel 'a': 200 over MCP"]
    assert all("by operator:" in line and line.endswith("from 127.0.0.1") for line in lines)


async def test_a_fault_tells_nothing_of_itself(caplog):
    async with (
        connect("memory://") as storage,
        speaking(storage, agents=zart.mcp.over_http) as spoken,
        serving(spoken.api) as served,
        client(httpx2.AsyncHTTPTransport(), OPERATOR, served.url) as http,
        Client(streamable_http_client(f"{served.url}/mcp", http_client=http)) as agent,
    ):
        secret = "canary-17"  # not in the line that raises, which a traceback shows

        async def broken(*_):
            raise RuntimeError(secret)

        storage.find = broken
        assert (await refused(agent, "zart_list"))["code"] == "internal"
    assert "RuntimeError" in caplog.text
    assert secret not in caplog.text


# ---- the way in -----------------------------------------------------------------------------------------------------

HEADERS = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}


@pytest.fixture
async def spoken():
    limits = Limits(body=2000, waits=1)
    async with (
        connect("memory://") as storage,
        speaking(storage, agents=zart.mcp.over_http, limits=limits) as found,
    ):
        yield found


async def test_the_way_in_is_that_of_all_endpoints(spoken):
    post = spoken.operator.post
    assert (await post("/mcp", json=CALL, headers=HEADERS)).status_code == 200
    assert (await spoken.stranger.post("/mcp", json=CALL, headers=HEADERS)).status_code == 401
    assert (await post("/mcp", json=CALL, headers=HEADERS | {"origin": "http://evil.test"})).status_code == 403
    assert (await post("/mcp", content=b"x" * 2001, headers=HEADERS)).status_code == 413
    assert (await post("/mcp", content=b"[" * 100 + b"]" * 100, headers=HEADERS)).json()["code"] == "invalid_json"
    assert (await post("/mcp", content=b"{}", headers={**HEADERS, "content-type": "text/plain"})).status_code == 415
    assert (await spoken.operator.get("/mcp")).status_code == 405
    with spoken.api.gates.place(TOOLS["zart_wait"].endpoint.way, "somebody else"):
        assert (await post("/mcp", json=CALL, headers=HEADERS)).status_code == 200


async def test_without_the_extra_there_is_no_such_place(spoken):
    spoken.api.agents = None
    answer = await spoken.operator.post("/mcp", json=CALL, headers=HEADERS)
    assert (answer.status_code, answer.json()["code"]) == (404, "no_such_path")


async def test_a_wait_ends_when_the_server_stops():
    async with (
        connect("memory://") as storage,
        speaking(storage, agents=zart.mcp.over_http) as spoken,
        serving(spoken.api) as served,
        client(httpx2.AsyncHTTPTransport(), OPERATOR, served.url) as http,
        Client(streamable_http_client(f"{served.url}/mcp", http_client=http)) as agent,
    ):
        await said(agent, "zart_schedule", task="endless", idempotency_key="a")
        spoken.api.closing.set()
        assert (await said(agent, "zart_wait", execution_id="a", timeout=50))["status"] == "pending"
