"""What the figures mean, which of them must reach what, and the table that says so."""

import os
import platform
import sqlite3
from collections.abc import Iterable, Mapping
from statistics import median

from attrs import frozen
from rich.table import Table

from benchmarks.workloads import Figures, Sizes

Rounds = Mapping[str, list[Figures]]
"""The figures of each round, by storage; what belongs to the machine stands under "limit"."""

LIMIT, MEMORY, SQLITE = "limit", "memory", "sqlite"


@frozen
class Line:
    """A line of the table: a figure with its unit."""

    key: str
    title: str
    unit: str
    digits: int = 0


@frozen
class Bar:
    """What a figure must reach, and what it should."""

    must: float
    goal: float
    at_most: bool = True

    def says(self, figure: float) -> str:
        """Return the bar, and whether a figure holds it."""
        sign = "≤" if self.at_most else "≥"
        judged = []
        for word, mark in (("must", self.must), ("goal", self.goal)):
            held = figure <= mark if self.at_most else figure >= mark
            judged.append(f"{word} {sign} {mark:g}: {'[green]held[/]' if held else '[red]missed[/]'}")
        return ", ".join(judged)


BARS = {
    "w1.ratio": Bar(4.7, 9.0, at_most=False),
    "w5.growth": Bar(1.2, 1.05),
    "w5.replay": Bar(30.0, 10.0),
    "parked.memory": Bar(20.0, 5.0),
    "parked.idle": Bar(2.0, 1.0),
}


def lines(sizes: Sizes) -> list[Line]:
    """Return what the table has, in order."""
    n, tenth = sizes.sequence, sizes.sequence // 10
    return [
        Line("limit.1", "SQLite itself: loop of one-row INSERT + COMMIT", "rows/s"),
        Line("limit.100", "SQLite itself: 100 rows a transaction", "rows/s"),
        Line("w1.rate", f"W1 {sizes.executions:,} executions of 5 steps, drained by one worker", "steps/s"),
        Line("w1.ratio", "W1 ÷ loop of one-row commits", "times", 1),
        Line("w1.cpu", "W1 processor time, all threads", "µs/step", 1),
        Line("w1.commits", "W1 commits", "per execution", 3),
        Line("w2.p50", "W2 start → result, one step, idle, in process: median", "ms", 2),
        Line("w3.p50", "W3 event → the step after it, parked before: median", "ms", 2),
        Line("w5.total", f"W5 {n:,} steps in sequence", "s", 3),
        Line("w5.growth", f"W5 last {tenth} steps ÷ first {tenth}", "times", 2),
        Line("w5.replay", f"W5 replay of {9 * tenth} steps after the claim", "ms", 1),
        Line("w6.single", "W6 starts one by one", "starts/s"),
        Line("w6.bulk", "W6 starts by start_many", "starts/s"),
        Line("parked.memory", f"memory of the worker per 100,000 parked (measured with {sizes.parked:,})", "MB", 1),
        Line("parked.idle", "statements (beat, claim) while all are parked", "per s", 2),
    ]


def with_ratios(rounds: Rounds) -> Rounds:
    """Return the rounds with W1's ratio to SQLite's limit added, each taken within one round: machines drift."""
    whole = {storage: [dict(each) for each in figures] for storage, figures in rounds.items()}
    for own, limit in zip(whole[SQLITE], whole[LIMIT], strict=True):
        if "w1.rate" in own and "limit.1" in limit:
            own["w1.ratio"] = own["w1.rate"] / limit["limit.1"]
    return whole


def medians(rounds: Rounds) -> dict[str, Figures]:
    """Return the median of each figure, by storage."""
    return {
        storage: {key: median(each[key] for each in figures) for key in dict.fromkeys(key for each in figures for key in each)}
        for storage, figures in rounds.items()
    }


def machine(*, fast: bool) -> str:
    """Return what the figures were measured on, in one line."""
    loop = "uvloop" if fast else "asyncio's own loop (uvloop is not installed)"
    return (
        f"Python {platform.python_version()}, {loop}, SQLite {sqlite3.sqlite_version} (WAL, synchronous=FULL),"
        f" {os.cpu_count()} cores, {platform.system()} {platform.machine()}"
    )


def table(figures: Mapping[str, Figures], sizes: Sizes, title: str) -> Table:
    """Return the table of medians."""
    shown = Table(title=title, title_justify="left")
    shown.add_column("")
    shown.add_column("memory", justify="right")
    shown.add_column("SQLite", justify="right")
    shown.add_column("unit")
    shown.add_column("bar, on SQLite")
    for line in _measured(figures, lines(sizes)):
        on_sqlite = figures[SQLITE].get(line.key, figures[LIMIT].get(line.key))
        bar = BARS.get(line.key)
        shown.add_row(
            line.title,
            _number(figures[MEMORY].get(line.key), line.digits),
            _number(on_sqlite, line.digits),
            line.unit,
            "" if bar is None or on_sqlite is None else bar.says(on_sqlite),
        )
    return shown


def _measured(figures: Mapping[str, Figures], wanted: Iterable[Line]) -> list[Line]:
    return [line for line in wanted if any(line.key in each for each in figures.values())]


def _number(figure: float | None, digits: int) -> str:
    return "" if figure is None else f"{figure:,.{digits}f}"
