"""Runs simulations from the command line: many seeds, one seed with its events, or the planted bugs."""

import argparse
import subprocess
import sys

from zart.testing.simulation.planted import BUGS, PAIRS, Bug, hunt
from zart.testing.simulation.simulation import simulate
from zart.testing.simulation.tally import Tally, tally


def main() -> int:
    """Run what the arguments say; return 1 when something did not hold, was not caught, or has never hit."""
    parser = argparse.ArgumentParser("python -m zart.testing.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=100, help="how many seeds; every fifth is run calm as well")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--jobs", type=int, default=1, help="how many processes share them")
    parser.add_argument("--seed", type=int, help="run this one and show its last events")
    parser.add_argument("--calm", action="store_true", help="with --seed: let nothing go wrong")
    parser.add_argument("--planted", action="store_true", help="plant each known bug and catch it within so many seeds")
    parser.add_argument("--stride", type=int, default=1, help=argparse.SUPPRESS)
    parser.add_argument("--raw", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.seed is not None:
        return _show(given.seed, calm=given.calm)
    if given.planted:
        return _catch_all(given.first, given.seeds)
    seeds = range(given.first, given.first + given.seeds, given.stride)
    if given.raw:
        _say(tally(seeds).dumps())
        return 0
    counted = tally(seeds) if given.jobs == 1 else _share(given.first, given.seeds, given.jobs)
    _say(counted.table())
    return 1 if counted.violations or counted.misses else 0


def _show(seed: int, *, calm: bool) -> int:
    report = simulate(seed, calm=calm)
    _say("\n".join(report.lines))
    _say(f"\nseed {seed}: {report.digest}, {report.seconds:.1f} virtual seconds, {report.callbacks} callbacks")
    for violation in report.violations:
        _say(f"violated {violation}")
    return 1 if report.violations else 0


def _share(first: int, seeds: int, jobs: int) -> Tally:
    """Run in several processes: a simulation keeps one processor busy."""
    command = [sys.executable, "-m", "zart.testing.simulation", "--raw", "--stride", str(jobs)]
    children = [
        subprocess.Popen(  # noqa: S603 # itself
            [*command, "--first", str(first + job), "--seeds", str(seeds - job)], stdout=subprocess.PIPE, text=True
        )
        for job in range(min(jobs, seeds))
    ]
    counted = Tally()
    for child in children:
        text, _ = child.communicate()
        if child.returncode:
            raise SystemExit(f"a process of the simulation ended with {child.returncode}; run it with --jobs 1")
        counted.merge(Tally.loads(text))
    return counted


def _catch_all(first: int, seeds: int) -> int:
    escaped = 0
    sets: list[tuple[tuple[Bug, ...], str]] = [((bug,), "") for bug in BUGS if bug.alone]
    sets += [((pair.first, pair.second), pair.shows) for pair in PAIRS]
    for bugs, shows in sets:
        report = hunt(*bugs, seeds=range(first, first + seeds), shows=shows)
        name = ", and ".join(bug.name for bug in bugs)
        if report is None:
            escaped += 1
            _say(f"ESCAPED     {name}")
        else:
            found = next(violation for violation in report.violations if violation.startswith(shows))
            _say(f"seed {report.seed:6} {name}\n            {found}")
    _say(f"{len(sets) - escaped} caught, {escaped} escaped within {seeds} seeds")
    return 1 if escaped else 0


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
