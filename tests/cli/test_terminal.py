import json
import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zart.cli.terminal import to_cell, to_json, visible
from zart.codec.plain import plain

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text", "plain text"),
        ("größer 漢字", "größer 漢字"),
        ("\x1b]0;owned\x07", "\\x1b]0;owned\\x07"),
        ("\x9b31m", "\\x9b31m"),
        ("\x7f", "\\x7f"),
        ("a\r\nb\tc", "a\\r\\nb\\tc"),
        ("\u202egpj.exe", "\\u202egpj.exe"),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\U000e0041"),
    ],
)
def test_what_could_act_on_a_terminal_is_written_out(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_a_log_keeps_its_line_breaks_only() -> None:
    assert visible("a\nb\x1b", keep="\n") == "a\nb\\x1b"


@given(ANYTHING)
def test_json_holds_printable_ascii_only_and_can_be_read(value: object) -> None:
    text = to_json(value)
    assert text.isascii()
    assert text.isprintable()
    json.loads(text, parse_constant=pytest.fail)


@given(ANYTHING)
def test_a_cell_is_one_printable_line(value: object) -> None:
    assert visible(to_cell(value)) == to_cell(value)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (math.nan, "NaN"),
        (-math.inf, "-Infinity"),
        (1 << 5000, hex(1 << 5000)),
        (datetime(2030, 1, 31, tzinfo=UTC), "2030-01-31T00:00:00+00:00"),
        (timedelta(minutes=1), 60.0),
        ((1, {2: b"x"}), [1, {"2": "b'x'"}]),
        (True, True),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_json_cannot_say_is_said_otherwise(value: object, said: object) -> None:
    assert plain(value) == said


def test_values_nested_as_deep_as_storage_takes_them_can_be_shown() -> None:
    value: list[object] = []
    for _ in range(500):
        value = [value]
    assert to_json(value) == "[" * 501 + "]" * 501
