"""`zart bench`."""

from zart.cli.bench.ground import ground
from zart.cli.bench.meaning import bound, figures
from zart.cli.bench.measure import Bench, Measured
from zart.cli.errors import usage
from zart.cli.eventloop import run_quickly
from zart.cli.output import put_record
from zart.cli.settings import DEFAULTS, DatabaseSettings, masked

_LONGEST = 60.0


def bench(
    *,
    seconds: float = 5.0,
    concurrency: int = 200,
    settings: DatabaseSettings = DEFAULTS,
) -> None:
    """Measure this database for a few seconds, and say what the figures mean.

    A round trip, a start that is saved by itself, a step of an execution that runs alone, steps per second where many run,
    the time from a start to its result, and whether the database or Python bounds the whole.

    It works in a schema of its own beside yours, on MySQL in tables and for SQLite in a file of its own, called
    `zart_bench_…`, and removes it afterwards; your tables are not touched. What else the database does meanwhile is in the
    figures, and they are a load for it. Of shards, name one.

    Args:
        seconds: About how long, at most 60.
        concurrency: How many executions run at once, as for `zart worker`.
        settings: What every command takes.
    """
    with usage():
        if not 0 < seconds <= _LONGEST:
            raise ValueError(f"--seconds must be above 0 and at most {_LONGEST:g}, not {seconds:g}; 5 is enough for most")
        if concurrency < 1:
            raise ValueError(f"--concurrency must be a whole number from 1, not {concurrency}; `zart worker` has 200")
    measured = run_quickly(_measured(settings.database, seconds, concurrency))
    record = {
        "database": masked(settings.database),
        "executions": measured.executions,
        "bound": bound(measured),
        "figures": figures(measured, concurrency),
    }
    put_record(record, settings.format)


async def _measured(url: str, seconds: float, concurrency: int) -> Measured:
    async with ground(url) as storage:
        return await Bench(storage, seconds, concurrency).run()
