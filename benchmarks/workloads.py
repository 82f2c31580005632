"""The workloads within one process. Each measures on an open scheduler and returns figures by name."""

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from statistics import median

from benchmarks.fill import copies_of
from benchmarks.handlers import Shipped
from benchmarks.race import CUSTOMER, LONG, STEPS, Course, Figures, data
from zart import DurableScheduler, ExecutionStatus, Worker, WorkerConfig
from zart.cli.bench.flow import Order, Sequential
from zart.cli.bench.watched import Watched
from zart.client import Store
from zart.records import Demand, WorkerBeat

_CLAIMED_AT_ONCE = 10


async def w1(store: Store, course: Course) -> Figures:
    """Drain executions of five trivial steps, started before."""
    client, number = DurableScheduler(store), course.sizes.executions
    await client.start_many((f"order-{each}", Sequential.name, data(STEPS)) for each in range(number))
    watched = Watched(store)
    gc.collect()
    began, spent = time.perf_counter(), time.process_time()
    async with Worker(watched, [Sequential()], WorkerConfig(max_concurrent=course.sizes.running)):
        await watched.until(ExecutionStatus.COMPLETED, number)
        took, spent = time.perf_counter() - began, time.process_time() - spent
    return {"rate": STEPS * number / took, "cpu": spent / (STEPS * number) * 1e6}


async def w2(store: Store, course: Course) -> Figures:
    """Start one execution of one step and await its result, again and again."""
    handler, client = Sequential(), DurableScheduler(store)
    samples = []
    async with Worker(store, [handler]):
        for number in range(course.sizes.latencies):
            await asyncio.sleep(0.005)  # idle in between, as an application is
            began = time.perf_counter()
            await client.start_and_wait_for(handler, f"order-{number}", Order(1, CUSTOMER), LONG)
            samples.append(time.perf_counter() - began)
    return {"p50": median(samples) * 1e3}


async def w6(store: Store, course: Course) -> Figures:
    """Start executions one by one, then in bulk."""
    client, handler, sizes = DurableScheduler(store), Sequential(), course.sizes
    began = time.perf_counter()
    for number in range(sizes.single_starts):
        await client.start_for(handler, f"one-{number}", Order(STEPS, CUSTOMER))
    single = time.perf_counter() - began
    began = time.perf_counter()
    await client.start_many((f"bulk-{number}", handler.name, data(STEPS)) for number in range(sizes.bulk_starts))
    bulk = time.perf_counter() - began
    return {"single": sizes.single_starts / single, "bulk": sizes.bulk_starts / bulk}


async def claims(store: Store, course: Course) -> Figures:
    """Claim due executions: among nothing, among very many that have ended, and among as many that no worker here can run."""
    handler, client = Sequential(), DurableScheduler(store)
    async with Worker(store, [handler]):
        await client.start_and_wait_for(handler, "ended", Order(1, CUSTOMER), LONG)
    await _claim_time(store, course, "first")  # whatever is slow the first time
    empty = await _claim_time(store, course, "empty")
    await copies_of(course.url, "ended", course.sizes.finished)
    full = await _claim_time(store, course, "full")
    await client.start_many((f"nobodys-{number}", "nobody's", None) for number in range(course.sizes.unregistered))
    foreign = await _claim_time(store, course, "foreign")
    return {"empty": empty * 1e3, "full": full * 1e3, "finished": full / empty, "unregistered": foreign / empty}


async def _claim_time(store: Store, course: Course, name: str) -> float:
    """Return the median time of a claim of ten executions, of which there are as many as are claimed."""
    client, number = DurableScheduler(store), course.sizes.claims * _CLAIMED_AT_ONCE
    await client.start_many((f"{name}-{each}", Sequential.name, data(STEPS)) for each in range(number))
    lease = timedelta(minutes=10) // timedelta(microseconds=1)
    await store.beat(WorkerBeat(name, lease, queues=("default",), tasks=(Sequential.name,), register=True))
    demand = Demand(name, ("default",), {Sequential.name: None}, _CLAIMED_AT_ONCE)
    samples = []
    for _ in range(course.sizes.claims):
        began = time.perf_counter()
        if len(await store.claim(demand)) != _CLAIMED_AT_ONCE:
            raise RuntimeError("a claim brought less than there is")
        samples.append(time.perf_counter() - began)
    return median(samples)


async def parked(store: Store, course: Course) -> Figures:
    """Park many executions, and see what they cost the worker while nothing happens."""
    handler, client, sizes = Shipped(), DurableScheduler(store), course.sizes
    warm = max(1, sizes.parked // 10)
    for first in range(0, warm + sizes.parked, 1000):  # in small batches, so that starting them leaves no memory behind
        last = min(first + 1000, warm + sizes.parked)
        await client.start_many((f"order-{number}", handler.name, data(1)) for number in range(first, last))
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
    return {"memory": grown / sizes.parked * 100_000 / 1e6, "idle": idle}


def resident() -> int:
    """Return how many bytes of memory this process holds; Linux only."""
    for line in Path("/proc/self/status").read_text("ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise OSError("this system does not say how much memory a process holds")


WORKLOADS: dict[str, Callable[[Store, Course], Awaitable[Figures]]] = {
    "W1": w1,
    "W2 inside": w2,
    "W6": w6,
    "claims": claims,
    "parked": parked,
}
