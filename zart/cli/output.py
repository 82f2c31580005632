"""Data for stdout: as a table for people, as JSON or as lines of JSON for programs."""

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from zart.cli.settings import Format
from zart.cli.terminal import to_cell, to_json

Record = Mapping[str, Any]

_LONGEST_CELL = 120
"""Characters of a value in a table of several records; it is whole in JSON."""

_COLOURS = {
    "completed": "green",
    "delivered": "green",
    "failed": "red",
    "cancelled": "yellow",
    "running": "cyan",
    "waiting": "blue",
    "retried": "yellow",
}


def console(stream: TextIO) -> Console:
    """Return a console that colours on a terminal only, and never with NO_COLOR."""
    return Console(
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
            screen.print()
            screen.print(table(value, title=key))


def put_records(records: Sequence[Record], form: Format, columns: Sequence[str]) -> None:
    """Print several records of the same kind; a table shows the `columns` only."""
    match form:
        case "json":
            _write(to_json(list(records)))
        case "jsonl":
            for record in records:
                _write(to_json(record))
        case "table":
            screen = console(sys.stdout)
            if records:
                screen.print(table(records, columns))
            else:
                console(sys.stderr).print("none")


def grid(record: Record) -> Table:
    """Return a record as lines of key and value; what is not known is left out."""
    lines = Table.grid(padding=(0, 2))
    lines.add_column(style="dim")
    lines.add_column(overflow="fold")
    for key, value in record.items():
        if value not in (None, []):
            lines.add_row(Text(key), cell(value))
    return lines


def table(records: Sequence[Record], columns: Sequence[str] | None = None, title: str | None = None) -> Table:
    """Return records as a table; without `columns`, one for every key that has a value anywhere."""
    shown = columns or [key for key in records[0] if any(record.get(key) not in (None, []) for record in records)]
    lines = Table(
        box=None, title=None if title is None else Text(title, style="bold"), title_justify="left", padding=(0, 2, 0, 0)
    )
    for column in shown:
        numeric = all(isinstance(record.get(column), int | float | None) for record in records)
        lines.add_column(Text(column), overflow="fold", justify="right" if numeric else "left")
    for record in records:
        lines.add_row(*(_short(cell(record.get(column))) for column in shown))
    return lines


def cell(value: Any) -> Text:
    """Return a value as it stands in a table: neutralised, and a status in its colour."""
    text = to_cell(value)
    return Text(text, style=_COLOURS.get(text, "") if isinstance(value, str) else "")


def _short(text: Text) -> Text:
    if len(text) > _LONGEST_CELL:
        text.truncate(_LONGEST_CELL, overflow="ellipsis")
    return text


def _is_rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, Mapping) for each in value)


def _write(line: str) -> None:
    sys.stdout.write(f"{line}\n")
