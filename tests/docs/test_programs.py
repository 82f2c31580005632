"""Every program that the Makefile runs can be started: most of them run seldom, and by hand."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAMS = sorted(set(re.findall(r"/python -m ([\w.]+)", (ROOT / "Makefile").read_text("utf-8"))) - {"venv"})


def test_the_makefile_runs_programs() -> None:
    assert {"tests.chaos", "tests.clusters", "tests.mutation", "tests.proof", "benchmarks", "models"} <= set(PROGRAMS)


@pytest.mark.parametrize("program", PROGRAMS)
def test_it_can_be_started(program: str) -> None:
    command = [sys.executable, "-m", program, "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout
