"""That the benchmarks run and say everything that they are to say; never how fast anything is."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
W1 = {"W1.rate", "W1.cpu"}
BETWEEN = {"W2.p50", "W3.p50", "W4.p50", "W5.total", "W5.growth", "kill.replay"}
INSIDE = {
    "W2 inside.p50",
    "W6.single",
    "W6.bulk",
    "claims.empty",
    "claims.full",
    "claims.finished",
    "claims.unregistered",
    "parked.memory",
    "parked.idle",
    "two.one",
    "two.two",
    "two.ratio",
}
SERVER = {"W1.server", "W1.commits", "W1.wal", "W1 many.rate", "W1 at 200.commits", "W1 at 200.wal"}


def ran(module: str, *options: str | Path) -> str:
    """Run a module of the benchmarks to its good end, and return what it printed."""
    run = subprocess.run(
        [sys.executable, "-m", module, *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={"COLUMNS": "220", "PATH": "/usr/bin:/bin"},
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def quick(folder: Path, *options: str) -> tuple[str, dict[str, Any]]:
    """Run the benchmarks on very little, and return what they printed and wrote."""
    said = folder / "figures.json"
    printed = ran("benchmarks", "--quick", "--json", said, *options)
    figures: dict[str, Any] = json.loads(said.read_text("utf-8"))["medians"]
    assert all(isinstance(each, float) for of in figures.values() for each in of.values())
    assert all(each > 0 for of in figures.values() for key, each in of.items() if key != "parked.memory")
    return printed, figures


@pytest.mark.timeout(240)
def test_quick_run_without_a_server_measures_everything_and_writes_a_page(tmp_path: Path) -> None:
    page = tmp_path / "docs" / "measured.md"
    out, figures = quick(tmp_path, "--place", "memory,sqlite", "--page", str(page))
    assert set(figures["zart memory"]) == W1 | {"W2 inside.p50", "W6.single", "W6.bulk"}
    assert set(figures["zart sqlite"]) == W1 | BETWEEN | INSIDE
    assert set(figures["limit sqlite"]) == {"limit.one", "limit.hundred"}
    for title in ("one-row INSERT", "W1: executions", "W3: event", "replay of 900", "memory of the worker", "Python 3"):
        assert title in out
    assert out.count("W1 on SQLite vs loop of one-row commits") == 1
    text = page.read_text("utf-8")
    plots = {each.name for each in page.parent.glob("*.svg")}
    assert plots == {f"measured-{name}.svg" for name in ("w1", "w2", "w3", "w4", "w5", "w6", "step")}
    assert all(f"]({name})" in text for name in plots)
    assert "W1 on SQLite vs loop" in text


@pytest.mark.timeout(240)
def test_quick_run_on_a_server_of_its_own_counts_commits_and_wal(tmp_path: Path) -> None:
    chosen = "W1,W1 many,W1 at 200,W2,kill,claims,limit"
    out, figures = quick(tmp_path, "--place", "postgres", "--workload", chosen)
    assert set(figures["zart postgres"]) >= W1 | SERVER | {"W2.p50", "kill.replay", "claims.finished"}
    assert set(figures["limit postgres"]) == {"limit.trip", "limit.one", "limit.unnest"}
    assert figures["zart postgres"]["W1 at 200.wal"] > 500
    assert "PostgreSQL 1" in out


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--workload", "W9", "there is no workload 'W9'"),
        ("--subject", "zarf", "there is no subject 'zarf'"),
        ("--place", "mars", "there is no place 'mars'"),
        ("--rounds", "0", "0 is no number from 1"),
    ],
)
def test_what_there_is_not_is_refused_by_name(option: str, value: str, says: str) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks", option, value], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 2
    assert says in run.stderr


@pytest.mark.timeout(120)
def test_the_http_api_is_measured_beside_a_bare_route(tmp_path: Path) -> None:
    printed = ran("benchmarks.http", "--rows", "2000", "--rounds", "1", "--seconds", "1", "--scratch", tmp_path)
    for subject in ("bare route", "GET of one", "list, 1,000 rows", "list, 2,000 rows"):
        assert subject in printed
