"""`zart serve`: where it listens, whom it serves, and how it ends."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest
from cyclopts import App

from tests.http.conftest import OPERATOR
from zart.cli.commands.serve import serve
from zart.cli.errors import Exit, Refused
from zart.cli.serving import _connections

ROOT = Path(__file__).parents[2]
COMMAND = """
import sys
from cyclopts import App
from zart.cli.commands.serve import serve
app = App()
app.command(serve)
app(["serve", *sys.argv[1:]], exit_on_error=False)
"""


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch, tmp_path):
    for name in ("ZART_DATABASE_URL", "DATABASE_URL", "ZART_APP", "ZART_READ_TOKEN", "ZART_OPERATOR_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ZART_DATABASE_URL", f"sqlite:///{tmp_path / 'zart.db'}")


Start = Callable[..., tuple["subprocess.Popen[str]", str, list[str]]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts servers in processes of their own; gives the process, its URL, and what it said before."""
    started = []

    def call(*options: str, **environment: str):
        process = subprocess.Popen(
            [sys.executable, "-c", COMMAND, *options],
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stderr is not None
        said = []
        while True:
            line = process.stderr.readline()
            assert line, "".join(said)
            found = re.search(r"serving .* at (http://\S+)", line)
            if found:
                return process, found[1], said
            said.append(line)

    yield call
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_it_serves_with_tokens_and_stops_when_told_though_somebody_waits(start):
    process, url, said = start("--port", "0", "--app", "tests.http.flows:registry", ZART_OPERATOR_TOKEN=OPERATOR)
    assert said == []
    headers = {"authorization": f"Bearer {OPERATOR}"}
    with httpx2.Client(base_url=url, headers=headers, timeout=30) as caller:
        assert caller.get("/readyz").status_code == 200
        assert httpx2.get(f"{url}/api/v1/tasks").status_code == 401
        body = {"task": "fails", "idempotency_key": "a"}
        assert caller.post("/api/v1/executions", json=body).status_code == 201
        answers, began = [], threading.Event()

        def wait():
            with caller.stream("GET", "/api/v1/executions/a/stream") as stream:
                began.set()
                answers.append(stream.read())

        waiting = threading.Thread(target=wait)
        waiting.start()
        assert began.wait(20)
        process.send_signal(signal.SIGTERM)
        waiting.join(20)
        assert answers
    assert process.wait(20) == 0
    assert process.stderr is not None
    assert f"start 'a': 201, by operator:" in process.stderr.read()  # noqa: F541 # as it is written


def test_without_tokens_it_warns_and_serves_this_machine(start):
    _, url, said = start("--port", "0")
    assert "ZART_OPERATOR_TOKEN" in said[0]
    with httpx2.Client(base_url=url) as caller:
        assert caller.post("/api/v1/executions", json={"task": "anything"}).status_code == 201
        assert caller.get("/healthz", headers={"host": "evil.test"}).status_code == 403


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "10.1.2.3", "example.test"])
def test_it_never_listens_to_others_without_a_token(host):
    with pytest.raises(Refused) as caught:
        serve(host=host)
    assert (caught.value.problem.code, caught.value.problem.exit) == ("no_token", Exit.CONFIGURATION)


def test_a_short_token_is_warned_of(start):
    _, _, said = start("--port", "0", ZART_READ_TOKEN="letmein")  # that is the point
    assert "can be guessed" in said[0]
    assert "letmein" not in "".join(said)


def test_a_port_that_is_taken_is_told(start):
    _, url, _ = start("--port", "0")
    with pytest.raises(Refused) as caught:
        serve(port=int(url.rpartition(":")[2]))
    assert caught.value.problem.code == "cannot_listen"


def test_bad_tokens_are_refused(monkeypatch):
    monkeypatch.setenv("ZART_READ_TOKEN", "two words")
    with pytest.raises(Refused, match="without spaces") as caught:
        serve()
    assert "two words" not in str(caught.value)


def test_its_options_are_those_of_a_command_line():
    app = App()
    app.command(serve)
    command, bound, _ = app.parse_args(
        ["serve", "--host", "::1", "--port", "0", "--allow-host", "a", "--allow-host", "b", "--allow-origin", "https://x"],
        exit_on_error=False,
    )
    assert command is serve
    assert bound.arguments["allow_host"] == ["a", "b"]


def test_there_are_files_for_all_connections():
    assert 1 <= _connections() <= 2000
