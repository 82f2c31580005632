"""A data pipeline: read and clean a month of flights, add up the delays carrier by carrier, ask a person, write the report.

Run it alone with `python examples/data_pipeline.py`, or serve it with `zart worker --app examples.data_pipeline:registry`.

Steps hand on file names and small sums, never the rows themselves: what a step returns is saved. A step that was cut off starts
again, so each writes whole files over whatever it finds.
"""

import asyncio
import csv
import tempfile
from collections import defaultdict
from collections.abc import Awaitable, Callable
from html import escape
from pathlib import Path

from attrs import asdict, frozen

from zart import DurableScheduler, Registry, Step, TaskContext, TaskHandler, Worker, connect

DATA = Path(__file__).with_name("data")
LATE = 15
"""Minutes from which an arrival counts as late."""


@frozen
class Job:
    """What to report on: the name of a file of flights, and the folder for the results."""

    dataset: str = "flights-2013-01"
    folder: Path = Path("report")


@frozen
class Cleaned:
    """What cleaning found: the flights that arrived, one file a carrier, and how many were set aside."""

    parts: dict[str, Path]
    complete: int
    cancelled: int
    incomplete: int


@frozen
class Delays:
    """One carrier's month, in minutes."""

    carrier: str
    flights: int
    departure: float
    arrival: float
    late: float
    """The share of arrivals that were late."""


@frozen
class Approval:
    """A person's word."""

    approved: bool
    by: str


@frozen
class Report:
    """Where the results are, and what they rest on."""

    table: Path
    chart: Path
    rows_written: int
    flights: int
    cancelled: int
    incomplete: int
    approved_by: str


class Rejected(Exception):
    """The person said no."""


def clean(source: Path, folder: Path) -> Cleaned:
    """Set cancelled and incomplete flights aside and write the rest, one file a carrier."""
    rows: dict[str, list[tuple[str, str]]] = defaultdict(list)
    cancelled = incomplete = 0
    with source.open(newline="") as flights:
        for flight in csv.DictReader(flights):
            if flight["dep_time"] == "NA":
                cancelled += 1
            elif flight["arr_delay"] == "NA":
                incomplete += 1
            else:
                rows[flight["carrier"]].append((flight["dep_delay"], flight["arr_delay"]))
    folder.mkdir(parents=True, exist_ok=True)
    parts = {carrier: folder / f"delays-{carrier}.csv" for carrier in sorted(rows)}
    for carrier, part in parts.items():
        part.write_text("".join(f"{departure},{arrival}\n" for departure, arrival in rows[carrier]))
    return Cleaned(parts, sum(map(len, rows.values())), cancelled, incomplete)


def aggregate(carrier: str, part: Path) -> Delays:
    """Add up one carrier's delays."""
    departures, arrivals = zip(*(map(int, line.split(",")) for line in part.read_text().splitlines()), strict=True)
    flights = len(arrivals)
    return Delays(
        carrier, flights, sum(departures) / flights, sum(arrivals) / flights, sum(late >= LATE for late in arrivals) / flights
    )


def write_table(delays: list[Delays], path: Path) -> Path:
    """Write one row a carrier."""
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, list(asdict(delays[0])))
        table.writeheader()
        table.writerows(
            {name: round(v, 3) if isinstance(v, float) else v for name, v in asdict(each).items()} for each in delays
        )
    return path


