"""The figures in words: which there are, the table for a terminal, the page with plots."""

import os
import platform
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median

from attrs import frozen
from rich.table import Table

from benchmarks import chart
from benchmarks.bars import judged
from benchmarks.race import Figures
from benchmarks.runs import Round

_QUIET = 0.7
"""The load average below which a machine does nothing worth mentioning."""


@frozen
class Line:
    """A figure with its unit."""

    key: str
    title: str
    unit: str
    digits: int = 0


LINES = (
    Line("limit.trip", "the database: round trips on one connection", "per s"),
    Line("limit.one", "the database: one-row INSERT and COMMIT in a loop", "rows/s"),
    Line("limit.hundred", "the database: a hundred rows a transaction", "rows/s"),
    Line("limit.unnest", "the database: INSERT of 200 rows from unnest", "rows/s"),
    Line("W1.rate", "W1: executions of 5 steps, drained by one worker", "steps/s"),
    Line("W1 many.rate", "W1 with ten times as many executions", "steps/s"),
    Line("W1.cpu", "W1: processor time of the worker", "µs/step", 1),
    Line("W1.server", "W1: processor time of the server", "µs/step", 1),
    Line("W1.commits", "W1: commits", "per execution", 3),
    Line("W1.wal", "W1: WAL", "bytes per execution"),
    Line("W1 at 200.rate", "W1 with 200 running", "steps/s"),
    Line("W1 at 200.commits", "W1 with 200 running: commits", "per execution", 3),
    Line("W1 at 200.wal", "W1 with 200 running: WAL", "bytes per execution"),
    Line("W2 inside.p50", "W2: start → result, one step, within one process", "ms", 2),
    Line("W2 direct.p50", "W2: start → result, called without a queue", "ms", 2),
    Line("W2.p50", "W2: start → result, one step, between processes", "ms", 2),
    Line("W3.p50", "W3: event → the step after it, between processes", "ms", 2),
    Line("W4.p50", "W4: start → result, 100 parallel steps", "ms", 1),
    Line("W5.total", "W5: 1000 steps in sequence", "s", 3),
    Line("W5.growth", "W5: last tenth against the first", "×", 2),
    Line("kill.replay", "W5: replay of 900 steps after kill -9 and a claim", "ms", 1),
    Line("W6.single", "W6: starts one by one", "per s"),
    Line("W6.bulk", "W6: starts in bulk", "per s"),
    Line("claims.empty", "claim of ten executions in an empty storage", "ms", 2),
    Line("claims.full", "claim of ten executions among a million finished", "ms", 2),
    Line("claims.finished", "claim among a million finished against none", "×", 2),
    Line("claims.unregistered", "claim among 100,000 due that nobody can run", "×", 2),
    Line("parked.memory", "100,000 parked: memory of the worker", "MB", 1),
    Line("parked.idle", "100,000 parked: beats and claims", "per s", 2),
    Line("two.one", "one worker, 20 at once, steps that wait 20 ms", "executions/s"),
    Line("two.two", "two such workers", "executions/s"),
    Line("two.ratio", "two workers against one", "×", 2),
)


def medians(rounds: Sequence[Round]) -> dict[str, Figures]:
    """Return the median of each figure over the rounds that have it, by subject."""
    whole: dict[str, Figures] = {}
    for subject in dict.fromkeys(subject for each in rounds for subject in each):
        figures = [each.get(subject, {}) for each in rounds]
        keys = dict.fromkeys(key for each in figures for key in each)
        whole[subject] = {key: median(each[key] for each in figures if key in each) for key in keys}
    return whole


def machine(*, fast: bool, server: str | None, load: float) -> str:
    """Return what the figures were measured on, in one line; `load` is the machine's load average before."""
    loop = "uvloop" if fast else "asyncio's own loop (uvloop is not installed)"
    database = f"PostgreSQL {server} (fsync=on, synchronous_commit=on, shared_buffers=512MB), " if server else ""
    return (
        f"Python {platform.python_version()}, {loop}, {database}SQLite {sqlite3.sqlite_version} (WAL, synchronous=FULL),"
        f" {os.cpu_count()} cores for everything, {platform.system()} {platform.machine()}; {_quiet(load)}"
    )


def _quiet(load: float) -> str:
    if load < _QUIET:
        return "nothing else ran"
    return f"other programs ran as well (load average {load:.1f} before it began), so take latencies and limits with care"


def figures_table(rounds: Sequence[Round], title: str) -> Table:
    """Return every figure of every subject: median, and the lowest and highest round."""
    shown = Table("", "", title=title, title_justify="left")
    shown.add_column("median", justify="right")
    shown.add_column("rounds", justify="right")
    shown.add_column("unit")
    for line, rows in _measured(rounds):
        for number, (subject, values) in enumerate(rows):
            spread = f"{_number(min(values), line)} – {_number(max(values), line)}" if len(values) > 1 else ""
            last = number == len(rows) - 1
            what = line.title if number == 0 else ""
            shown.add_row(what, subject, _number(median(values), line), spread, line.unit, end_section=last)
    return shown


