"""Measures what three servers are worth where one is the limit: W1 on one slow database, then on three.

`python -m benchmarks.shards` starts a PostgreSQL server and, before each of its databases, a proxy that lets it do one commit
at a time, 10 ms each. The same workers, as many and with the same settings, drain the same executions of five steps.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack

from attrs import frozen

from benchmarks.race import STEPS, data
from benchmarks.slow import SlowCommits
from tests.servers.postgres import PostgresServer, installed
from zart import DurableScheduler, ExecutionStatus, PostgresScheduler, ShardedScheduler, Worker, WorkerConfig
from zart.cli.bench.flow import Sequential
from zart.cli.bench.watched import Watched

MANY = 3
WANTED = 2.5


@frozen
class Load:
    """What is run."""

    executions: int = 2000
    workers: int = 6
    running: int = 12
    commit: float = 0.01
    """Seconds that a server takes for a commit, during which it does no other."""


@frozen
class Measured:
    """What came of it."""

    rate: float
    """Steps per second."""
    commits: int


async def measure(running: PostgresServer, shards: int, load: Load) -> Measured:
    """Drain the executions over so many shards."""
    names = [f"shard_{shards}_{number}" for number in range(shards)]
    dsns = [running.dsn.replace("/postgres", f"/{name}") for name in names]
    await asyncio.to_thread(running.run, *(f"CREATE DATABASE {name}" for name in names))
    async with ShardedScheduler([PostgresScheduler(dsn) for dsn in dsns]) as direct:
        await direct.migrate()
        orders = ((f"order-{number}", Sequential.name, data(STEPS)) for number in range(load.executions))
        await DurableScheduler(direct).start_many(orders)
    async with AsyncExitStack() as stack:
        proxies = [await stack.enter_async_context(SlowCommits(running.port, load.commit)) for _ in dsns]
        behind = [
            f"postgresql://zart@127.0.0.1:{proxy.port}/{name}?sslmode=disable"
            for proxy, name in zip(proxies, names, strict=True)
        ]
        watched = [
            Watched(
                await stack.enter_async_context(
                    ShardedScheduler([PostgresScheduler(dsn, pool_size=2) for dsn in behind], prefer=number % shards)
                )
            )
            for number in range(load.workers)
        ]
        config = WorkerConfig(max_concurrent=load.running, heartbeat_interval="2s")
        begun: list[float] = []
        handler = Sequential(lambda: begun.append(time.perf_counter()))
        workers = [Worker(each, [handler], config) for each in watched]
        async with AsyncExitStack() as working:
            for each in workers:
                await working.enter_async_context(each)
            while sum(each.let_go[ExecutionStatus.COMPLETED] for each in watched) < load.executions:
                await asyncio.sleep(0.01)
            took = time.perf_counter() - begun[0]
            commits = sum(proxy.commits for proxy in proxies)
    return Measured(STEPS * load.executions / took, commits)


async def compare(running: PostgresServer, load: Load) -> tuple[Measured, Measured]:
    """Measure one server and three."""
    return await measure(running, 1, load), await measure(running, MANY, load)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print; 1 if three servers are worth less than is wanted."""
    parser = argparse.ArgumentParser("python -m benchmarks.shards", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--executions", type=int, default=Load().executions, help="executions of five steps (2,000)")
    asked = parser.parse_args(arguments)
    with PostgresServer(installed()["18"]) as running:
        one, three = asyncio.run(compare(running, Load(asked.executions)))
    for name, each in (("one", one), ("three", three)):
        sys.stdout.write(f"{name:6}{each.rate:8,.0f} steps/s {each.commits:7,} commits\n")
    sys.stdout.write(f"three servers against one: {three.rate / one.rate:.2f} times\n")
    return 0 if three.rate / one.rate >= WANTED else 1


if __name__ == "__main__":
    sys.exit(main())
