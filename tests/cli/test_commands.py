"""Each command in this process, and each exit code."""

import io
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import APP, StartWorker, Zart, on_both, until
from zart import DurableExecutionStatus
from zart.cli.app import COMMANDS
from zart.cli.errors import Exit, explain
from zart.errors import StorageUnavailable

DATASET = '{"dataset":"sales-q4-2025"}'
Finish = Callable[[str], DurableExecutionStatus]


# ---- schedule ---------------------------------------------------------------------------------------------------------


def test_a_start_says_what_it_started(zart: Zart) -> None:
    answer = zart("schedule", "echo", "--data", DATASET, "--id", "one")
    assert answer.exit == Exit.DONE
    assert answer.out.count("\n") == 1
    data = answer.data
    assert data.pop("scheduled_at").endswith("+00:00")
    assert data == {"execution_id": "one", "task": "echo", "status": "pending", "run": 1, "repeated": False}


def test_without_an_app_a_task_that_no_living_worker_knows_is_told(zart: Zart, start_worker: StartWorker) -> None:
    told = "zart: no worker that is alive knows 'ekho'; it waits until one does\n"
    for number, form in enumerate(("json", "jsonl", "table")):
        answer = zart("schedule", "ekho", "--id", f"one-{number}", "-o", form)
        assert (answer.exit, answer.err) == (Exit.DONE, told)
        assert "no worker" not in answer.out
    assert zart("schedule", "ekho", "--id", "one-0").err == told, "also when it is repeated"
    assert zart("schedule", "echo", "--id", "known", "--app", APP).err == "", "its name is right, and workers come and go"
    start_worker()
    assert zart("schedule", "echo", "--id", "two", "--delay", "1h").err == ""
    assert zart("schedule", "ekho", "--id", "three").err == told
    assert zart("wait", "known", "--timeout", "10").exit == Exit.DONE
    assert zart("schedule", "echo", "--id", "known").err == "", "it has been taken"


def test_a_look_for_workers_that_fails_takes_nothing_from_a_start(zart: Zart, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: object) -> None:
        raise StorageUnavailable("the database is away")

    monkeypatch.setattr("zart.cli.access.Direct.status", away)
    answer = zart("schedule", "echo", "--id", "one")
    assert (answer.exit, answer.err, answer.data["execution_id"]) == (Exit.DONE, "", "one")


def test_an_id_is_made_when_none_is_given(zart: Zart) -> None:
    first, second = (zart("schedule", "echo").data["execution_id"] for _ in range(2))
    assert first != second
    assert first[14] == "7", "a UUIDv7"


@on_both
def test_the_same_start_twice_is_one_and_says_so(zart: Zart, finish: Finish) -> None:
    zart("migrate")
    zart("schedule", "echo", "--data", '{"a":1,"b":[true,null,1.5]}', "--id", "one")
    again = zart("schedule", "echo", "--data", ' {"b": [true, null, 1.5], "a": 1}', "--id", "one")
    assert (again.exit, again.data["repeated"], again.data["status"]) == (Exit.DONE, True, "pending")
    finish("one")
    ended = zart("schedule", "echo", "--data", '{"a":1,"b":[true,null,1.5]}', "--id", "one")
    assert (ended.exit, ended.data["repeated"], ended.data["status"], ended.data["run"]) == (Exit.DONE, True, "completed", 1)


@pytest.mark.parametrize(
    ("tokens", "difference"),
    [
        (("echo", "--data", '{"a":2}'), "other data"),
        (("echo", "--data", '{"a":1.0}'), "other data"),
        (("echo", "--data", '{"a":true}'), "other data"),
        (("echo", "--data", '{"a":"NaN"}'), "other data"),
        (("echo", "--data", '{"b":1}'), "other data"),
        (("echo",), "other data"),
        (("failing", "--data", '{"a":1}'), "another task"),
    ],
)
def test_other_work_under_the_same_id_is_a_conflict(zart: Zart, tokens: tuple[str, ...], difference: str) -> None:
    zart("schedule", "echo", "--data", '{"a":1}', "--id", "one")
    answer = zart("schedule", *tokens, "--id", "one")
    assert (answer.exit, answer.out) == (Exit.CONFLICT, "")
    assert answer.problem["code"] == "idempotency_mismatch"
    assert f"was started with {difference}" in answer.problem["message"]
    assert answer.problem["hint"] == "use another id; once it has ended, reuse= starts the same id again from Python"


