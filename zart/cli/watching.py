"""`zart list --watch`: a table that is kept up to date for a person, a line for each change for a program."""

import select
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

from rich.console import Group
from rich.live import Live
from rich.text import Text

from zart.cli.output import Record, console, lines, put_record
from zart.cli.views import LIST_COLUMNS, reason_note
from zart.clock import Clock, SystemClock, pause

GAP = 1.0
"""Seconds between two looks."""

Look = Callable[[], Awaitable[Sequence[Record]]]


async def keep_up(look: Look, clock: Clock | None = None) -> None:
    """Keep a table of what is found on the terminal, until interrupted; the last one stays."""
    clock = clock or SystemClock()
    with Live(console=console(sys.stdout), auto_refresh=False, redirect_stdout=False, redirect_stderr=False) as screen:
        while True:
            screen.update(picture(await look(), clock.now()), refresh=True)
            await pause(clock, GAP)


def picture(rows: Sequence[Record], now: datetime) -> Group:
    """Return a list as it is shown to somebody who watches it: one line each, cut where the terminal ends."""
    counted = Counter(str(row["status"]) for row in rows)
    told = ", ".join(f"{number} {status}" for status, number in sorted(counted.items()))
    head = Text(f"{now:%H:%M:%S}Z  {told or 'none'}", style="dim")
    shown = lines(rows, LIST_COLUMNS, [reason_note(row) for row in rows], now) if rows else []
    for line in (head, *shown):
        line.no_wrap, line.overflow = True, "ellipsis"
    return Group(head, *shown)


async def tell_changes(look: Look, clock: Clock | None = None) -> None:
    """Print what is found as lines of JSON, oldest first, and then each that is new or has changed, until interrupted."""
    clock = clock or SystemClock()
    known: dict[str, Record] = {}
    while True:
        rows = {str(row["execution_id"]): row for row in await look()}
        for execution_id, row in reversed(rows.items()):
            if known.get(execution_id) != row:
                put_record(row, "jsonl")
        sys.stdout.flush()
        if _reader_has_left():
            raise BrokenPipeError
        known = rows
        await pause(clock, GAP)


def _reader_has_left() -> bool:
    """Whether nobody reads standard output any more. A write would tell too, but nothing may change for days."""
    try:
        looking = select.poll()
        looking.register(sys.stdout, 0)  # errors are told in any case
    except (AttributeError, OSError, ValueError):
        return False  # Windows, or no file
    return bool(looking.poll(0))
