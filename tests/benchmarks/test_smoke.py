"""That the benchmarks run and say everything that they are to say; never how fast anything is."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(180)
def test_quick_run_prints_every_line_of_the_table(tmp_path: Path) -> None:
    said = tmp_path / "figures.json"
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--quick", "--json", said],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={"COLUMNS": "220", "PATH": "/usr/bin:/bin"},
    )
    assert run.returncode == 0, run.stderr
    for title in ("one-row INSERT", "W1 ÷", "W2", "W3", "W5 replay", "start_many", "memory of the worker", "Python 3"):
        assert title in run.stdout
    assert run.stdout.count("must") == 5
    figures = json.loads(said.read_text("utf-8"))
    both = {"w1.rate", "w1.cpu", "w1.commits", "w2.p50", "w3.p50", "w5.total", "w5.growth", "w5.replay", "w6.single", "w6.bulk"}
    assert set(figures["medians"]["memory"]) == both
    assert set(figures["medians"]["sqlite"]) == both | {"w1.ratio", "parked.memory", "parked.idle"}
    assert set(figures["medians"]["limit"]) == {"limit.1", "limit.100"}
    measured = [each for storage in figures["medians"].values() for each in storage.values()]
    assert all(isinstance(each, float) for each in measured)
    assert all(each > 0 for key, each in figures["medians"]["sqlite"].items() if key != "parked.memory")


def test_unknown_workload_is_refused_by_name() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--workload", "W9"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 2
    assert "there is no workload 'W9'" in run.stderr
