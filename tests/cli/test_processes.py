"""The command line in processes of its own: workers, a shell, a terminal."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import ROOT, StartWorker, Zart, environment, on_both, until
from zart import DurableExecutionStatus
from zart.cli.errors import Exit


def command_line(*tokens: str) -> list[str]:
    return [sys.executable, "-m", "zart.cli", *tokens]


# What `import zart` itself imports is not the command line's to say: its package is a bare one here.
HELP = """
import sys, types
sys.modules["zart"] = bare = types.ModuleType("zart")
bare.__path__ = ["zart"]
from zart.cli.app import run
run(["--help"])
heavy = {"sqlalchemy", "uvloop", "zart.client", "zart.worker", "zart.schedulers", "zart.cli.database", "zart.cli.commands"}
sys.exit(", ".join(sorted(heavy & sys.modules.keys())) or 0)
"""


def test_help_is_quick_because_it_needs_neither_the_engine_nor_a_database() -> None:
    done = subprocess.run([sys.executable, "-c", HELP], cwd=ROOT, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_that_is_asked_to_stop_leaves_with_0(start_worker: StartWorker, stop: signal.Signals) -> None:
    worker = start_worker()
    worker.send_signal(stop)
    assert worker.wait(10) == 0


@on_both
def test_a_stopped_worker_lets_work_finish_or_hands_it_back_at_once(
    start_worker: StartWorker, zart: Zart, tmp_path: Path
) -> None:
    notes = tmp_path / "notes"
    zart("migrate")
    zart("schedule", "once", "--data", f'"{notes}"', "--id", "one")
    worker = start_worker("--lease", "1h")
    until(lambda: notes.exists() and "second" in notes.read_text(), "the second step")
    for each in (signal.SIGTERM, signal.SIGINT):  # the second makes it quick; two of the same may come as one
        worker.send_signal(each)
    assert worker.wait(10) == 0
    start_worker()
    done = zart("wait", "one", "--timeout", "5")
    assert (done.exit, done.data["output"]) == (Exit.DONE, 2)


@on_both
def test_after_kill_9_another_worker_goes_on_when_the_lease_has_run_out(
    start_worker: StartWorker, zart: Zart, tmp_path: Path
) -> None:
    notes = tmp_path / "notes"
    zart("migrate")
    zart("schedule", "once", "--data", f'"{notes}"', "--id", "one")
    worker = start_worker("--lease", "3s")
    until(lambda: notes.exists() and "second" in notes.read_text(), "the second step")
    start_worker("--lease", "3s")
    killed = time.monotonic()
    worker.kill()
    done = zart("wait", "one", "--timeout", "20")
    assert (done.exit, done.data["output"]) == (Exit.DONE, 2)
    # The lease, a beat of the other worker's to find it out, and a second for all that this machine does besides.
    assert time.monotonic() - killed < 3 + 1 + 1
    assert notes.read_text().split() == ["first", "second", "second"]


def test_a_verbose_worker_tells_every_change_of_state(start_worker: StartWorker, zart: Zart) -> None:
    zart("schedule", "echo", "--id", "one", "--data", '"a secret"', "--queue", "nights")
    worker = start_worker("-v", "--queue", "nights", "--queue", "days", "--concurrency", "1")
    zart("wait", "one", "--timeout", "10")
    worker.terminate()
    _, told = worker.communicate(timeout=10)
    states = [line.partition("execution one is ")[2] for line in told.splitlines() if "execution one" in line]
    assert states == ["running", "completed"]
    assert "a secret" not in told


def test_a_verbose_worker_tells_that_an_execution_was_taken_from_it(
    start_worker: StartWorker, zart: Zart, tmp_path: Path
) -> None:
    notes = tmp_path / "notes"
    zart("schedule", "once", "--data", f'"{notes}"', "--id", "one")
    worker = start_worker("-v")
    until(lambda: notes.exists() and "second" in notes.read_text(), "the second step")
    zart("cancel", "one")
    assert worker.stderr is not None
    states = [next(line for line in worker.stderr if "execution one is" in line) for _ in range(2)]
    assert "running" in states[0]
    assert "no longer held: it was cancelled" in states[1]


def test_a_worker_that_is_not_verbose_tells_what_failed_and_why(start_worker: StartWorker, zart: Zart) -> None:
    zart("schedule", "unlucky", "--id", "bad")
    zart("schedule", "echo", "--id", "good")
    worker = start_worker()
    zart("wait", "bad", "--timeout", "10")
    zart("wait", "good", "--timeout", "10")
    worker.terminate()
    _, told = worker.communicate(timeout=10)
    (line,) = told.splitlines()
    assert "WARNING" in line
    assert "execution bad is failed" in line
    assert "ValueError: no luck" in line


@on_both
def test_the_session_of_the_manual_typed_into_a_shell(start_worker: StartWorker, url: str, tmp_path: Path) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "zart"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m zart.cli "$@"\n')
    script.chmod(0o755)
    variables = environment(url) | {"PATH": f"{folder}:{os.environ['PATH']}"}

    def shell(line: str) -> str:
        done = subprocess.run(line, shell=True, env=variables, cwd=ROOT, check=True, capture_output=True, text=True)
        assert done.stderr == ""
        return done.stdout

    assert '"from":0,"to":3' in shell("zart migrate")
    start_worker()
    assert '"repeated":false' in shell("""zart schedule data-pipeline --data '{"dataset":"sales-q4-2025"}' --id pipeline-001""")
    until(lambda: '"status":"waiting","step":"await-approval"' in shell("zart status pipeline-001"), "the approval")
    assert '"result":"delivered"' in shell("""zart event pipeline-001 approval --data '{"approved":true,"by":"alice"}'""")
    done = shell("zart wait pipeline-001 --timeout 3600")
    assert '"status":"completed"' in done
    assert '"output":{"rows_written":48291}' in done
    shell("zart schedule echo --id pipeline-002 --delay 1h")
    assert '"status":"cancelled","cancelled":true' in shell("zart cancel pipeline-002")
    listed = [json.loads(line) for line in shell("zart list -o jsonl").splitlines()]
    assert [(row["execution_id"], row["status"]) for row in listed] == [
        ("pipeline-002", "cancelled"),
        ("pipeline-001", "completed"),
    ]


def test_a_reader_that_has_read_enough_is_no_error(zart: Zart, url: str) -> None:
    for number in range(50):
        zart("schedule", "echo", "--id", f"execution-{number:03}")
    reader, writer = os.pipe()
    os.close(reader)
    process = subprocess.Popen(
        command_line("list", "-o", "jsonl"), env=environment(url), cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, text=True
    )
    os.close(writer)
    _, told = process.communicate(timeout=20)
    assert (process.returncode, told) == (0, "")


def test_output_that_nobody_takes_is_told(zart: Zart, url: str) -> None:
    zart("schedule", "echo", "--id", "one")
    for form in ("json", "jsonl", "table"):
        with Path("/dev/full").open("w") as full:
            done = subprocess.run(
                command_line("list", "-o", form),
                env=environment(url),
                cwd=ROOT,
                check=False,
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
            )
        assert done.returncode == Exit.FAILED
        assert done.stderr.count("\n") == 1
        assert "standard output takes no more" in done.stderr


CLOSED = """
import os, sys
for number in map(int, sys.argv[1].split(",")):
    os.close(number)
