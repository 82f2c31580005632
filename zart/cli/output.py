"""Data for stdout: as a table for people, as JSON or as lines of JSON for programs."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TextIO

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from zart.cli.settings import Format
from zart.cli.terminal import to_cell, to_json, visible
from zart.clock import SystemClock

Record = Mapping[str, Any]

_LONGEST_CELL, _LONGEST_NOTE = 120, 500
"""Characters of a value in a table of several records, and under one; it is whole in JSON."""
_INDENT = "    "
_NOTHING: tuple[Any, ...] = (None, [], ())

_COLOURS = {
    "completed": "green",
    "delivered": "green",
    "failed": "red",
    "ok": "green",
    "warn": "yellow",
    "fail": "red",
    "cancelled": "yellow",
    "running": "cyan",
    "waiting": "blue",
    "retried": "yellow",
}


class _Screen(Console):
    """Leaves it to whoever runs the command to end quietly when the reader has left; rich itself would leave with 1."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def console(stream: TextIO) -> Console:
    """Return a console that colours on a terminal only, and never with NO_COLOR."""
    return _Screen(
        file=stream,
        # Whether it is a terminal says the stream itself: FORCE_COLOR in the environment must not put colours into a file.
        force_terminal=stream.isatty(),
        color_system=None if os.environ.get("NO_COLOR") else "auto",
        highlight=False,
        markup=False,
        emoji=False,
    )


def put_record(record: Record, form: Format) -> None:
    """Print one record; lists of records inside it become tables of their own."""
    if form != "table":
        _write(to_json(record))
        return
    screen = console(sys.stdout)
    screen.print(grid({key: value for key, value in record.items() if not _is_rows(value)}))
    for key, value in record.items():
        if _is_rows(value):
            put_table(value, title=key)


def put_records(
    records: Sequence[Record], form: Format, columns: Sequence[str], notes: Callable[[Record], Record] | None = None
) -> None:
    """Print several records of the same kind; a table shows the `columns` only, and under each record its notes."""
    match form:
        case "json":
            _write(to_json(list(records)))
        case "jsonl":
            for record in records:
                _write(to_json(record))
        case "table":
            if records:
                put_table(records, columns, notes=None if notes is None else [notes(record) for record in records])
            else:
                console(sys.stderr).print("none")


def put_table(
    records: Sequence[Record],
    columns: Sequence[str] | None = None,
    *,
    title: str | None = None,
    notes: Sequence[Record] | None = None,
) -> None:
    """Print records as a table, each with its notes under it; what has a title stands apart from what came before.

    Only columns with a value are shown. Lines are neither broken nor cut, so that no name is: a narrow terminal does so itself.
    """
    screen = console(sys.stdout)
    if title is not None:
        screen.print()
        screen.print(Text(title, style="bold"))
    for line in lines(records, columns, notes, SystemClock().now()):
        screen.print(line, soft_wrap=True)


def grid(record: Record) -> Table:
    """Return a record as lines of key and value; what is not known is left out."""
    lines = Table.grid(padding=(0, 2))
    lines.add_column(style="dim")
    lines.add_column(overflow="fold")
    for key, value in record.items():
        if value not in _NOTHING:
            lines.add_row(Text(visible(key)), cell(value))
    return lines


def lines(
    records: Sequence[Record], columns: Sequence[str] | None, notes: Sequence[Record] | None, now: datetime
) -> list[Text]:
    """Return the lines of a table; a time of the day that `now` is in stands without its date."""
    shown = [key for key in columns or records[0] if any(record.get(key) not in _NOTHING for record in records)]
    rows = [[_short(_dated(record.get(key), now)) for key in shown] for record in records]
    heads = [visible(key) for key in shown]
    widths = [max(cell_len(head), *(row[place].cell_len for row in rows)) for place, head in enumerate(heads)]
    numeric = [all(isinstance(record.get(key), int | float | None) for record in records) for key in shown]
    found = [_line([Text(head, style="bold") for head in heads], widths, numeric)]
    for row, said in zip(rows, notes or [{}] * len(rows), strict=True):
        found.append(_line(row, widths, numeric))
        for key, value in said.items():
            if isinstance(value, tuple):
                found += [Text(f"{_INDENT}{visible(each)}") for each in value]
            elif value not in _NOTHING:
                found.append(Text.assemble(_INDENT, (f"{visible(key)}: ", "dim"), _short(cell(value), _LONGEST_NOTE)))
    return found


def _line(row: Sequence[Text], widths: Sequence[int], numeric: Sequence[bool]) -> Text:
    line = Text()
    for text, width, right in zip(row, widths, numeric, strict=True):
        gap = " " * (width - text.cell_len)
        line.append_text(Text.assemble(gap, text, "  ") if right else Text.assemble(text, gap, "  "))
    line.rstrip()
    return line


def _dated(value: Any, now: datetime) -> Text:
    if not isinstance(value, datetime):
        return cell(value)
    at, today = value.astimezone(UTC), now.astimezone(UTC).date()
    if at.date() == today:
        return Text(f"{at:%H:%M:%S}Z")
    return Text(f"{at:%m-%d %H:%M}Z" if at.year == today.year else f"{at:%Y-%m-%d}")


def cell(value: Any) -> Text:
    """Return a value as it stands in a table: neutralised, and a status in its colour."""
    text = to_cell(value)
    return Text(text, style=_COLOURS.get(text, "") if isinstance(value, str) else "")


def _short(text: Text, longest: int = _LONGEST_CELL) -> Text:
    if len(text) > longest:
        text.truncate(longest, overflow="ellipsis")
    return text


def _is_rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, Mapping) for each in value)


def _write(line: str) -> None:
    sys.stdout.write(f"{line}\n")