def test_with_an_app_an_unknown_task_is_refused_with_the_known_names(zart: Zart) -> None:
    answer = zart("schedule", "ekho", "--app", APP, "--id", "one")
    assert (answer.exit, answer.problem["code"]) == (Exit.USAGE, "task_not_registered")
    assert "data-pipeline, echo, failing" in answer.problem["message"] + answer.problem["hint"]
    assert zart("status", "one").exit == Exit.NOT_FOUND


def test_with_an_app_data_of_the_wrong_form_is_refused_with_its_path(zart: Zart) -> None:
    answer = zart("schedule", "data-pipeline", "--data", '{"dataset": 7}', "--app", APP, "--id", "one")
    assert (answer.exit, answer.problem["code"]) == (Exit.USAGE, "invalid_data")
    assert "dataset" in answer.problem["message"]
    assert zart("status", "one").exit == Exit.NOT_FOUND
    assert zart("schedule", "data-pipeline", "--data", DATASET, "--app", APP, "--id", "one").exit == Exit.DONE
    assert zart("schedule", "data-pipeline", "--data", DATASET, "--id", "one").data["repeated"] is True


def test_data_comes_from_a_file_or_from_stdin(zart: Zart, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in.json").write_text('{"from":"file"}')
    assert zart("schedule", "echo", "--data", f"@{tmp_path / 'in.json'}", "--id", "file").exit == Exit.DONE
    assert zart("schedule", "echo", "--data", '{"from":"file"}', "--id", "file").data["repeated"] is True
    monkeypatch.setattr(sys, "stdin", io.StringIO("-7"))
    assert zart("schedule", "echo", "--data", "-", "--id", "stdin").exit == Exit.DONE
    assert zart("schedule", "echo", "--data", "-7", "--id", "stdin").data["repeated"] is True


def test_a_start_can_be_put_off(zart: Zart) -> None:
    at = zart("schedule", "echo", "--at", "2030-01-31T08:00:00+01:00").data["scheduled_at"]
    assert at == "2030-01-31T07:00:00+00:00"
    now, later = (zart("schedule", "echo", *more).data["scheduled_at"] for more in ((), ("--delay", "1000d")))
    assert int(later[:4]) >= int(now[:4]) + 2


# ---- status, wait, list, event, cancel ----------------------------------------------------------------------------------


def test_what_waits_shows_where(zart: Zart, finish: Finish) -> None:
    zart("schedule", "echo", "--data", "[1,2]", "--id", "one")
    before = zart("status", "one").data
    assert (before["status"], before["step"], before["output"]) == ("pending", None, None)
    assert before["reason"] == "no worker for echo"
    finish("one")
    after = zart("wait", "one", "--timeout", "5")
    assert (after.exit, after.err) == (Exit.DONE, "")
    assert (after.data["status"], after.data["output"], after.data["error"]) == ("completed", [1, 2], None)


def test_steps_are_shown_on_request(zart: Zart, finish: Finish) -> None:
    zart("schedule", "hostile", "--id", "one")
    finish("one")
    assert "steps" not in zart("status", "one").data
    (step,) = zart("status", "one", "--steps").data["steps"]
    assert (step["name"], step["kind"], step["status"], step["attempts"]) == ("speak", "step", "completed", 1)


def test_waiting_for_what_failed_ends_with_4(zart: Zart, finish: Finish) -> None:
    zart("schedule", "failing", "--id", "one")
    finish("one")
    answer = zart("wait", "one", "--timeout", "5")
    assert (answer.exit, answer.problem["code"]) == (Exit.ENDED_BADLY, "execution_failed")
    assert answer.data["status"] == "failed"
    assert "boom" in str(answer.data["error"])
    assert zart("status", "one").exit == Exit.DONE


@on_both
def test_waiting_for_what_was_cancelled_ends_with_4(zart: Zart) -> None:
    zart("migrate")
    zart("schedule", "echo", "--id", "one")
    cancelled = zart("cancel", "one")
    assert (cancelled.exit, cancelled.data["status"], cancelled.data["cancelled"]) == (Exit.DONE, "cancelled", True)
    again = zart("cancel", "one")
    assert (again.exit, again.data["status"], again.data["cancelled"]) == (Exit.DONE, "cancelled", False)
    answer = zart("wait", "one", "--timeout", "5")
    assert (answer.exit, answer.problem["code"], answer.data["status"]) == (
        Exit.ENDED_BADLY,
        "execution_cancelled",
        "cancelled",
    )


def test_waiting_in_vain_ends_with_75_and_shows_how_far_it_is(zart: Zart) -> None:
    zart("schedule", "echo", "--id", "one")
    answer = zart("wait", "one", "--timeout", "10ms")
    assert (answer.exit, answer.problem["code"], answer.data["status"]) == (Exit.TIMED_OUT, "timed_out", "pending")


def test_data_that_json_can_hardly_say_is_compared_too(zart: Zart) -> None:
    for data, repeated in (('{"b":1e400,"a":NaN}', False), ('{"a":NaN,"b":1e400}', True)):
        assert zart("schedule", "echo", "--data", data, "--id", "one").data["repeated"] is repeated
    assert zart("schedule", "echo", "--data", '{"a":"NaN","b":1e400}', "--id", "one").exit == Exit.CONFLICT


@on_both
def test_an_event_is_delivered_once(zart: Zart) -> None:
    zart("migrate")
    zart("schedule", "data-pipeline", "--id", "one")
    first, second = (zart("event", "one", "approval", "--data", "{}", "--event-id", "e1") for _ in range(2))
    assert (first.exit, first.data["result"]) == (Exit.DONE, "delivered")
    assert (second.exit, second.data["result"]) == (Exit.DONE, "duplicate")
    assert zart("event", "one", "approval").data["result"] == "delivered"


def test_the_answer_to_an_event_says_what_was_waited_for(zart: Zart, start_worker: StartWorker) -> None:
    zart("schedule", "data-pipeline", "--id", "one", "--data", DATASET)
    assert zart("event", "one", "misspelt").data["waiting_for"] == []
    start_worker()
    until(lambda: zart("status", "one").data["step"] == "await-approval", "the approval")
    assert zart("event", "one", "misspelt").data["waiting_for"] == ["await-approval"]


def test_an_event_after_the_end_is_a_conflict(zart: Zart) -> None:
    zart("schedule", "echo", "--id", "one")
    zart("cancel", "one")
    answer = zart("event", "one", "approval")
    assert (answer.exit, answer.problem["code"]) == (Exit.CONFLICT, "execution_finished")


@on_both
def test_a_list_is_filtered_ordered_and_paged(zart: Zart) -> None:
    zart("migrate")
    for name in ("a", "b", "c"):
        zart("schedule", "echo", "--id", name)
    zart("schedule", "failing", "--id", "d")
    zart("cancel", "b")

    def ids(*tokens: str) -> list[str]:
        return [row["execution_id"] for row in zart("list", *tokens).data]

    assert ids() == ["d", "c", "b", "a"]
    assert ids("--order", "asc", "--limit", "2") == ["a", "b"]
    assert ids("--order", "asc", "--limit", "2", "--after", "b") == ["c", "d"]
    assert ids("--status", "cancelled") == ["b"]
    assert ids("--task", "failing") == ["d"]
    assert ids("--task", "nothing") == []
    lines = zart("list", "-o", "jsonl", "--limit", "3").out.splitlines()
    assert len(lines) == 3
    assert all(line.startswith('{"execution_id":"') for line in lines)


def test_tables_are_for_people(zart: Zart) -> None:
    zart("schedule", "echo", "--id", "one")
    assert "one" in zart("list", "-o", "table").out
    empty = zart("list", "-o", "table", "--task", "nothing")
    assert (empty.out, empty.err) == ("", "none\n")
    shown = zart("status", "one", "-o", "table")
    assert "pending" in shown.out
    assert "\x1b" not in shown.out
    missing = zart("status", "two", "-o", "table")
    assert missing.err == "zart: no execution has the id 'two'; `zart list` shows what there is\n"


# ---- how it ends otherwise ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [("status", "x"), ("wait", "x"), ("cancel", "x"), ("event", "x", "e")])
def test_what_is_not_there_ends_with_3(zart: Zart, command: tuple[str, ...]) -> None:
    answer = zart(*command)
    assert (answer.exit, answer.out, answer.problem["code"]) == (Exit.NOT_FOUND, "", "not_found")


@pytest.mark.parametrize(
    ("tokens", "code"),
    [
        (("statos", "x"), "usage"),
        (("status",), "usage"),
        (("status", "x", "y"), "usage"),
        (("status", "x", "--nonsense"), "usage"),
        (("status", "x", "--run", "0"), "usage"),
        (("demo", "--database-url", "sqlite:///x.db"), "usage"),
        (("status", "bad\x1bname"), "usage"),
        (("status", ""), "usage"),
        (("list", "--status", "done"), "usage"),
        (("list", "--limit", "0"), "usage"),
        (("list", "--order", "up"), "usage"),
        (("schedule", "echo", "--data", "{dataset: 1}"), "invalid_json"),
        (("schedule", "echo", "--data", "[" * 100_000), "invalid_json"),
        (("schedule", "echo", "--data", "@/no/such/file"), "unreadable_data"),
        (("schedule", "echo", "--delay", "soon"), "usage"),
        (("schedule", "echo", "--delay", "-1"), "usage"),
        (("schedule", "echo", "--delay", "nan"), "usage"),
        (("schedule", "echo", "--at", "2030-01-31T08:00:00"), "usage"),
        (("schedule", "echo", "--at", "tomorrow"), "usage"),
        (("schedule", "echo", "--at", "2030-01-31T08:00:00+01:00", "--delay", "1s"), "usage"),
        (("schedule", "echo", "--id", "x" * 256), "usage"),
        (("schedule", "echo", "--queue", ""), "usage"),
        (("schedule", "echo", "--data", '"' + "x" * 2_100_000 + '"'), "payload_too_large"),
        (("wait", "x", "--timeout", "inf"), "usage"),
        (("worker", "--app", APP, "--concurrency", "0"), "usage"),
        (("worker", "--app", APP, "--lease", "forever"), "usage"),
    ],
)
def test_a_wrong_command_line_ends_with_2(zart: Zart, tokens: tuple[str, ...], code: str) -> None:
    answer = zart(*tokens)
    assert (answer.exit, answer.out, answer.problem["code"]) == (Exit.USAGE, "", code)
    assert set(answer.problem) == {"code", "message", "hint"}
    assert answer.err.count("\n") == 1
    for_people = zart(*tokens, "-o", "table")
    assert (for_people.exit, for_people.out) == (Exit.USAGE, "")
    assert for_people.err.startswith("zart: ")
    assert for_people.err.count("\n") == 1


def test_an_option_before_the_command_is_told_where_to_stand(zart: Zart) -> None:
    answer = zart("--json", "list")
    assert (answer.exit, answer.problem["code"]) == (Exit.USAGE, "usage")
    assert "'--json' stands before the command" in answer.problem["message"]


def test_a_run_that_is_not_there_is_told_apart_from_an_execution_that_is_not(zart: Zart) -> None:
    zart("schedule", "echo", "--id", "one")
    answer = zart("status", "one", "--run", "7")
    assert (answer.exit, answer.problem["code"]) == (Exit.NOT_FOUND, "not_found")
    assert answer.problem["message"] == "execution 'one' has no run 7"
    assert zart("status", "two", "--run", "7").problem["message"] == "no execution has the id 'two'"
    assert zart("status", "one", "--run", "1").exit == Exit.DONE


@pytest.mark.parametrize("command", [("status", "x"), ("wait", "x"), ("cancel", "x"), ("event", "x", "e"), ("list",)])
def test_who_only_looks_makes_no_database(zart: Zart, tmp_path: Path, command: tuple[str, ...]) -> None:
    answer = zart(*command)
    assert list(tmp_path.iterdir()) == []
    assert f"there is no database sqlite:///{tmp_path / 'zart.db'}" in answer.err
    if command == ("list",):
        assert (answer.exit, answer.data) == (Exit.DONE, [])
    else:
        assert "'x'" in answer.problem["message"]
        assert "--database-url" in answer.problem["hint"]


def test_an_unreachable_database_ends_with_69(zart: Zart, tmp_path: Path) -> None:
    answer = zart("list", "--database-url", f"sqlite:///{tmp_path}/no/such/folder/zart.db")
    assert (answer.exit, answer.problem["code"]) == (Exit.UNAVAILABLE, "storage_unavailable")


def test_where_the_database_is_said_first_counts(zart: Zart, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = {name: f"sqlite:///{tmp_path / name}.db" for name in ("option", "own", "shared")}
    for name, url in there.items():
        zart("schedule", "echo", "--id", name, "--database-url", url)

    def found(*tokens: str) -> str:
        (row,) = zart("list", *tokens).data
        return str(row["execution_id"])

    monkeypatch.setenv("ZART_DATABASE_URL", there["own"])
    monkeypatch.setenv("DATABASE_URL", there["shared"])
    assert found() == "own"
    assert found("--database-url", there["option"]) == "option"
    monkeypatch.delenv("ZART_DATABASE_URL")
    assert found() == "shared"
    monkeypatch.delenv("DATABASE_URL")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.db").rename("zart.db")
    assert found() == "own"


@pytest.mark.parametrize("url", ["oracle://ann:s3cret@db/x", "postgresql://ann:s3cret@db/x?shema=app", "nonsense"])
def test_a_database_that_zart_does_not_know_ends_with_78(zart: Zart, url: str) -> None:
    answer = zart("list", "--database-url", url)
    assert (answer.exit, answer.problem["code"]) == (Exit.CONFIGURATION, "bad_database_url")
    assert "s3cret" not in answer.err


@pytest.mark.parametrize("command", [("worker",), ("worker", "--app", "nowhere:x"), ("schedule", "echo", "--app", "nowhere:x")])
def test_a_wrong_app_ends_with_78(zart: Zart, command: tuple[str, ...]) -> None:
    answer = zart(*command)
    assert (answer.exit, answer.problem["code"]) == (Exit.CONFIGURATION, "bad_app")


@pytest.mark.parametrize("command", [("list",), ("worker", "--app", APP), ("migrate",)])
def test_a_database_newer_than_the_code_ends_with_78(zart: Zart, tmp_path: Path, command: tuple[str, ...]) -> None:
    zart("migrate")
    with sqlite3.connect(tmp_path / "zart.db") as connection:
        connection.execute("INSERT INTO zart_schema SELECT max(version) + 1, 'future', 0 FROM zart_schema")
    connection.close()
    answer = zart(*command)
    assert (answer.exit, answer.problem["code"]) == (Exit.CONFIGURATION, "schema_mismatch")


@pytest.mark.parametrize("command", [("list",), ("worker", "--app", APP)])
def test_a_database_without_the_schema_ends_with_78(zart: Zart, tmp_path: Path, command: tuple[str, ...]) -> None:
    with sqlite3.connect(tmp_path / "zart.db") as connection:
        connection.execute("CREATE TABLE somebody_elses (x)")
    connection.close()
    answer = zart(*command)
    assert (answer.exit, answer.problem["code"]) == (Exit.CONFIGURATION, "schema_mismatch")
    assert "zart migrate" in answer.problem["hint"]
    assert zart("migrate").exit == Exit.DONE
    assert zart("list").data == []


def test_a_fault_of_our_own_ends_with_1_and_without_a_traceback(zart: Zart, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("unforeseen \x1b[2J")

    monkeypatch.setattr("zart.cli.commands.status.executions", fail)
    answer = zart("status", "one")
    assert (answer.exit, answer.problem["code"]) == (Exit.FAILED, "internal")
    assert "\x1b" not in zart("status", "one", "-o", "table").err


def test_an_interrupted_command_says_nothing(zart: Zart, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("zart.cli.commands.status.executions", interrupt)
    answer = zart("status", "one")
    assert (answer.exit, answer.out, answer.err) == (Exit.INTERRUPTED, "", "")


@pytest.mark.parametrize(
    ("error", "left", "code"),
    [
        (PermissionError(13, "Permission denied", "zart.db"), Exit.NOT_ALLOWED, "not_allowed"),
        (StorageUnavailable("away; try later"), Exit.UNAVAILABLE, "storage_unavailable"),
    ],
)
def test_errors_that_a_test_cannot_provoke(error: Exception, left: Exit, code: str) -> None:
    problem = explain(error)
    assert (problem.exit, problem.code) == (left, code)


def test_every_command_explains_itself(zart: Zart) -> None:
    for command in COMMANDS:
        answer = zart(command, "--help")
        assert answer.exit == Exit.DONE
        assert ("--database-url" in answer.out) is (command not in {"demo", "completion"}), "they need none of yours"
        assert "--json" in answer.out
