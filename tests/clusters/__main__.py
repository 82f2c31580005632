"""Try the clusters: `python -m tests.clusters [name…]`. Prints what each scenario came to; fails if one is bad, or not run."""

import argparse
import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Iterator

from tests.clusters import galera, galera_scenarios, postgres_scenarios, standby
from tests.clusters.score import Score
from tests.servers import pgbouncer

NAMES = ("galera", "failover", "pgbouncer", "serializable")


def missing(name: str) -> str | None:
    """Return what must be installed before it can be run, None if all is there."""
    if name == "galera":
        return galera.missing()
    if name == "pgbouncer" and pgbouncer.program() is None:
        return "apt-get install pgbouncer"
    return standby.missing()


async def run(name: str) -> AsyncIterator[Score]:
    """Yield the scores of the scenarios of a name."""
    match name:
        case "galera":
            async with galera.Galera() as cluster:
                yield await galera_scenarios.fences(cluster)
                yield await galera_scenarios.kills(cluster)
        case "failover":
            yield await postgres_scenarios.failover()
        case "pgbouncer":
            yield await postgres_scenarios.pooler()
        case _:
            yield await postgres_scenarios.serializable()


async def main(names: list[str]) -> int:
    """Run them all, one after the other; return how many were not good."""
    bad = 0
    for name in names:
        if what := missing(name):
            print(f"{name}: not run: {what}", flush=True)
            bad += 1
            continue
        async for score in run(name):
            print(score, flush=True)
            bad += not score.is_good
    print("all good" if not bad else f"{bad} not good", flush=True)
    return bad


def _chosen() -> Iterator[str]:
    parser = argparse.ArgumentParser(prog="python -m tests.clusters", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *NAMES], help="all, if none is named")
    yield from parser.parse_args().names or NAMES


if __name__ == "__main__":
    logging.getLogger("zart").addHandler(logging.NullHandler())  # servers that are killed are what this is about
    sys.exit(min(asyncio.run(main(list(_chosen()))), 1))
