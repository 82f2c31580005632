"""Whatever a user gets wrong: one line that says what, and what to do; and nothing at all when nobody reads."""

import builtins
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import PATIENCE, ROOT, Zart, environment
from zart import errors
from zart.cli.errors import CODES, Exit, Problem, Refused, explain, usage
from zart.cli.sealing import payload_codec
from zart.errors import (
    ExecutionCancelled,
    ExecutionFailed,
    ExecutionFailure,
    NotSupported,
    SchemaMismatch,
    ZartError,
)
from zart.problems import KNOWN
from zart.status import ExecutionStatus

# ---- each error has a hint ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [each.kind for each in KNOWN], ids=[each.kind.__name__ for each in KNOWN])
def test_every_error_that_says_nothing_of_a_way_out_is_given_one(kind: type[BaseException]) -> None:
    silent = kind.__new__(kind)
    BaseException.__init__(silent, "something went wrong")
    silent.args = ("something went wrong",)
    vars(silent).update({"run": None, "execution_id": "x"})
    problem = explain(silent)
    assert (problem.message, bool(problem.hint)) == ("something went wrong", True)
    assert problem.code in CODES


def test_errors_as_they_are_raised_have_hints() -> None:
    failure = ExecutionFailure.StepFailure("a", "builtins.ValueError", "no")
    raised = [
        ExecutionFailed(failure, "one"),
        ExecutionCancelled("one"),
        errors.ExecutionFinished("one"),
        errors.ExecutionNotFound("one"),
        errors.ExecutionNotFound("one", 3),
        errors.ExecutionAlreadyExists("one", ExecutionStatus.RUNNING),
        errors.UnknownTask("one"),
        errors.StorageUnavailable("the server had to give up: deadlock (1213)"),
        ZartError("no more is known"),
        RuntimeError("unforeseen"),
    ]
    for each in raised:
        assert explain(each).hint, each


def test_a_problem_without_a_hint_cannot_be_made() -> None:
    with pytest.raises(LookupError, match="what to do"):
        Problem("failed", "it went wrong", "", Exit.FAILED)


def test_what_a_program_is_told_to_do_is_said_as_a_command() -> None:
    said = "it has no Zart tables, this Zart needs version 2; run `zart migrate`, or await the scheduler's migrate()"
    assert explain(SchemaMismatch(said)).hint == "run `zart migrate`"


def test_a_value_without_a_hint_of_its_own_points_to_the_help() -> None:
    with pytest.raises(Refused) as refused, usage():
        raise ValueError("it is no good")
    assert "--help" in refused.value.problem.hint


# ---- what users type ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "message", "hint"),
    [
        (("status", "a", "b"), "`zart status` has no place for 'b'", "quotes"),
        (("status",), "`zart status` lacks its EXECUTION_ID", "write `zart status EXECUTION_ID`, and see `zart status --help`"),
        (("event", "a"), "`zart event` lacks its NAME", "write `zart event EXECUTION_ID NAME`, and see `zart event --help`"),
        (("list", "--limit"), "`zart list` lacks a value after --limit", "see `zart list --help`"),
        (("schedule", ""), "task name must have 1 to 255 characters, not 0", "order-7"),
        (("worker", "--app", "tests.cli.flows:registry", "--concurrency", "0"), "--concurrency", "zart worker --help"),
        (("worker", "--app", "tests.cli.flows:registry", "--lease", "0"), "--lease must be above 0, not '0'", "30s"),
        (("worker", "--app", "tests.cli.flows:registry", "--poll", "0s"), "--poll must be above 0, not '0s'", "30s"),
        (("worker", "--app", "tests.cli.flows:registry", "--queue", ""), "queue must have", "order-7"),
        (("demo", "--keep", "/dev/null/demo"), "the folder '/dev/null/demo' cannot be made: Not a directory", "--keep"),
    ],
)
def test_usage_errors_name_what_was_typed(zart: Zart, command: tuple[str, ...], message: str, hint: str) -> None:
    answer = zart(*command)
    assert (answer.exit, answer.problem["code"], answer.out) == (Exit.USAGE, "usage", "")
    assert message in answer.problem["message"]
    assert hint in answer.problem["hint"]


@pytest.mark.parametrize(
    ("app", "hint"),
    [
        ("tests.cli.flows", "write --app tests.cli:flows"),
        ("flows", "write --app flows:name"),
        ("flows:", "write --app flows:name"),
        ("flows.py", "write --app flows:name"),
        (":", "write --app package.module:name"),
        ("tests/cli/flows.py:registry", "name the module, not its file: --app tests.cli.flows:registry"),
        ("./nowhere.py:registry", "name the module, not its file: --app nowhere:registry"),
        ("tests.cli.flows:regstry", "tests.cli.flows:registry"),
        ("tests.cli.conftest:registry_", "it has tests.cli.conftest:registry"),
        ("json:registry", "'json' has no Registry and no handler yet"),
        ("nowhere:registry", "start the command where the module can be imported from"),
    ],
)
def test_a_wrong_app_is_answered_with_the_names_that_the_user_gave(zart: Zart, app: str, hint: str) -> None:
    answer = zart("worker", "--app", app)
    assert (answer.exit, answer.problem["code"]) == (Exit.CONFIGURATION, "bad_app")
    assert hint in answer.problem["hint"]


