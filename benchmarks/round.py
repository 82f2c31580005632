"""One workload within one process, on one storage: `python -m benchmarks.round 'W2 inside' '{…course…}'` prints its figures.

A fresh process for each, so that no measurement warms another or pays for what it has left behind.
"""

import asyncio
import json
import sys

import zart
from benchmarks.child import end_with_parent
from benchmarks.loop import fast_loop, rest_collector
from benchmarks.race import Course, Figures
from benchmarks.workloads import WORKLOADS


async def measure(workload: str, course: Course) -> Figures:
    """Return the figures of one workload on a new, empty storage."""
    rest_collector()
    await zart.connect(course.url).migrate()
    async with zart.connect(course.url) as store:
        return await WORKLOADS[workload](store, course)


def main() -> None:
    """Measure what the command line says."""
    end_with_parent()
    _, workload, course = sys.argv
    with asyncio.Runner(loop_factory=fast_loop()) as runner:
        figures = runner.run(measure(workload, Course.read(course)))
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
