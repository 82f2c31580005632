"""One rule for ids and names, in the library, on the command line and over HTTP, before anything reaches storage."""

import json
import os
import subprocess
import sys
from pathlib import Path
from unicodedata import category

import pytest

from zart import DurableScheduler, InMemoryScheduler, Registry, TaskContext, TaskHandler, Worker, WorkerConfig
from zart.ids import check_name
from zart.testing import Harness

ROOT = Path(__file__).parents[2]

CONTROLS = [chr(code) for code in range(sys.maxunicode + 1) if category(chr(code)) in {"Cc", "Cf", "Cs", "Zl", "Zp"}]
"""What moves a cursor, hides or reorders text, breaks a line, or is no text at all."""
HOSTILE = [
    "",
    "x" * 256,
    "x" * 10_000,
    "\u202etxt.exe",
    "order\x1b]0;owned\x07",
    "a\0",
    *CONTROLS,
    *(f"a{each}b" for each in CONTROLS),
]
HARMLESS = [
    *("a", "x" * 255, "🦊" * 255, "é", "e\u0301", "Å", "order 7", "../../etc/passwd"),
    *("'; DROP TABLE x; --", "<script>", "%s", "a/b?c#d"),
]
"""Odd, and harmless where values are bound and shown as text. Never normalised: two spellings are two names."""
REFUSED = r"must have 1 to 255 characters|has a control or format character"


def test_every_hostile_name_is_refused():
    assert len(HOSTILE) > 4000
    for name in HOSTILE:
        with pytest.raises(ValueError, match=REFUSED):
            check_name(name, "execution id")


@pytest.mark.parametrize("name", HARMLESS, ids=ascii)
def test_any_other_is_taken_as_it_is(name):
    assert check_name(name, "execution id") == name


class Flow(TaskHandler[str, str]):
    name = "flow"

    async def run(self, ctx: TaskContext, data: str) -> str:
        return await ctx.step(data, lambda: "done", returns=str)


@pytest.mark.parametrize("name", ["", "a\0b", "a\nb", "\u202eb", "\ud800", "x" * 256], ids=ascii)
async def test_every_way_in_keeps_the_rule(name):
    async with InMemoryScheduler() as storage:
        client = DurableScheduler(storage)
        await client.start("known", "flow", "x")
        refused = [
            lambda: client.start(name, "flow"),
            lambda: client.start("a", name),
            lambda: client.start("a", "flow", queue=name),
            lambda: client.start("a", "flow", start_key=name),
            lambda: client.start_many([(name, "flow", None)]),
            lambda: client.status(name),
            lambda: client.cancel(name),
            lambda: client.wait(name, 0),
            lambda: client.offer_event(name, "word"),
            lambda: client.offer_event("known", name),
            lambda: client.offer_event("known", "word", event_id=name),
            lambda: client.list_executions(task_name=name),
            lambda: client.list_executions(after=name),
        ]
        for call in refused:
            with pytest.raises(ValueError, match=REFUSED):
                await call()
        assert [each.execution_id for each in await client.list_executions()] == ["known"]
    with pytest.raises(ValueError, match=REFUSED):
        Registry().register(Flow(), name=name)
    with pytest.raises(ValueError, match=REFUSED):
        Worker(InMemoryScheduler(), [Flow()], WorkerConfig(queues=(name,)))


@pytest.mark.parametrize("name", ["", "a\0b", "\u202eb", "x" * 256], ids=ascii)
async def test_the_names_of_steps_keep_it_too(name):
    async with Harness([Flow()]) as harness:
        handle = await harness.client.start_for(Flow, "f-1", name)
        await harness.run_to_idle()
        record = await handle.record()
        assert record.status == "failed"
        assert "step name" in record.reason


@pytest.mark.parametrize("name", ["", "a\nb\u202e"], ids=ascii)
def test_the_command_line_keeps_it(name, tmp_path):
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "ZART_DATABASE_URL": f"sqlite:///{tmp_path / 'zart.db'}",
        "LC_ALL": "C.UTF-8",
    }
    for arguments in (("schedule", "flow", "--id", name), ("status", name), ("event", name, "word"), ("event", "a", name)):
        ended = subprocess.run(
            [sys.executable, "-m", "zart.cli", *arguments], env=environment, capture_output=True, text=True, check=False
        )
        assert ended.returncode == 2, (arguments, ended.stderr)
        assert json.loads(ended.stderr)["message"]
        assert not (tmp_path / "zart.db").exists()
