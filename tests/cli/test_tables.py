"""Tables fit a terminal: no name is broken, and nothing is shown that says nothing."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.cli.conftest import Zart
from zart.cli.output import grid, lines

NOW = datetime(2030, 1, 31, 12, tzinfo=UTC)


def shown(records: list[dict[str, Any]], notes: list[dict[str, Any]] | None = None) -> list[str]:
    return [line.plain for line in lines(records, None, notes, NOW)]


def test_columns_are_as_wide_as_what_is_in_them_and_empty_ones_are_left_out() -> None:
    records = [{"id": "a", "n": 1, "none": None, "list": []}, {"id": "漢字", "n": 100, "none": None, "list": []}]
    assert shown(records) == ["id      n", "a       1", "漢字  100"]


@pytest.mark.parametrize(
    ("at", "said"),
    [
        (datetime(2030, 1, 31, 7, 30, tzinfo=UTC), "07:30:00Z"),
        (datetime(2030, 2, 1, 7, 30, tzinfo=UTC), "02-01 07:30Z"),
        (datetime(2031, 2, 1, 7, 30, tzinfo=UTC), "2031-02-01"),
    ],
)
def test_a_time_says_no_more_than_it_must(at: datetime, said: str) -> None:
    assert shown([{"at": at}])[1] == said


def test_notes_stand_under_their_record() -> None:
    found = shown([{"id": "a"}, {"id": "b"}], [{"reason": "x" * 90, "none": None}, {"trace": ("one", "  two\x1b")}])
    assert found == ["id", "a", f"    reason: {'x' * 90}", "b", "    one", "      two\\x1b"]


def test_a_list_breaks_no_id_and_says_the_reason(zart: Zart) -> None:
    ids = [zart("schedule", "echo").data["execution_id"] for _ in range(2)]
    out = zart("list", "-o", "table").out
    assert all(f"\n{each}  echo" in out for each in ids)
    assert out.count("reason: no worker for echo") == 2
    assert max(map(len, out.splitlines())) <= 80


def test_a_failed_step_is_shown_with_its_errors_and_traceback_once(zart: Zart, finish: Any) -> None:
    zart("schedule", "unlucky", "--id", "one")
    finish("one")
    out = zart("status", "one", "--steps", "-o", "table").out
    head, _, steps = out.partition("steps\n")
    assert "attempt" not in head
    assert "reason" in head
    assert "StepFailure" not in head, "the reason says it in words"
    assert "attempts" in steps
    assert "error 1: ValueError: no luck" in steps
    assert "error 2: ValueError: no luck" in steps
    assert "in _unlucky" in steps
    assert "[]" not in steps
    (step,) = zart("status", "one", "--steps").data["steps"]
    assert "in _unlucky" in step["traceback"]


def test_keys_that_could_act_on_a_terminal_are_written_out() -> None:
    key = "\x1b]0;own\x07"
    assert shown([{key: 1}], [{key: 2}]) == ["\\x1b]0;own\\x07", "1".rjust(len("\\x1b]0;own\\x07")), "    \\x1b]0;own\\x07: 2"]
    assert [next(iter(column.cells)).plain for column in grid({key: 1}).columns] == ["\\x1b]0;own\\x07", "1"]