os.execv(sys.argv[2], sys.argv[2:])
"""


@pytest.mark.parametrize("closed", ["0", "1", "2", "0,1,2"])
def test_streams_that_are_closed_are_no_error_and_no_database(url: str, zart: Zart, closed: str) -> None:
    command = command_line("schedule", "echo", "--id", "one")
    done = subprocess.run(
        [sys.executable, "-c", CLOSED, closed, *command], env=environment(url), cwd=ROOT, check=False, capture_output=True
    )
    assert done.returncode == 0
    assert zart("status", "one").data["status"] == "pending"
    missing = subprocess.run(
        [sys.executable, "-c", CLOSED, closed, *command_line("status", "nobody")],
        env=environment(url),
        cwd=ROOT,
        check=False,
        capture_output=True,
    )
    assert missing.returncode == Exit.NOT_FOUND
    assert b"Traceback" not in missing.stderr


# ---- on a terminal ------------------------------------------------------------------------------------------------------


def on_terminal(url: str, *tokens: str, **variables: str) -> tuple[int, str]:
    """Run a command on a terminal of its own; return its exit code and all that the terminal was sent."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command_line(*tokens),
        env=environment(url) | {"TERM": "xterm-256color"} | variables,
        cwd=ROOT,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    sent = b""
    while select.select([ours], [], [], 20)[0]:
        try:
            part = os.read(ours, 65536)
        except OSError:  # Linux says so when the other side is closed
            break
        if not part:
            break
        sent += part
    os.close(ours)
    return process.wait(10), sent.decode()


@pytest.mark.parametrize("form", [(), ("-o", "json")])
@pytest.mark.parametrize(
    "tokens",
    [("status", "hostile", "--steps"), ("wait", "hostile"), ("status", "failing", "--steps"), ("wait", "failing"), ("list",)],
)
def test_escape_sequences_in_stored_values_do_not_reach_a_terminal(
    zart: Zart, finish: Callable[[str], DurableExecutionStatus], url: str, tokens: tuple[str, ...], form: tuple[str, ...]
) -> None:
    for name in ("hostile", "failing"):
        zart("schedule", name, "--id", name)
        finish(name)
    _, sent = on_terminal(url, *tokens, *form, NO_COLOR="1")
    assert "hostile" in sent or "failing" in sent
    for harm in ("\x1b]", "\x07", "\x1b[2J", "\u202e", "\x9b"):
        assert harm not in sent
    if tokens[0] == "status" and not form:
        assert "\\x1b]0;" in sent


def test_a_terminal_gets_a_table_in_colour_unless_it_is_asked_for_none(zart: Zart, url: str) -> None:
    zart("schedule", "echo", "--id", "one")
    zart("cancel", "one")
    _, coloured = on_terminal(url, "status", "one")
    assert "\x1b[33mcancelled" in coloured
    _, plain = on_terminal(url, "status", "one", NO_COLOR="1")
    assert "cancelled" in plain
    assert "\x1b" not in plain
    left, problem = on_terminal(url, "status", "two")
    assert left == Exit.NOT_FOUND
    assert problem.startswith("zart: no execution has the id 'two'")


def test_a_person_who_waits_sees_what_is_waited_for(start_worker: StartWorker, zart: Zart, url: str) -> None:
    zart("schedule", "data-pipeline", "--id", "one", "--data", '{"dataset":"x"}')
    start_worker()
    until(lambda: zart("status", "one").data["step"] == "await-approval", "the approval")
    left, sent = on_terminal(url, "wait", "one", "--timeout", "300ms")
    assert left == Exit.TIMED_OUT
    assert "load" in sent
    assert "await-approval" in sent
    assert "until 2" in sent
    zart("event", "one", "approval", "--data", '{"approved":true,"by":"x"}')
    left, sent = on_terminal(url, "wait", "one", "--timeout", "10s")
    assert (left, "48291" in sent) == (Exit.DONE, True)
