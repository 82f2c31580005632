"""The workloads. Each measures on an open scheduler and returns figures by name; what they mean stands in `report`."""

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median

from attrs import frozen

from benchmarks.handlers import Order, Sequential, Shipped, Timed
from benchmarks.limits import insert_rate
from benchmarks.watched import Watched
from zart import DurableScheduler, ExecutionStatus, Worker, WorkerConfig
from zart.client import Store

Figures = dict[str, float]

CUSTOMER = "ada@example.com"
LONG = 60.0
"""Seconds that nothing here takes; a result that is waited for longer is a fault."""


@frozen
class Sizes:
    """How much of everything."""

    executions: int = 2000
    latencies: int = 200
    sequence: int = 1000
    single_starts: int = 1000
    bulk_starts: int = 20_000
    limit_rows: int = 5000
    parked: int = 20_000
    idle_seconds: float = 5.0


QUICK = Sizes(
    executions=50,
    latencies=5,
    sequence=100,
    single_starts=20,
    bulk_starts=200,
    limit_rows=200,
    parked=300,
    idle_seconds=0.5,
)

BUSY = WorkerConfig(max_concurrent=500)
"""The settings at which many short executions are drained fastest."""


async def w1(store: Store, sizes: Sizes) -> Figures:
    """Drain executions of five trivial steps, started before."""
    handler, client = Sequential(), DurableScheduler(store)
    for number in range(sizes.executions):
        await client.start_for(handler, f"order-{number}", Order(5, CUSTOMER))
    watched = Watched(store)
    gc.collect()
    began, worked = time.perf_counter(), time.process_time()
    async with Worker(watched, [handler], BUSY):
        await watched.until(ExecutionStatus.COMPLETED, sizes.executions)
        took, worked = time.perf_counter() - began, time.process_time() - worked
    steps = 5 * sizes.executions
    return {"w1.rate": steps / took, "w1.cpu": worked / steps * 1e6, "w1.commits": watched.calls["commit"] / sizes.executions}


async def w2(store: Store, sizes: Sizes) -> Figures:
    """Start one execution of one step and await its result, again and again."""
    handler, client = Sequential(), DurableScheduler(store)
    samples = []
    async with Worker(store, [handler]):
        for number in range(sizes.latencies):
            await asyncio.sleep(0.003)  # idle in between, as an application is
            began = time.perf_counter()
            await client.start_and_wait_for(handler, f"order-{number}", Order(1, CUSTOMER), LONG)
            samples.append(time.perf_counter() - began)
    return {"w2.p50": median(samples) * 1e3}


async def w3(store: Store, sizes: Sizes) -> Figures:
    """Send an event to an execution that has left memory, and see its next step begin."""
    handler, client = Shipped(), DurableScheduler(store)
    for number in range(sizes.latencies):
        await client.start_for(handler, f"order-{number}", Order(1, CUSTOMER))
    watched = Watched(store)
    samples = []
    async with Worker(watched, [handler]):
        await watched.until(ExecutionStatus.WAITING, sizes.latencies)
        for number in range(sizes.latencies):
            await watched.until_idle()
            handler.went_on.clear()
            began = time.perf_counter()
            await client.offer_event(f"order-{number}", "shipped", number)
            await handler.went_on.wait()
            samples.append(handler.at - began)
        await watched.until(ExecutionStatus.COMPLETED, sizes.latencies)
    return {"w3.p50": median(samples) * 1e3}


async def w5(store: Store, sizes: Sizes) -> Figures:
    """Run many steps in sequence; then replay nine tenths of them in another worker."""
    client, tenth = DurableScheduler(store), sizes.sequence // 10
    whole = Timed()
    async with Worker(store, [whole]):
        began = time.perf_counter()
        await client.start_and_wait_for(whole, "whole", Order(sizes.sequence, CUSTOMER), LONG)
        total = time.perf_counter() - began
    first = whole.began[tenth] - whole.began[0]
    last = whole.began[-1] - whole.began[-1 - tenth]

    broken = Timed(hold_at=9 * tenth)
    async with Worker(store, [broken], WorkerConfig(shutdown_timeout=0)):
        await client.start_for(broken, "broken", Order(sizes.sequence, CUSTOMER))
        await broken.held.wait()
    mended, watched = Timed(), Watched(store)
    async with Worker(watched, [mended]):
        await client.wait_for(mended, "broken", LONG)
    return {"w5.total": total, "w5.growth": last / first, "w5.replay": (mended.began[0] - watched.claimed_at) * 1e3}


async def w6(store: Store, sizes: Sizes) -> Figures:
    """Start executions one by one, then in bulk."""
    client, handler = DurableScheduler(store), Sequential()
    began = time.perf_counter()
    for number in range(sizes.single_starts):
        await client.start_for(handler, f"one-{number}", Order(5, CUSTOMER))
    single = time.perf_counter() - began
    data = {"steps": 5, "customer": CUSTOMER}
    began = time.perf_counter()
    await client.start_many((f"bulk-{number}", handler.name, data) for number in range(sizes.bulk_starts))
    bulk = time.perf_counter() - began
    return {"w6.single": sizes.single_starts / single, "w6.bulk": sizes.bulk_starts / bulk}


async def parked(store: Store, sizes: Sizes) -> Figures:
    """Park many executions, and see what they cost the worker while nothing happens."""
    handler, client = Shipped(), DurableScheduler(store)
    warm = max(1, sizes.parked // 10)
    data = {"steps": 1, "customer": CUSTOMER}
    for first in range(0, warm + sizes.parked, 1000):  # in small batches, so that starting them leaves no memory behind
        last = min(first + 1000, warm + sizes.parked)
        await client.start_many((f"order-{number}", handler.name, data) for number in range(first, last))
    watched = Watched(store)
    async with Worker(watched, [handler]):
        await watched.until(ExecutionStatus.WAITING, warm)
        before = resident()
        await watched.until(ExecutionStatus.WAITING, warm + sizes.parked)
        gc.collect()
        grown = resident() - before
        await asyncio.sleep(sizes.idle_seconds)
        calls = watched.calls["beat"] + watched.calls["claim"]
        await asyncio.sleep(sizes.idle_seconds)
        idle = (watched.calls["beat"] + watched.calls["claim"] - calls) / sizes.idle_seconds
    return {"parked.memory": grown / sizes.parked * 100_000 / 1e6, "parked.idle": idle}


def resident() -> int:
    """Return how many bytes of memory this process holds; Linux only."""
    for line in Path("/proc/self/status").read_text("ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise OSError("this system does not say how much memory a process holds; leave the parked executions out with --parked 0")


def limit(folder: Path, sizes: Sizes) -> Figures:
    """Measure what SQLite itself can do."""
    return {
        "limit.1": insert_rate(folder, sizes.limit_rows, 1),
        "limit.100": insert_rate(folder, sizes.limit_rows * 10, 100),
    }


WORKLOADS: dict[str, Callable[[Store, Sizes], Awaitable[Figures]]] = {
    "W1": w1,
    "W2": w2,
    "W3": w3,
    "W5": w5,
    "W6": w6,
    "parked": parked,
}