def bars_table(rounds: Sequence[Round]) -> Table:
    """Return what must be reached, and whether it is."""
    shown = Table("Zart on PostgreSQL, if not said otherwise", title_justify="left")
    for name in ("measured", "must", "goal"):
        shown.add_column(name, justify="right")
    for bar, value in judged(rounds):
        marks = (
            f"{bar.mark(mark)} {'[green]held[/]' if bar.holds(value, mark) else '[red]missed[/]'}"
            for mark in (bar.must, bar.goal)
        )
        shown.add_row(bar.title, f"{value:,.3g}" if value < 1000 else f"{value:,.0f}", *marks)
    return shown


def _measured(rounds: Sequence[Round]) -> Iterator[tuple[Line, list[tuple[str, list[float]]]]]:
    subjects = dict.fromkeys(subject for each in rounds for subject in each)
    for line in LINES:
        rows = []
        for subject in subjects:
            values = [each[subject][line.key] for each in rounds if line.key in each.get(subject, {})]
            if values:
                rows.append((subject, values))
        if rows:
            yield line, rows


def _number(figure: float, line: Line) -> str:
    return f"{figure:,.{line.digits}f}"


# ---- the page ---------------------------------------------------------------------------------------------------------

_PLOTS = (
    ("w1", "W1: steps per second", ("W1.rate", "limit.one", "limit.unnest"), "{:,.0f}"),
    ("w2", "W2: milliseconds from start to result, one step", ("W2.p50", "W2 inside.p50", "W2 direct.p50"), "{:.2f}"),
    ("w3", "W3: milliseconds from event to the next step", ("W3.p50",), "{:.2f}"),
    ("w4", "W4: milliseconds for 100 parallel steps", ("W4.p50",), "{:.1f}"),
    ("w5", "W5: seconds for 1000 steps in sequence", ("W5.total",), "{:.2f}"),
    ("w6", "W6: starts per second, in bulk", ("W6.bulk",), "{:,.0f}"),
)
_SAYS = {
    "W2 inside.p50": " within a process",
    "W2 direct.p50": " called directly",
    "limit.one": ", row by row",
    "limit.unnest": ", 200 rows",
}


def write_page(rounds: Sequence[Round], place: str, page: Path) -> list[Path]:
    """Write the page and its plots beside it, and return all files."""
    figures = medians(rounds)
    drawings = {
        f"{page.stem}-{name}.svg": chart.bars(title, values)
        for name, title, keys, form in _PLOTS
        if (values := _values(figures, keys, form))
    }
    if (spent := _time_per_step(figures)) is not None:
        drawings[f"{page.stem}-step.svg"] = spent
    page.parent.mkdir(parents=True, exist_ok=True)
    for name, drawing in drawings.items():
        (page.parent / name).write_text(drawing, "utf-8")
    page.write_text("\n".join(_lines(rounds, place, list(drawings))), "utf-8")
    return [page, *(page.parent / name for name in drawings)]


def _values(figures: Mapping[str, Figures], keys: Sequence[str], form: str) -> list[chart.Value]:
    found = [
        chart.Value(subject + _SAYS.get(key, ""), of[key], form.format(of[key]))
        for subject, of in figures.items()
        for key in keys
        if key in of
    ]
    return sorted(found, key=lambda each: each.value, reverse=keys[0].endswith(("rate", "bulk")))


def _time_per_step(figures: Mapping[str, Figures]) -> str | None:
    """Return where the time of a step goes: the engine alone, as in memory; what storage adds in the worker; the server."""
    engine = figures.get("zart memory", {}).get("W1.cpu")
    if engine is None:
        return None
    wholes: list[tuple[str, list[float]]] = [("zart memory", [engine])]
    for subject in ("zart sqlite", "zart postgres"):
        found = figures.get(subject, {})
        if "W1.cpu" in found:
            wholes.append((subject, [engine, max(0.0, found["W1.cpu"] - engine), found.get("W1.server", 0.0)]))
    names = ("engine, codec and the body itself", "storage, within the worker's process", "the database server")
    return chart.parts("W1: processor time per step", "µs", names, wholes)


def _lines(rounds: Sequence[Round], place: str, drawings: Sequence[str]) -> Iterator[str]:
    yield "# Measured"
    yield ""
    yield f"Made by `make bench`: medians of {len(rounds)} round{'s' * (len(rounds) > 1)}. {place}."
    yield ""
    yield "[The page on speed](performance.md) says what is measured, and what follows."
    yield ""
    for name in drawings:
        yield f"![{name.removesuffix('.svg')}]({name})"
        yield ""
    yield "## What must be reached"
    yield ""
    yield "| Zart on PostgreSQL, if not said otherwise | measured | must | goal |"
    yield "|---|---|---|---|"
    for bar, value in judged(rounds):
        marks = " | ".join(
            f"{bar.mark(mark)}, {'held' if bar.holds(value, mark) else '**missed**'}" for mark in (bar.must, bar.goal)
        )
        yield f"| {bar.title} | {f'{value:,.3g}' if value < 1000 else f'{value:,.0f}'} | {marks} |"
    yield ""
    yield "## All figures"
    yield ""
    yield "| | | median | rounds | unit |"
    yield "|---|---|---|---|---|"
    for line, rows in _measured(rounds):
        for subject, values in rows:
            spread = f"{_number(min(values), line)} to {_number(max(values), line)}"
            yield f"| {line.title} | {subject} | {_number(median(values), line)} | {spread} | {line.unit} |"
    yield ""
