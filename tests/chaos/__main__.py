"""`make chaos`: real workers, clients and servers, among which everything goes wrong; then what was promised is counted.

Exit status 0: nothing was found, and every fault really hit. 1: a promise was broken. 2: a fault never hit: nothing is shown.
"""

import argparse
import asyncio
import shutil
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random

from tests.chaos.crashes import ClaimStorm
from tests.chaos.crew import Nursery
from tests.chaos.storm import Storm, Verdict

MINUTE = 60.0
SHARES = {"postgres": 0.55, "sqlite": 0.25, "claims": 0.2}
"""What part of the time each storm has."""


async def storms(names: list[str], minutes: float, seed: int, folder: Path) -> list[Verdict]:
    """Run one after the other."""
    verdicts = []
    total = sum(SHARES[name] for name in names)
    with (folder / "errors").open("wb") as errors, Nursery(errors) as nursery:
        for name in names:
            place = folder / name
            place.mkdir()
            seconds = minutes * MINUTE * SHARES[name] / total
            chance = Random(f"{seed} {name}")
            storm = Storm(name, place, nursery, seconds, chance)
            ways: dict[str, Callable[[], Awaitable[Verdict]]] = {
                "postgres": storm.on_postgres,
                "sqlite": storm.on_sqlite,
                "claims": ClaimStorm(name, place, nursery, seconds, chance).on_postgres,
            }
            verdict = await ways[name]()
            print("\n".join(verdict.lines()), flush=True)
            verdicts.append(verdict)
    return verdicts


def main() -> int:
    """Run them, and say what came of it."""
    parser = argparse.ArgumentParser("python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=15, help="for all storms together; calm afterwards comes on top")
    parser.add_argument("--seed", type=int, default=1, help="which faults, and when; processes keep their own time")
    parser.add_argument("--storms", nargs="+", choices=SHARES, default=list(SHARES))
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="zart-chaos-"))
    folder.chmod(0o755)  # the server may have to run as somebody else
    verdicts = asyncio.run(storms(given.storms, given.minutes, given.seed, folder))
    found = sum(len(each) for verdict in verdicts for each in verdict.violations.values())
    idle = [f"{verdict.name}: {name}" for verdict in verdicts for name in verdict.idle]
    hits = sum(tally.hits for verdict in verdicts for tally in verdict.tallies.values())
    missed = sum(len(verdict.missed) for verdict in verdicts)
    if found:
        print(f"BROKEN: {found} violations under {hits} faults that hit; what happened is in {folder}")
        return 1
    shutil.rmtree(folder)
    if idle:
        print(f"INVALID: no violation, but these never hit, so nothing is shown: {', '.join(idle)}")
        return 2
    print(
        f"0 violations, {hits} faults hit" + (f", {missed} could not be done here" if missed else "") + f"; seed {given.seed}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
