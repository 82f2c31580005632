"""`--server`: whatever starts, sends or looks, through the HTTP API, with the same answers as from the database."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.cli.conftest import APP, ROOT, StartWorker, Zart, environment, until
from tests.cli.test_processes import on_terminal
from zart.cli.errors import Exit

READ, OPERATOR = "r" * 32, "o" * 32


@pytest.fixture
def server(url: str) -> Iterator[str]:
    """A server of the database, in a process of its own; its URL."""
    tokens = {"ZART_READ_TOKEN": READ, "ZART_OPERATOR_TOKEN": OPERATOR}
    process = subprocess.Popen(
        [sys.executable, "-m", "zart.cli", "serve", "--port", "0", "--app", APP],
        env={**environment(url), **tokens},
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    line = process.stderr.readline()
    found = re.search(r"at (http://\S+)", line)
    assert found, line + process.stderr.read()
    yield found[1]
    process.terminate()
    process.communicate(timeout=20)


@pytest.fixture
def through(server: str, zart: Zart, monkeypatch: pytest.MonkeyPatch) -> Zart:
    """The command line of somebody who has no database, but a server and its token."""
    for name in ("ZART_DATABASE_URL", "ZART_APP"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ZART_SERVER", server)
    monkeypatch.setenv("ZART_TOKEN", OPERATOR)
    return zart


def test_the_session_of_the_manual_through_a_server(through: Zart, start_worker: StartWorker) -> None:
    start_worker()
    data = '{"dataset":"sales-q4-2025"}'
    first, again = (through("schedule", "data-pipeline", "--data", data, "--id", "one") for _ in range(2))
    assert (first.exit, first.data["repeated"]) == (Exit.DONE, False)
    assert (again.exit, again.data["repeated"], again.data["scheduled_at"]) == (Exit.DONE, True, first.data["scheduled_at"])
    until(lambda: through("status", "one").data["step"] == "await-approval", "the approval")
    event = ("event", "one", "approval", "--data", '{"approved":true,"by":"alice"}', "--event-id", "e1")
    sent, twice = (through(*event) for _ in range(2))
    assert (sent.data["result"], twice.data["result"]) == ("delivered", "duplicate")
    done = through("wait", "one", "--timeout", "20", "--steps")
    assert (done.exit, done.data["output"]) == (Exit.DONE, {"rows_written": 48291})
    assert [step["name"] for step in done.data["steps"]] == ["load", "await-approval", "write"]


@pytest.mark.parametrize(
    "tokens",
    [
        ("status", "one"),
        ("status", "one", "--steps"),
        ("list",),
        ("list", "--status", "waiting"),
        ("wait", "one", "--timeout", "0"),
    ],
)
def test_what_is_shown_is_the_same_as_from_the_database(
    through: Zart, start_worker: StartWorker, url: str, tokens: tuple[str, ...]
) -> None:
    through("schedule", "data-pipeline", "--data", '{"dataset":"x"}', "--id", "one")
    start_worker()
    until(lambda: through("status", "one").data["status"] == "waiting", "the approval")
    by_server, by_database = through(*tokens), through(*tokens, "--database-url", url)
    assert (by_server.exit, by_server.out) == (by_database.exit, by_database.out)
    assert by_server.out


def test_a_person_who_waits_through_a_server_sees_what_is_waited_for(
    through: Zart, start_worker: StartWorker, url: str, server: str
) -> None:
    through("schedule", "data-pipeline", "--id", "one", "--data", '{"dataset":"x"}')
    start_worker()
    until(lambda: through("status", "one").data["step"] == "await-approval", "the approval")
    left, sent = on_terminal(url, "wait", "one", "--timeout", "300ms", ZART_SERVER=server, ZART_TOKEN=OPERATOR)
    assert left == Exit.TIMED_OUT
    assert "load" in sent
    assert "await-approval" in sent
    assert "until 2" in sent


def test_cancelling_and_what_failed(through: Zart, start_worker: StartWorker) -> None:
    through("schedule", "data-pipeline", "--data", '{"dataset":"x"}', "--id", "one")
    assert through("cancel", "one").data["cancelled"] is True
    again = through("cancel", "one")
    assert (again.exit, again.data["status"], again.data["cancelled"]) == (Exit.DONE, "cancelled", False)
    through("schedule", "unlucky", "--id", "two")
    start_worker()
    answer = through("wait", "two", "--timeout", "10")
    assert (answer.exit, answer.problem["code"]) == (Exit.ENDED_BADLY, "execution_failed")
    assert "no luck" in answer.data["reason"]


@pytest.mark.parametrize(
    ("tokens", "left", "code"),
    [
        (("status", "nobody"), Exit.NOT_FOUND, "not_found"),
        (("wait", "nobody"), Exit.NOT_FOUND, "not_found"),
        (("cancel", "nobody"), Exit.NOT_FOUND, "not_found"),
        (("event", "nobody", "e"), Exit.NOT_FOUND, "not_found"),
        (("schedule", "ekho"), Exit.USAGE, "task_not_registered"),
        (("schedule", "data-pipeline", "--data", '{"dataset":7}'), Exit.USAGE, "invalid_data"),
        (("schedule", "echo", "--data", "2", "--id", "taken"), Exit.CONFLICT, "idempotency_mismatch"),
        (("event", "ended", "e"), Exit.CONFLICT, "execution_finished"),
        (("wait", "taken", "--timeout", "10ms"), Exit.TIMED_OUT, "timed_out"),
        (("list", "--server", "nonsense"), Exit.CONFIGURATION, "bad_server_url"),
        (("list", "--server", "ftp://127.0.0.1"), Exit.CONFIGURATION, "bad_server_url"),
        (("list", "--server", "http://127.0.0.1:1"), Exit.UNAVAILABLE, "storage_unavailable"),
        (("list", "--server", "http://a", "--database-url", "sqlite:///b.db"), Exit.USAGE, "usage"),
        (("migrate", "--server", "http://a"), Exit.USAGE, "usage"),
    ],
)
def test_every_way_to_end_is_the_same(through: Zart, tokens: tuple[str, ...], left: Exit, code: str) -> None:
    through("schedule", "echo", "--data", "1", "--id", "taken")
    through("schedule", "echo", "--id", "ended")
    through("cancel", "ended")
    answer = through(*tokens)
    assert (answer.exit, answer.problem["code"]) == (left, code)
    assert answer.problem["hint"]


@pytest.mark.parametrize("token", [None, READ, "x" * 32])
def test_who_may_not_is_told_so(through: Zart, monkeypatch: pytest.MonkeyPatch, token: str | None) -> None:
    if token is None:
        monkeypatch.delenv("ZART_TOKEN")
    else:
        monkeypatch.setenv("ZART_TOKEN", token)
    answer = through("schedule", "echo")
    assert (answer.exit, answer.problem["code"]) == (Exit.NOT_ALLOWED, "not_allowed")
    assert "token" in answer.problem["message"] + answer.problem["hint"]
    assert "file" not in answer.problem["hint"]
    assert through("list").exit == (Exit.DONE if token == READ else Exit.NOT_ALLOWED)


def test_an_option_stands_above_a_variable(through: Zart, url: str, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    through("schedule", "echo", "--id", "here")
    monkeypatch.setenv("ZART_DATABASE_URL", f"{url}.other")
    assert [row["execution_id"] for row in through("list").data] == ["here"], "of two variables the server's counts"
    assert through("list", "--database-url", f"{url}.another").data == []
    assert [row["execution_id"] for row in through("list", "--database-url", url).data] == ["here"]
    monkeypatch.setenv("ZART_SERVER", "http://127.0.0.1:1")
    assert [row["execution_id"] for row in through("list", "--server", server).data] == ["here"]


def test_the_tasks_of_a_server_are_described(through: Zart) -> None:
    tasks = {each["name"]: each for each in through("schema").data["tasks"]}
    assert tasks.keys() == {"data-pipeline", "once", "echo", "hostile", "failing", "unlucky"}
    assert "dataset" in str(tasks["data-pipeline"]["input"])


WITHOUT = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {packages!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
from zart.cli.app import run
sys.exit(run(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("command", "packages", "extra"),
    [
        (("list", "--server", "http://127.0.0.1:1"), ("httpx2",), "client"),
        (("list", "--server", "http://127.0.0.1:1"), ("httpx2", "anyio", "starlette", "sse_starlette", "uvicorn"), "client"),
        (("serve", "--port", "0"), ("starlette", "sse_starlette", "uvicorn"), "server"),
    ],
)
def test_a_missing_extra_is_named_and_the_rest_works_without_it(
    command: tuple[str, ...], packages: tuple[str, ...], extra: str
) -> None:
    program = WITHOUT.format(packages=packages)

    def without(*tokens: str) -> "subprocess.CompletedProcess[str]":
        variables = {key: value for key, value in os.environ.items() if not key.startswith("ZART_")}
        return subprocess.run(
            [sys.executable, "-c", program, *tokens], cwd=ROOT, env=variables, check=False, capture_output=True, text=True
        )

    done = without(*command)
    assert done.returncode == Exit.CONFIGURATION, done.stderr
    assert '"code":"missing_extra"' in done.stderr
    assert f"pip install 'zart-durable[{extra}]'" in done.stderr
    assert without("schema", "--app", APP).returncode == Exit.DONE
    assert without("completion", "bash").returncode == Exit.DONE
