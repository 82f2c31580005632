"""`zart list --watch`: for a person on a terminal, for a program line by line."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from rich.console import Console

from tests.cli.conftest import PATIENCE, ROOT, Zart, environment, on_both
from zart.cli.errors import Exit
from zart.cli.watching import picture, tell_changes
from zart.testing import FakeClock

NOW = datetime(2030, 1, 31, 8, tzinfo=UTC)


def row(execution_id: str, status: str = "pending", reason: str | None = None) -> dict[str, object]:
    return {"execution_id": execution_id, "task": "echo", "status": status, "scheduled_at": NOW, "reason": reason}


@pytest.fixture
def watcher(url: str) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-m", "zart.cli", "list", "--watch"]
    variables = {key: value for key, value in environment(url).items() if key != "PYTHONUNBUFFERED"}
    process = subprocess.Popen(command, env=variables, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    yield process
    if process.poll() is None:
        process.kill()
    process.communicate()


@on_both
def test_a_program_gets_a_line_for_each_change_until_it_is_interrupted(zart: Zart, request: pytest.FixtureRequest) -> None:
    zart("migrate")
    zart("schedule", "echo", "--id", "one")
    zart("schedule", "echo", "--id", "two")
    watcher: subprocess.Popen[str] = request.getfixturevalue("watcher")
    assert watcher.stdout is not None

    def told() -> tuple[str, str]:
        assert watcher.stdout is not None
        line = json.loads(watcher.stdout.readline())
        return line["execution_id"], line["status"]

    assert [told(), told()] == [("one", "pending"), ("two", "pending")]
    zart("cancel", "one")
    assert told() == ("one", "cancelled")
    zart("schedule", "echo", "--id", "three")
    assert told() == ("three", "pending")
    watcher.send_signal(signal.SIGINT)
    out, err = watcher.communicate(timeout=PATIENCE)
    assert (watcher.returncode, out, err) == (Exit.INTERRUPTED, "", "")


def test_it_ends_when_its_reader_has_left_though_nothing_changes(zart: Zart, request: pytest.FixtureRequest) -> None:
    zart("migrate")
    zart("schedule", "echo", "--id", "one")
    watcher: subprocess.Popen[str] = request.getfixturevalue("watcher")
    assert watcher.stdout is not None
    assert watcher.stdout.readline()
    watcher.stdout.close()
    watcher.wait(timeout=PATIENCE)
    assert watcher.stderr is not None
    assert watcher.stderr.read() == ""


def test_a_person_gets_a_table_that_is_kept_up_to_date(zart: Zart, url: str) -> None:
    zart("schedule", "echo", "--id", "one")
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "zart.cli", "list", "--watch"]
    process = subprocess.Popen(
        command, env=environment(url) | {"TERM": "xterm-256color", "NO_COLOR": "1"}, cwd=ROOT, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    sent = ""

    def until(word: str) -> None:
        nonlocal sent
        while word not in sent:
            assert select.select([ours], [], [], PATIENCE)[0], f"waited in vain for {word!r} in {sent!r}"
            sent += os.read(ours, 65536).decode()

    try:
        until("1 pending")
        zart("cancel", "one")
        until("1 cancelled")
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == Exit.INTERRUPTED
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    assert "\x1b[1A" in sent, "it is drawn over what was there"


def test_what_is_watched_counts_names_and_is_cut_where_the_terminal_ends() -> None:
    rows = [row("a" * 60, "running"), row("b", "waiting", "no worker \x1b[2J for echo"), row("c", "running")]
    console = Console(width=50, force_terminal=False, file=None, record=True, quiet=False)
    with console.capture() as captured:
        console.print(picture(rows, NOW))
    shown = captured.get().splitlines()
    assert shown[0] == "08:00:00Z  2 running, 1 waiting"
    assert len(shown) == 1 + 1 + len(rows) + 1, "the head, the names of columns, a line each, and a reason"
    assert all(len(line) <= 50 for line in shown)
    assert any("reason: no worker \\x1b[2J for echo" in line for line in shown)
    with console.capture() as captured:
        console.print(picture([], NOW))
    assert captured.get().strip() == "08:00:00Z  none"


async def test_only_what_is_new_or_has_changed_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    looks = iter(
        [[row("b"), row("a")], [row("b"), row("a")], [row("c"), row("b", "running"), row("a")], [row("b")], [row("a")]]
    )

    class Enough(Exception):
        pass

    async def look() -> list[dict[str, object]]:
        try:
            return next(looks)
        except StopIteration:
            raise Enough from None

    class Hasty(FakeClock):
        def call_later(self, seconds, callback):  # type: ignore[no-untyped-def] # as the fake's
            callback()
            return super().call_later(seconds, callback)

    with pytest.raises(Enough):
        await tell_changes(look, Hasty())
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    told = [(line["execution_id"], line["status"]) for line in lines]
    # What comes back after it was gone is new.
    assert told == [("a", "pending"), ("b", "pending"), ("b", "running"), ("c", "pending"), ("b", "pending"), ("a", "pending")]
