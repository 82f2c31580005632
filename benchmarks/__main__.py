"""Measures Zart beside its peers and beside what the databases themselves can do on this machine, and prints two tables.

Subjects take turns within each round, every measurement in a process of its own on an empty storage; the tables show medians
over the rounds. The PostgreSQL server is the benchmarks' own. Peers take part when `make bench-peers` has installed them.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from attrs import asdict, evolve
from rich.console import Console

from benchmarks.bars import judged
from benchmarks.loop import fast_loop
from benchmarks.plan import PEERS, Measurement, plan
from benchmarks.report import bars_table, figures_table, machine, medians, write_page
from benchmarks.runs import Runner, has_peer, run_rounds
from benchmarks.server import server, versions
from benchmarks.sizes import QUICK, Sizes

SUBJECTS = ("zart", "limit", *PEERS)
PLACES = ("memory", "sqlite", "postgres", "own")
WORKLOADS = tuple(dict.fromkeys(each.workload for each in plan(Sizes())))


def options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return what was asked for on the command line."""
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=_count, help="how often everything is measured (3)")
    parser.add_argument(
        "--quick", action="store_true", help="one round of very little, without peers: only to see that it works"
    )
    parser.add_argument("--workload", type=_some_of("workload", WORKLOADS), default=WORKLOADS, help=", ".join(WORKLOADS))
    parser.add_argument("--subject", type=_some_of("subject", SUBJECTS), default=SUBJECTS, help=", ".join(SUBJECTS))
    parser.add_argument("--place", type=_some_of("place", PLACES), default=PLACES, help=", ".join(PLACES))
    parser.add_argument("--executions", type=_count, help=f"executions of W1 ({Sizes().executions:,})")
    parser.add_argument("--running", type=_count, help=f"executions that Zart runs at once in W1 ({Sizes().running:,})")
    parser.add_argument("--parked", type=_count, help=f"executions to park ({Sizes().parked:,})")
    parser.add_argument("--postgres", choices=versions(), help="which server; default: the newest that is installed")
    parser.add_argument("--scratch", type=Path, default=Path(".bench"), help="where files go meanwhile (.bench)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all rounds and medians to a file")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write a page of Markdown, with plots beside it")
    return parser.parse_args(arguments)


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is no number from 1")
    return number


class _some_of:  # noqa: N801 # argparse shows its name where the text is no such list
    """Reads a list of names."""

    def __init__(self, what: str, known: Sequence[str]) -> None:
        self._what = what
        self._known = {name.lower(): name for name in known}

    def __call__(self, text: str) -> list[str]:
        asked = [each.strip() for each in text.split(",")]
        for each in asked:
            if each.lower() not in self._known:
                raise argparse.ArgumentTypeError(
                    f"there is no {self._what} {each!r}; there are {', '.join(self._known.values())}"
                )
        return [self._known[each.lower()] for each in asked]


def sizes_of(asked: argparse.Namespace) -> Sizes:
    """Return how much is to be measured."""
    sizes = QUICK if asked.quick else Sizes()
    given = {name: getattr(asked, name) for name in ("executions", "running", "parked")}
    return evolve(sizes, **{name: number for name, number in given.items() if number is not None})


def chosen(asked: argparse.Namespace, sizes: Sizes) -> list[Measurement]:
    """Return the measurements that were asked for and can be made."""
    can = {peer for peer in PEERS if not asked.quick and has_peer(peer)} | {"zart", "limit"}
    places = set(asked.place) - (set() if versions() else {"postgres"})
    return [
        each
        for each in plan(sizes)
        if each.workload in asked.workload and each.subject in asked.subject and each.subject in can and each.place in places
    ]


@contextmanager
def runner_for(measurements: Sequence[Measurement], asked: argparse.Namespace) -> Iterator[Runner]:
    """Start what the measurements need."""
    asked.scratch.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=asked.scratch)))
        needed = any(each.place == "postgres" for each in measurements)
        running = stack.enter_context(server(asked.postgres or versions()[0], asked.scratch)) if needed else None
        yield Runner(folder.resolve(), running)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print the tables; 1 if something could not be measured."""
    asked = options(arguments)
    sizes = sizes_of(asked)
    measurements = chosen(asked, sizes)
    rounds = asked.rounds or (1 if asked.quick else 3)
    load = os.getloadavg()[0]
    console, errors = Console(), Console(stderr=True)
    with runner_for(measurements, asked) as runner, errors.status("measuring") as status:
        version = runner.server.run("SHOW server_version")[0][0].partition(" ")[0] if runner.server else None
        measured, failures = run_rounds(runner, measurements, rounds, status.update)
    place = machine(fast=fast_loop() is not None, server=version, load=load)
    console.print(figures_table(measured, f"{place}; {f'median of {rounds} rounds' if rounds > 1 else 'one round'}"))
    console.print(bars_table(measured))
    absent = [peer for peer in PEERS if peer in asked.subject and not has_peer(peer)]
    if absent and not asked.quick:
        errors.print(f"not installed, and so not measured: {', '.join(absent)}; `make bench-peers` installs them")
    for failure in failures:
        errors.print(failure, markup=False)
    if asked.json is not None:
        ratios = {bar.title: value for bar, value in judged(measured)}
        said = {"machine": place, "sizes": asdict(sizes), "rounds": measured, "medians": medians(measured), "bars": ratios}
        asked.json.write_text(json.dumps(said, indent=2) + "\n", "utf-8")
    if asked.page is not None:
        for path in write_page(measured, place, asked.page):
            errors.print(f"wrote {path}", highlight=False)
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
