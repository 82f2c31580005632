"""Rounds of measurements: each in a process of its own, on an empty storage of its own, one after the other."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from attrs import define

from benchmarks.plan import Measurement
from benchmarks.race import Course, Figures
from benchmarks.server import drop_database, fresh_database
from tests.servers.postgres import PostgresServer

PATIENCE = 400.0
PEERS = Path(".bench-peers")
"""The peers' environment."""
_DATABASE = "bench"

Round = Mapping[str, Figures]
"""Figures by subject and place; each begins with its workload, as in "W1.rate"."""


class MeasurementFailed(Exception):
    """A measurement ended without figures."""


def has_peer(subject: str) -> bool:
    """Return whether `make bench-peers` has installed a peer."""
    distributions = {"dbos": "dbos", "absurd": "absurd_sdk", "pgtask": "pgtask", "pgqueuer": "pgqueuer", "oban": "oban"}
    if subject == "restate":
        return any(PEERS.glob("node_modules/@restatedev/restate-server-*/bin/restate-server"))
    return any(PEERS.glob(f"lib/python*/site-packages/{distributions[subject]}"))


@define
class Runner:
    """Carries out measurements in a folder of its own, with a server if there is one."""

    scratch: Path
    server: PostgresServer | None

    def measure(self, each: Measurement) -> Figures:
        """Return the figures of one measurement.

        Raises:
            MeasurementFailed: it ended otherwise, or took too long; the message is what it said last.
        """
        folder = self.scratch / "measurement"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        course = Course(self._url(each, folder), folder, each.sizes)
        # Not resolved: an environment's Python is a link, and finds its environment by the link's place.
        python = str(Path.cwd() / PEERS / "bin" / "python") if each.is_peer else sys.executable
        try:
            said = self._run([python, "-m", each.module, each.workload, course.written()], each)
        finally:
            if each.place == "postgres" and self.server is not None:
                drop_database(self.server, _DATABASE)
            shutil.rmtree(folder, ignore_errors=True)
        figures: Figures = json.loads(said.splitlines()[-1])
        return {f"{each.workload}.{key}": figure for key, figure in figures.items()}

    def _url(self, each: Measurement, folder: Path) -> str:
        match each.place:
            case "postgres":
                if self.server is None:
                    raise MeasurementFailed("there is no server")
                return fresh_database(self.server, _DATABASE)
            case "sqlite":
                return f"sqlite:///{folder}/bench.db"
            case _:
                return "memory://"

    def _run(self, command: Sequence[str], each: Measurement) -> str:
        # Its standard input stays open for as long as it may live: it and its workers end with it.
        with subprocess.Popen(  # noqa: S603 # our own modules
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        ) as process:
            out, errors = self._outcome(process)
        if process.returncode or not out.strip():
            worker = self.scratch / "measurement" / "worker.log"
            said = errors + (worker.read_text("utf-8", "replace") if worker.exists() else "")
            raise MeasurementFailed(f"{each.workload} of {each.name} failed: {said[-1500:].strip()}")
        return out

    def _outcome(self, process: "subprocess.Popen[str]") -> tuple[str, str]:
        stdin, process.stdin = process.stdin, None  # or communicate() would close it at once
        try:
            return process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return "", f"it took longer than {PATIENCE:g} s; {process.communicate()[1]}"
        finally:
            if stdin is not None:
                stdin.close()


def run_rounds(
    runner: Runner, measurements: Sequence[Measurement], rounds: int, told: Callable[[str], None]
) -> tuple[list[Round], list[str]]:
    """Return the figures of each round, and what failed, in words; one failure ends no run."""
    whole: list[Round] = []
    failures: list[str] = []
    for number in range(rounds):
        figures: dict[str, Figures] = defaultdict(dict)
        for each in measurements:
            told(f"round {number + 1} of {rounds}: {each.workload}, {each.name}")
            try:
                figures[each.name].update(runner.measure(each))
            except MeasurementFailed as failure:
                failures.append(str(failure))
        whole.append(dict(figures))
    return whole, failures
