"""The demo's workflow: a month of flights, read, cleaned, aggregated in parallel, approved by a person, and reported.

Every step notes in a ledger that it has started; apart from that this is code as a user would write it.
"""

import asyncio
import csv
import gzip
import statistics
from importlib.resources import files
from pathlib import Path

from attrs import frozen

from zart.cli.demo import ledger
from zart.cli.demo.chart import bars
from zart.clock import SystemClock, pause
from zart.context import TaskContext
from zart.handler import TaskHandler

TASK = "flight-delays"
SLOW = "clean"
APPROVAL = "await-approval"
_SLICE = 1000
_CLOCK = SystemClock()
_PAUSE = 0.06
"""Seconds of rest after each thousand rows of the slow step, so that there is time to kill its worker."""


@frozen
class Job:
    """What to do: the folder for all files."""

    folder: str


@frozen
class Cleaned:
    """What the cleaning came to; the flights themselves are in a file."""

    kept: int
    cancelled: int
    incomplete: int
    carriers: list[str]


@frozen
class Delays:
    """One carrier's month."""

    airline: str
    flights: int
    mean: float
    median: float
    late: float
    """The share of flights that arrived more than 15 minutes late."""


@frozen
class Approval:
    """A person's decision."""

    approved: bool
    by: str


@frozen
class Report:
    """What came out."""

    flights: int
    set_aside: int
    approved_by: str
    table: str
    chart: str


class FlightDelays(TaskHandler[Job, Report]):
    """Delays per carrier."""

    name = TASK

    async def run(self, ctx: TaskContext, data: Job) -> Report:
        """Read, clean, aggregate in parallel, wait for approval, report."""
        rows = await ctx.step("read", read, data.folder)
        cleaned: Cleaned = await ctx.step(SLOW, clean, data.folder)
        delays = await asyncio.gather(
            *(ctx.step(f"delays-{carrier}", delays_of, data.folder, carrier) for carrier in cleaned.carriers)
        )
        decision = await ctx.wait_for_event("approval", Approval, name=APPROVAL)
        if not decision.approved:
            raise ValueError(f"{decision.by} did not approve")
        table = await ctx.step("write-table", write_table, data.folder, delays)
        chart = await ctx.step("write-chart", write_chart, data.folder, delays)
        return Report(cleaned.kept, rows - cleaned.kept, decision.by, table, chart)


def read(folder: str) -> int:
    """Unpack the flights and return how many there are."""
    ledger.enter(folder, "read")
    packed = files(__package__) / "flights-2013-01.csv.gz"
    text = gzip.decompress(packed.read_bytes()).decode()
    _save(Path(folder) / "flights.csv", text)
    return text.count("\n") - 1


async def clean(folder: str) -> Cleaned:
    """Set cancelled and incomplete flights aside."""
    ledger.enter(folder, SLOW)
    cancelled = incomplete = 0
    kept: list[str] = []
    carriers: set[str] = set()
    with (Path(folder) / "flights.csv").open(encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.DictReader(file), 1):
            if row["dep_delay"] == "NA":
                cancelled += 1
            elif row["arr_delay"] == "NA":
                incomplete += 1
            else:
                kept.append(f"{row['carrier']},{row['airline']},{row['arr_delay']}")
                carriers.add(row["carrier"])
            if number % _SLICE == 0:
                await pause(_CLOCK, _PAUSE)
    _save(Path(folder) / "cleaned.csv", "\n".join(["carrier,airline,arr_delay", *kept, ""]))
    return Cleaned(len(kept), cancelled, incomplete, sorted(carriers))


def delays_of(folder: str, carrier: str) -> Delays:
    """Aggregate one carrier's flights."""
    ledger.enter(folder, f"delays-{carrier}")
    with (Path(folder) / "cleaned.csv").open(encoding="utf-8", newline="") as file:
        mine = [row for row in csv.DictReader(file) if row["carrier"] == carrier]
    delays = [int(row["arr_delay"]) for row in mine]
    late = sum(delay > 15 for delay in delays) / len(delays)
    return Delays(mine[0]["airline"], len(delays), statistics.fmean(delays), statistics.median(delays), late)


def write_table(folder: str, delays: list[Delays]) -> str:
    """Write the report as CSV and return where it is."""
    ledger.enter(folder, "write-table")
    lines = ["airline,flights,mean_delay,median_delay,late_share"]
    lines += [
        f"{each.airline},{each.flights},{each.mean:.2f},{each.median:.1f},{each.late:.4f}" for each in _worst_first(delays)
    ]
    return _save(Path(folder) / "delays.csv", "\n".join([*lines, ""]))


def write_chart(folder: str, delays: list[Delays]) -> str:
    """Draw the report and return where it is."""
    ledger.enter(folder, "write-chart")
    values = [(each.airline, each.mean) for each in _worst_first(delays)]
    return _save(Path(folder) / "delays.svg", bars("Mean arrival delay in minutes, New York City, January 2013", values))


def _worst_first(delays: list[Delays]) -> list[Delays]:
    return sorted(delays, key=lambda each: -each.mean)


def _save(path: Path, text: str) -> str:
    # Written aside and renamed: a step that is killed while it writes leaves no half file behind.
    aside = path.with_suffix(".part")
    aside.write_text(text, "utf-8")
    aside.replace(path)
    return str(path)


handlers: tuple[FlightDelays] = (FlightDelays(),)