def write_chart(delays: list[Delays], airlines: Path, path: Path) -> Path:
    """Draw the mean arrival delays as an SVG bar chart, the longest first."""
    with airlines.open(newline="") as file:
        names = {row["carrier"]: row["name"] for row in csv.DictReader(file)}
    bars = sorted(delays, key=lambda each: -each.arrival)
    low, high = 20 * int(min(0, bars[-1].arrival) // 20), 20 * int(bars[0].arrival // 20 + 1)
    left, width, row, top = 300, 560, 26, 70
    bottom = top + row * len(bars)

    def x(minutes: float) -> float:
        return round(left + width * (minutes - low) / (high - low), 1)

    def text(at: float, y: float, what: str, anchor: str = "middle", size: int = 13) -> str:
        return f'<text x="{at}" y="{y}" text-anchor="{anchor}" font-size="{size}">{escape(what)}</text>'

    drawn = [
        '<rect width="100%" height="100%" fill="#fff"/>',
        text(left, 32, "Arrival delays of flights from New York", "start", 20),
    ]
    for tick in range(low, high + 1, 20):
        drawn.append(
            f'<line x1="{x(tick)}" x2="{x(tick)}" y1="{top}" y2="{bottom}" stroke="{"#444" if tick == 0 else "#ddd"}"/>'
        )
        drawn.append(text(x(tick), bottom + 18, str(tick)))
    for number, bar in enumerate(bars):
        y = top + row * number + 4
        start, end = sorted((x(0), x(bar.arrival)))
        drawn.append(text(left - 12, y + 14, f"{names.get(bar.carrier, bar.carrier)} ({bar.flights:,})", "end"))
        drawn.append(f'<rect x="{start}" y="{y}" width="{round(end - start, 1)}" height="{row - 8}" fill="#2f6f9f"/>')
        drawn.append(text(end + 6, y + 14, f"{bar.arrival:.1f}", "start"))
    drawn.append(text(left + width / 2, bottom + 42, "mean arrival delay in minutes (in brackets: flights that arrived)"))
    size = f'viewBox="0 0 {left + width + 60} {bottom + 60}" width="{left + width + 60}" height="{bottom + 60}"'
    style = 'font-family="sans-serif" fill="#222"'
    path.write_text(f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>\n' + "\n".join(drawn) + "\n</svg>\n")
    return path


class DataPipeline(TaskHandler[Job, Report]):
    """The workflow. `ask` tells a person that a report waits for approval: a step, so that a replay does not tell again."""

    name = "data-pipeline"
    raises = (Rejected,)

    def __init__(self, source: Path = DATA, ask: Callable[[str], Awaitable[None] | None] = print) -> None:
        self.source = source
        self.ask = ask

    async def run(self, ctx: TaskContext, job: Job) -> Report:
        """Clean, aggregate in parallel, wait for approval, write."""
        cleaned = await ctx.step("clean", clean, self.source / f"{job.dataset}.csv", job.folder / "parts")
        handles = [
            ctx.schedule(Step.of(f"aggregate-{carrier}", aggregate, carrier, part)) for carrier, part in cleaned.parts.items()
        ]
        delays = [outcome.unwrap() for outcome in await ctx.wait(handles)]

        await ctx.step(
            "ask", self.ask, f"{ctx.info.execution_id}: {cleaned.complete:,} flights of {len(delays)} carriers are ready"
        )
        approval = await ctx.wait_for_event("approval", Approval, name="await-approval")
        if not approval.approved:
            raise Rejected(f"{approval.by} did not approve the report")

        table = await ctx.step("write-table", write_table, delays, job.folder / "delays.csv")
        chart = await ctx.step("write-chart", write_chart, delays, self.source / "airlines.csv", job.folder / "delays.svg")
        return Report(table, chart, len(delays), cleaned.complete, cleaned.cancelled, cleaned.incomplete, approval.by)


registry = Registry([DataPipeline()])


async def main() -> None:
    """Report on January 2013, with an approval that comes when it is asked for."""
    asked: asyncio.Queue[str] = asyncio.Queue()
    handler = DataPipeline(ask=asked.put)
    folder = Path(tempfile.mkdtemp(prefix="zart-report-"))
    async with connect(f"sqlite:///{folder}/zart.db") as scheduler, Worker(scheduler, [handler]):
        started = await DurableScheduler(scheduler).start_for(handler, "pipeline-001", Job(folder=folder))
        print(f"asked: {await asked.get()}")
        await started.send("approval", Approval(approved=True, by="alice"))
        report = await started.result("60s")
    print(f"{report.flights:,} flights; set aside: {report.cancelled} cancelled, {report.incomplete} incomplete")
    print(f"approved by {report.approved_by}; {report.rows_written} carriers in\n  {report.table}\n  {report.chart}")
    with (DATA / "flights-2013-01.csv").open() as source:
        rows = sum(1 for _ in source) - 1
    if report.flights + report.cancelled + report.incomplete != rows:
        raise SystemExit(f"not as it should be: the flights do not add up to {rows:,}")


if __name__ == "__main__":
    asyncio.run(main())
