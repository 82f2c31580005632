"""One workload on one storage, in a process of its own: `python -m benchmarks.round W1 sqlite '{…sizes…}'` prints its figures.

A fresh process for each, so that no measurement warms another or pays for what it has left behind.
"""

import asyncio
import gc
import importlib
import importlib.util
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from attrs import asdict

import zart
from benchmarks.workloads import WORKLOADS, Figures, Sizes, limit

LIMIT = "limit"
_SCRATCH = Path(".bench")


def fast_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return the maker of uvloop's event loops, None where it is not installed."""
    if importlib.util.find_spec("uvloop") is None:
        return None
    make: Callable[[], asyncio.AbstractEventLoop] = importlib.import_module("uvloop").new_event_loop
    return make


def rest_collector() -> None:
    """Have the garbage collector come by seldom, as in any busy server: what is loaded stays, the rest is short-lived."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)


async def _measure(workload: str, url: str, sizes: Sizes) -> Figures:
    rest_collector()
    async with zart.connect(url) as store:
        return await WORKLOADS[workload](store, sizes)


def measure(workload: str, backend: str, sizes: Sizes) -> Figures:
    """Return the figures of one workload on a new, empty storage; files go into a folder on the disk of the current one."""
    _SCRATCH.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=_SCRATCH) as folder:
        if workload == LIMIT:
            return limit(Path(folder), sizes)
        url = "memory://" if backend == "memory" else f"sqlite:///{folder}/zart.db"
        with asyncio.Runner(loop_factory=fast_loop()) as runner:
            return runner.run(_measure(workload, url, sizes))


def argument(sizes: Sizes) -> str:
    """Return sizes as the text that this module's command takes."""
    return json.dumps(asdict(sizes))


if __name__ == "__main__":
    _, given_workload, given_backend, given_sizes = sys.argv
    print(json.dumps(measure(given_workload, given_backend, Sizes(**json.loads(given_sizes)))))