def test_a_wrong_url_is_told_once_with_a_form_that_works_and_where_it_comes_from(
    zart: Zart, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZART_DATABASE_URL", "oracle://db/x")
    answer = zart("list")
    assert answer.problem["message"] == "'oracle://db/x' names no storage"
    assert "`mysql://user:password@host:port/database`" in answer.problem["hint"], "an example is no secret"
    assert answer.problem["hint"].endswith("(ZART_DATABASE_URL says so now)")
    given = zart("list", "--database-url", "oracle://db/y")
    assert "says so now" not in given.problem["hint"]


def test_an_empty_option_is_no_database_and_an_empty_variable_is_none(
    zart: Zart, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    answer = zart("list", "--database-url", "")
    assert (answer.exit, answer.problem["code"]) == (Exit.CONFIGURATION, "bad_database_url")
    monkeypatch.setenv("ZART_DATABASE_URL", "")
    monkeypatch.chdir(tmp_path)
    assert zart("list").exit == Exit.DONE


def test_a_cancelled_execution_says_what_to_look_at(zart: Zart) -> None:
    zart("schedule", "echo", "--id", "one two")
    zart("cancel", "one two")
    problem = zart("wait", "one two").problem
    assert problem["hint"] == "`zart status 'one two' --steps` shows how far it came"


# ---- extras -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes a package one that is not installed."""

    def leave_out(package: str) -> None:
        real = builtins.__import__

        def imported(name: str, *args: Any, **kwargs: Any) -> Any:
            if name.partition(".")[0] == package:
                raise ModuleNotFoundError(f"No module named {package!r}", name=package)
            return real(name, *args, **kwargs)

        monkeypatch.setattr(builtins, "__import__", imported)

    return leave_out


def test_a_driver_that_is_not_installed_is_a_missing_extra() -> None:
    script = """
import sys
sys.modules["asyncmy"] = None
from zart.cli.app import run
raise SystemExit(run(sys.argv[1:]))
"""
    for command in ("list", "doctor", "bench", "migrate"):
        ended = subprocess.run(
            [sys.executable, "-c", script, command, "--database-url", "mysql://h/d"],
            env=environment("sqlite:///x.db"),
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == Exit.CONFIGURATION
        assert '"code":"missing_extra"' in ended.stderr
        assert "the extra 'mysql'" in ended.stderr
        assert "pip install 'zart-durable[mysql]'" in ended.stderr


def test_encryption_without_its_library_is_a_missing_extra(
    monkeypatch: pytest.MonkeyPatch, without: Callable[[str], None]
) -> None:
    monkeypatch.delitem(sys.modules, "zart.sealing", raising=False)
    without("cryptography")
    with pytest.raises(Refused) as refused:
        payload_codec({"ZART_PAYLOAD_KEYS": "k=x"})
    problem = refused.value.problem
    assert (problem.code, problem.hint) == ("missing_extra", "pip install 'zart-durable[crypto]'")


def test_what_a_backend_cannot_do_is_no_missing_extra() -> None:
    assert explain(NotSupported("it has no checks; name another")).code == "not_supported"


# ---- nobody reads -------------------------------------------------------------------------------------------------------


def left_alone(url: str, *command: str, stream: str) -> tuple[int, str]:
    """Run a command whose standard output, or error, nobody reads; return how it left, and what it said on the other."""
    ours, theirs = os.pipe()
    os.close(ours)
    other = "stderr" if stream == "stdout" else "stdout"
    known = {key: value for key, value in environment(url).items() if key != "PYTHONUNBUFFERED"}
    try:
        streams: dict[str, Any] = {stream: theirs, other: subprocess.PIPE}
        ended = subprocess.run(
            [sys.executable, "-m", "zart.cli", *command],
            env=known,
            cwd=ROOT,
            text=True,
            timeout=PATIENCE,
            check=False,
            **streams,
        )
    finally:
        os.close(theirs)
    return ended.returncode, getattr(ended, other)


@pytest.mark.parametrize(
    "command",
    [
        ("list", "-o", "table"),
        ("list", "-o", "json"),
        ("list", "--watch"),
        ("list", "--watch", "-o", "table"),
        ("status", "one", "-o", "table", "--steps"),
        ("schedule", "echo", "-o", "table"),
        ("doctor", "-o", "table"),
        ("schema", "-o", "table"),
        ("completion", "bash"),
        ("migrate", "-o", "table"),
        ("list", "--help"),
        ("--help",),
        ("--version",),
    ],
)
def test_it_ends_quietly_when_nobody_reads_what_it_prints(zart: Zart, url: str, command: tuple[str, ...]) -> None:
    zart("schedule", "echo", "--id", "one", "--delay", "1h")
    assert left_alone(url, *command, stream="stdout") == (Exit.DONE, "")


@pytest.mark.parametrize(
    ("command", "left"),
    [(("status", "nobody"), Exit.NOT_FOUND), (("nonsense",), Exit.USAGE), (("list", "-o", "xml"), Exit.USAGE)],
)
def test_it_leaves_as_it_must_though_nobody_reads_its_complaint(
    zart: Zart, url: str, command: tuple[str, ...], left: Exit
) -> None:
    zart("migrate")
    assert left_alone(url, *command, stream="stderr") == (left, "")
