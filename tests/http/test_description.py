"""What the API says of itself: the description, the reference page, and that what it does is what it says."""

import asyncio
import json
import re
import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path

import jsonschema
import pytest
from openapi_spec_validator import validate

from tests.http.conftest import OPERATOR, READ, TOKENS, V1, serving, speaking
from zart.errors import ZartError
from zart.http import Limits
from zart.http.endpoints import BY_NAME, ENDPOINTS, Access, Endpoint, Way, errors_of
from zart.http.openapi import description
from zart.http.operations import Operations
from zart.http.reference import HEADING, published, reference
from zart.http.refusals import CODES, refusal_of
from zart.http.wire import NAME_PATTERN
from zart.ids import check_name
from zart.problems import KNOWN, known

ROOT = Path(__file__).parents[2]
OPENAPI = ROOT / "docs" / "reference" / "openapi.json"
REFERENCE = ROOT / "docs" / "reference" / "http.md"
PROFILES = {
    "operator": (["-H", f"Authorization: Bearer {OPERATOR}"], 20),
    "reader": (["-H", f"Authorization: Bearer {READ}"], 8),
    "stranger": ([], 10),
}


def test_the_description_is_valid():
    validate(json.loads(json.dumps(description())))


def test_every_endpoint_is_described_and_nothing_else():
    paths = description()["paths"]
    described = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    assert described == {(each.method, each.path) for each in ENDPOINTS if each.way is not Way.AGENT}
    assert len(BY_NAME) == len(ENDPOINTS)


def test_every_endpoint_is_carried_out_by_the_method_of_its_name():
    inside = {"stream", "stream_all", "openapi", "docs", "metrics", "agents"}
    assert all(callable(getattr(Operations, name)) for name in set(BY_NAME) - inside)


def test_tools_of_agents_have_names_of_their_own():
    tools = [tool.name for endpoint in ENDPOINTS for tool in endpoint.tools]
    assert len(tools) == len(set(tools)) == 8
    assert all(tool.startswith("zart_") for tool in tools)


def test_an_error_that_is_in_no_table_cannot_be_declared():
    with pytest.raises(ValueError, match="'oops'"):
        Endpoint(name="x", method="GET", path="/x", access=Access.READ, summary="x", results={}, errors=("oops",))


def test_the_pattern_of_names_is_their_rule():
    pattern = re.compile(NAME_PATTERN)
    wrong = []
    for code in range(0x110000):
        character = chr(code)
        if unicodedata.category(character) in {"Cs", "Cn"}:
            continue  # no JSON text holds a surrogate, and what is not assigned yet may be assigned by another Python
        try:
            taken = bool(check_name(character, "name"))
        except ValueError:
            taken = False
        if (taken and not pattern.fullmatch(character)) or (not taken and pattern.fullmatch(character)):
            wrong.append(hex(code))
    assert not wrong


async def test_the_description_and_the_page_are_served(idle):
    assert (await idle.stranger.get("/openapi.json")).json() == json.loads(json.dumps(description()))
    page = await idle.stranger.get("/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    for endpoint in ENDPOINTS:
        assert endpoint.path in page.text


async def test_answers_are_as_they_are_described(spoken):
    description_ = description()

    def check(name: str, answer):
        media = description_["paths"][BY_NAME[name].path][BY_NAME[name].method.lower()]["responses"][str(answer.status_code)]
        schema = media["content"][answer.headers["content-type"]]["schema"]
        jsonschema.validate(answer.json(), {**schema, "components": description_["components"]})

    post, get = spoken.operator.post, spoken.reader.get
    check("start", await post(f"{V1}/executions", json={"task": "pipeline", "data": {"dataset": "a"}, "idempotency_key": "a"}))
    check("start", await post(f"{V1}/executions", json={"task": "nobody"}))
    check("offer_event", await post(f"{V1}/events/a/approval", json={"approved": True}))
    check("wait", await get(f"{V1}/executions/a/wait?timeout=20"))
    check("status", await get(f"{V1}/executions/a?stored=true"))
    check("status", await get(f"{V1}/executions/b"))
    check("list_executions", await get(f"{V1}/executions"))
    check("tasks", await get(f"{V1}/tasks"))
    check("cancel", await post(f"{V1}/executions/a/cancel"))


# ---- errors ---------------------------------------------------------------------------------------------------------


def leaves(kind: type) -> set[type]:
    return {kind}.union(*map(leaves, kind.__subclasses__()))


def test_every_error_has_a_name_that_surfaces_share():
    assert all(known(kind.__new__(kind)) is not None for kind in leaves(ZartError))
    codes = [each.code for each in KNOWN]
    assert {each for each in codes if codes.count(each) > 1} == {"invalid_data"}


def test_a_fault_tells_nothing_of_itself():
    refusal = refusal_of(RuntimeError("password=x"))
    assert (refusal.code, refusal.status) == ("internal", 500)
    assert "password" not in json.dumps([refusal.detail, refusal.hint])


def test_every_error_of_an_endpoint_is_in_the_table():
    for endpoint in ENDPOINTS:
        assert set(errors_of(endpoint)) <= set(CODES)


# ---- the reference --------------------------------------------------------------------------------------------------


def test_the_reference_page_is_that_of_the_table():
    head, _, table = REFERENCE.read_text().partition(HEADING)
    assert "# The HTTP API" in head
    assert table == reference(), "write it anew: python -m zart.http.reference docs/reference/http.md"


def test_the_description_that_is_kept_is_that_of_the_table():
    assert OPENAPI.read_text() == published(), "write it anew: python -m zart.http.reference docs/reference/openapi.json"


def test_the_reference_page_is_written_anew(tmp_path):
    page = tmp_path / "http.md"
    page.write_text(f"# head\n\n{HEADING}old")
    subprocess.run([sys.executable, "-m", "zart.http.reference", str(page)], check=True, cwd=ROOT, timeout=60)
    assert page.read_text() == f"# head\n\n{HEADING}{reference()}"


# ---- what a stranger to the code finds ------------------------------------------------------------------------------


@pytest.mark.timeout(240)
@pytest.mark.parametrize("who", PROFILES)
async def test_schemathesis_finds_nothing(memory, tmp_path, who):
    headers, seconds = PROFILES[who]
    limits = Limits(longest_wait=0.05, longest_stream=0.05, stream_gap=0.01, failures=1_000_000.0)
    program = shutil.which("schemathesis", path=str(Path(sys.executable).parent))
    assert program is not None
    async with speaking(memory, access=TOKENS, limits=limits) as spoken, serving(spoken.api) as served:
        spoken.api.operations._registry = None  # any task is taken: the description knows none
        for longer in (1, 4):
            process = await asyncio.create_subprocess_exec(
                program, "run", f"{served.url}/openapi.json", *headers,
                "--checks", "all", "--max-time", str(seconds * longer), "--seed", "7", "--request-timeout", "20",
                cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            )  # fmt: skip
            said, _ = await process.communicate()
            if b"Empty test suite" not in said:  # on a busy machine the time may be up before anything was asked
                break
    assert process.returncode == 0, said.decode()
    assert b"No issues found" in said or b"passed" in said
