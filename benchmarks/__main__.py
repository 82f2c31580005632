"""Measures Zart on SQLite and in memory, beside what SQLite itself can do on this machine, and prints one table.

Storages take turns within each round, every measurement in a process of its own; the table shows medians over the rounds.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from attrs import asdict, evolve
from rich.console import Console

from benchmarks.report import LIMIT, MEMORY, SQLITE, Rounds, machine, medians, table, with_ratios
from benchmarks.round import argument, fast_loop
from benchmarks.workloads import QUICK, WORKLOADS, Figures, Sizes

_ON_MEMORY_TOO = [name for name in WORKLOADS if name != "parked"]


def options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return what was asked for on the command line."""
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=_count, default=None, help="how often everything is measured (3)")
    parser.add_argument("--quick", action="store_true", help="one round of very little: only to see that it works")
    parser.add_argument("--workload", type=_workloads, default=list(WORKLOADS), help=f"some of {','.join(WORKLOADS)}")
    parser.add_argument("--executions", type=_count, help=f"executions of W1 ({Sizes().executions:,})")
    parser.add_argument("--parked", type=int, metavar="N", help=f"executions to park, 0 for none ({Sizes().parked:,})")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all rounds and medians to a file")
    return parser.parse_args(arguments)


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is no number from 1")
    return number


def _workloads(text: str) -> list[str]:
    by_name = {name.lower(): name for name in WORKLOADS}
    asked = [each.strip() for each in text.split(",")]
    unknown = [each for each in asked if each.lower() not in by_name]
    if unknown:
        raise argparse.ArgumentTypeError(f"there is no workload {unknown[0]!r}; there are {', '.join(WORKLOADS)}")
    return [by_name[each.lower()] for each in asked]


def measure(workload: str, storage: str, sizes: Sizes) -> Figures:
    """Return the figures of one workload, measured in a fresh process.

    Raises:
        subprocess.CalledProcessError: it failed; what it said stands on the error stream.
    """
    command = [sys.executable, "-m", "benchmarks.round", workload, storage, argument(sizes)]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout  # noqa: S603 # our own module
    figures: Figures = json.loads(said.splitlines()[-1])
    return figures


def measure_all(wanted: Sequence[str], rounds: int, sizes: Sizes, console: Console) -> Rounds:
    """Return the figures of all rounds."""
    plan = [(each, storage) for each in wanted for storage in (MEMORY, SQLITE) if storage == SQLITE or each in _ON_MEMORY_TOO]
    if "W1" in wanted:
        plan.insert(0, (LIMIT, LIMIT))
    measured: dict[str, list[Figures]] = {LIMIT: [], MEMORY: [], SQLITE: []}
    with console.status("measuring") as status:
        for number in range(rounds):
            for figures in measured.values():
                figures.append({})
            for workload, storage in plan:
                status.update(f"round {number + 1} of {rounds}: {workload}, {storage}")
                measured[storage][-1].update(measure(workload, storage, sizes))
    return with_ratios(measured)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print the table."""
    asked = options(arguments)
    sizes = QUICK if asked.quick else Sizes()
    if asked.executions is not None:
        sizes = evolve(sizes, executions=asked.executions)
    if asked.parked is not None:
        sizes = evolve(sizes, parked=asked.parked)
    wanted = [each for each in asked.workload if each != "parked" or sizes.parked > 0]
    rounds = asked.rounds or (1 if asked.quick else 3)
    console = Console()
    measured = measure_all(wanted, rounds, sizes, console)
    figures, place = medians(measured), machine(fast=fast_loop() is not None)
    console.print(table(figures, sizes, f"{place}; {f'median of {rounds} rounds' if rounds > 1 else 'one round'}"))
    if asked.json is not None:
        said = {"machine": place, "sizes": asdict(sizes), "rounds": measured, "medians": figures}
        asked.json.write_text(json.dumps(said, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
