import asyncio
import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path

import pytest

from tests.cli.conftest import ROOT
from zart.cli.database import storage_at
from zart.cli.demo import ledger
from zart.cli.demo.chart import bars
from zart.cli.demo.story import ID, Story
from zart.cli.errors import Refused
from zart.client import DurableScheduler


def play(*tokens: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "zart.cli", "demo", *tokens], cwd=ROOT, check=False, capture_output=True, text=True, timeout=60
    )


def differences(folder: Path) -> list[str]:
    """Return what the demo would complain about, for the files that it has left."""

    async def compare() -> list[str]:
        story = Story(folder, lambda _seconds, _line: None)
        async with storage_at(story.url) as storage:
            client = DurableScheduler(storage)
            return (await story._compare(client, await client.status(ID), 0)).differences

    return asyncio.run(compare())


def test_the_demo_kills_its_worker_and_every_step_is_saved_once(tmp_path: Path) -> None:
    done = play("--json", "--keep", str(tmp_path / "demo"))
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["status"] == "completed"
    steps = {step["step"]: step for step in told["steps"]}
    assert len(steps) == 21
    assert all(step["saved"] == 1 for step in steps.values())
    assert Counter(step["started"] for step in steps.values()) == {1: 19, 2: 1, None: 1}
    assert steps["clean"]["started"] == 2
    assert told["flights"] + told["set_aside"] == 27_004
    assert "kill -9" in done.stderr
    table = Path(told["table"]).read_text().splitlines()
    assert len(table) == 1 + 16
    assert ET.parse(told["chart"]).getroot().tag.endswith("svg")
    assert told["seconds"] < 40
    assert differences(tmp_path / "demo") == []
    ledger.enter(str(tmp_path / "demo"), "read")
    ledger.enter(str(tmp_path / "demo"), "unheard-of")
    assert differences(tmp_path / "demo") == [
        "'read' started 2 times, not 1",
        "'unheard-of' ran, but was never saved",
    ]
    again = play("--keep", str(tmp_path / "demo"))
    assert (again.returncode, again.stdout) == (2, "")


def test_a_demo_whose_worker_does_not_work_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "false")
    with pytest.raises(Refused, match="ended by itself, with exit code 1") as refused:
        asyncio.run(Story(tmp_path, lambda _seconds, _line: None).play())
    assert refused.value.problem.exit == 1


def test_the_ledger_counts_every_start(tmp_path: Path) -> None:
    assert ledger.starts(tmp_path) == {}
    for step in ("a", "b", "a"):
        ledger.enter(str(tmp_path), step)
    assert ledger.starts(tmp_path) == {"a": 2, "b": 1}


@pytest.mark.parametrize("values", [[("a", 1.0), ("b & <c>", -2.5)], [("nothing", 0.0)]])
def test_the_chart_is_well_formed(values: list[tuple[str, float]]) -> None:
    text = bars("Title & more", values)
    root = ET.fromstring(text)
    labels = [each.text for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert labels[1::2] == [label for label, _ in values]
    assert "nan" not in text
