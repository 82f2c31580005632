"""A database, the command line in this process, and in others."""

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from tests.cli.flows import registry
from tests.servers.postgres import PostgresServer
from zart import DurableExecutionStatus, DurableScheduler, Worker, connect
from zart.cli.app import run

ROOT = Path(__file__).parents[2]
APP = "tests.cli.flows:registry"
PATIENCE = 20.0
_numbers = count(1)


@frozen
class Answer:
    """What a command came to."""

    exit: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        return json.loads(self.out)

    @property
    def problem(self) -> Any:
        assert "Traceback" not in self.err
        return json.loads(self.err.splitlines()[-1])


Zart = Callable[..., Answer]
StartWorker = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ZART_DATABASE_URL", "DATABASE_URL", "ZART_OUTPUT", "ZART_APP", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)


on_both = pytest.mark.parametrize("url", ["sqlite", "postgres"], indirect=True)
"""For tests that are worth running on SQLite and on PostgreSQL; on the latter they migrate first."""


@pytest.fixture
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A fresh database."""
    if getattr(request, "param", "sqlite") == "sqlite":
        return f"sqlite:///{tmp_path / 'zart.db'}"
    server: PostgresServer = request.getfixturevalue("postgres_server")
    return f"{server.dsn}?schema=cli_{next(_numbers)}"


@pytest.fixture
def zart(url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Zart:
    """The command line, run in this process on a fresh database."""
    monkeypatch.setenv("ZART_DATABASE_URL", url)

    def call(*tokens: str) -> Answer:
        capsys.readouterr()
        left = run(tokens)
        out, err = capsys.readouterr()
        return Answer(left, out, err)

    return call


@pytest.fixture
def finish(url: str) -> Callable[[str], DurableExecutionStatus]:
    """Runs a worker in this process until an execution has ended."""

    async def work(execution_id: str) -> DurableExecutionStatus:
        async with connect(url) as storage, Worker(storage, registry):
            return await DurableScheduler(storage).wait(execution_id, PATIENCE)

    return lambda execution_id: asyncio.run(work(execution_id))


def until(happened: Callable[[], Any], what: str) -> Any:
    """Return the first true value of a condition outside this process."""
    end = time.monotonic() + PATIENCE
    nobody = threading.Event()
    while not (value := happened()):
        assert time.monotonic() < end, f"waited in vain for {what}"
        nobody.wait(0.02)
    return value


def environment(url: str) -> dict[str, str]:
    return {**os.environ, "ZART_DATABASE_URL": url, "ZART_APP": APP, "PYTHONPATH": str(ROOT)}


@pytest.fixture
def start_worker(url: str) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Starts workers in processes of their own; returns when they work."""
    started: list[subprocess.Popen[str]] = []

    def start(*options: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-m", "zart.cli", "worker", "--poll", "100ms", *options],
            env=environment(url),
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stderr is not None
        line = process.stderr.readline()
        assert "zart: worker" in line, line + process.stderr.read()
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()
