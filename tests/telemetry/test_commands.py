"""`zart worker --health` and what `zart serve` shows, in processes of their own."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

import zart
from tests.http.conftest import OPERATOR, READ
from zart.cli.app import run
from zart.cli.errors import Exit

ROOT = Path(zart.__file__).parents[1]
PATIENCE = 20.0


@pytest.fixture
def start(tmp_path):
    """Start a command; gives the process and the URL that it says on stderr."""
    started = []

    def call(*options, **environment):
        process = subprocess.Popen(
            [sys.executable, "-m", "zart.cli", *options],
            env={
                **{name: value for name, value in os.environ.items() if not name.startswith("ZART_")},
                "ZART_DATABASE_URL": f"sqlite:///{tmp_path / 'zart.db'}",
                "ZART_APP": "tests.http.flows:registry",
                "PYTHONPATH": str(ROOT),
                **environment,
            },
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        said = ""
        while not (found := re.search(r"at (http://\S+)", said)):
            line = process.stderr.readline()
            assert line, said
            said += line
        return process, found[1]

    yield call
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_a_worker_answers_probes_and_shows_what_it_measures(start):
    process, url = start("worker", "--health", "0")
    assert url.startswith("http://127.0.0.1:")
    assert httpx2.get(f"{url}/readyz").text == "ok\n"
    assert httpx2.get(f"{url}/healthz").status_code == 200
    assert "zart_claim_seconds_count" in httpx2.get(f"{url}/metrics").text
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0


def test_to_others_a_worker_shows_metrics_for_a_token_only(start):
    _, url = start("worker", "--health", "0.0.0.0:0", ZART_READ_TOKEN=READ)
    assert httpx2.get(f"{url}/metrics").status_code == 401
    assert httpx2.get(f"{url}/metrics", headers={"authorization": f"Bearer {READ}"}).status_code == 200
    assert httpx2.get(f"{url}/readyz").status_code == 200


def test_a_server_shows_what_it_measures_and_speaks_to_agents(start):
    _, url = start("serve", "--port", "0", ZART_OPERATOR_TOKEN=OPERATOR)
    headers = {"authorization": f"Bearer {OPERATOR}", "accept": "application/json, text/event-stream"}
    assert "zart_queue_depth 0.0" in httpx2.get(f"{url}/metrics", headers=headers).text
    listed = httpx2.post(f"{url}/mcp", json={"jsonrpc": "2.0", "id": 1, "method": "tools/list"}, headers=headers)
    assert "zart_schedule" in listed.text


@pytest.mark.parametrize(("place", "exit_"), [("here", Exit.USAGE), ("99999", Exit.USAGE), ("taken", Exit.CONFIGURATION)])
def test_a_place_that_cannot_be_had_is_told(place, exit_, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ZART_DATABASE_URL", f"sqlite:///{tmp_path / 'zart.db'}")
    monkeypatch.setenv("ZART_OUTPUT", "json")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = str(taken.getsockname()[1]) if place == "taken" else place
        assert run(["worker", "--app", "tests.http.flows:registry", "--health", where]) == exit_
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert "--health" in said
