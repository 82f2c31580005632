"""Carries the figures of the benchmark on: a simulation of workers and database servers at sizes that no test has.

`python -m benchmarks.scale` prints the table of `docs/explain/scale.md`. What goes in is measured or estimated (`Costs`); what
is simulated is queueing: each worker's loop, its groups of saves, its claims and beats, and the processors of each server. It
knows no network faults, no checkpoints and no other users of the database: take a third off what it says.
"""

import heapq
import sys
from collections import deque
from itertools import count, product

from attrs import define, field, frozen

_BATCHES = 2
"""Of a worker's executions one half is being saved while the other half runs."""


@frozen
class Costs:
    """Seconds on one machine: of steps as measured, see docs/explain/measured.md; of commits, the disk and beats estimated."""

    worker_step: float = 35e-6
    """Processor time of a worker for one step."""
    server_step: float = 17e-6
    """Processor time of the server for one step, its share of claims and ends included."""
    server_commit: float = 200e-6
    """The same for each transaction, whatever it holds."""
    disk: float = 450e-6
    """How long a commit waits for the disk, together with others."""
    beat: float = 300e-6
    """Processor time of the server for a beat and an idle claim, once a second for each worker."""
    wal: float = 595
    """Bytes for each step."""


@frozen
class Size:
    """What is simulated."""

    workers: int
    shards: int = 1
    cores: int = 16
    """Of each server."""
    running: int = 200
    work: float = 0.0
    """Seconds that a step waits for the world outside."""


@define
class Server:
    """Processors that serve who comes first."""

    cores: int
    busy: int = 0
    spent: float = 0.0
    queue: "deque[tuple[float, int, int]]" = field(factory=deque)


@frozen
class Outcome:
    """What came of it."""

    steps: float
    """Per second, over all workers."""
    server: float
    """How busy the servers' processors were, 0 to 1."""
    worker: float
    """How busy each worker's processor was."""
    save: float
    """Seconds from a step's end to its being saved, on the average."""


def simulate(size: Size, costs: Costs | None = None, seconds: float = 2.0) -> Outcome:
    """Let the workers work for a while, in virtual time.

    A worker's groups prefer one shard, as with `ShardedScheduler`.
    """
    cost = costs or Costs()
    rows = max(1, size.running // _BATCHES)
    servers = [Server(size.cores) for _ in range(size.shards)]
    order = count()
    events: list[tuple[float, int, str, int, int]] = []
    free = [0.0] * size.workers
    done, spent, waited, saves = 0, 0.0, 0.0, 0
    asked: dict[tuple[int, int], float] = {}

    def later(at: float, what: str, worker: int, group: int) -> None:
        heapq.heappush(events, (at, next(order), what, worker, group))

    def serve(server: Server, at: float, demand: float, worker: int, group: int) -> None:
        if server.busy >= server.cores:
            server.queue.append((demand, worker, group))
            return
        server.busy += 1
        server.spent += demand
        later(at + demand, "served", worker, group)

    for worker, group in product(range(size.workers), range(_BATCHES)):
        later(worker / size.workers * 0.01, "ready", worker, group)
    for worker in range(size.workers):
        later(worker / size.workers, "beat", worker, -1)
    while events and events[0][0] < seconds:
        at, _, what, worker, group = heapq.heappop(events)
        server = servers[worker % size.shards]
        if what == "ready":  # its steps have come back: Python handles them one after the other
            began = max(at, free[worker])
            free[worker] = began + rows * cost.worker_step
            spent += rows * cost.worker_step
            later(free[worker] + size.work, "save", worker, group)
        elif what == "save":
            asked[worker, group] = at
            serve(server, at, cost.server_commit + rows * cost.server_step, worker, group)
        elif what == "beat":  # to every shard, though it works for one
            for each in servers:
                serve(each, at, cost.beat, worker, -1)
            later(at + 1.0, "beat", worker, -1)
        elif what == "served":
            server.busy -= 1
            if group >= 0:
                later(at + cost.disk, "saved", worker, group)
            if server.queue:
                serve(server, at, *server.queue.popleft())
        else:
            done += rows
            waited += at - asked.pop((worker, group))
            saves += 1
            later(at, "ready", worker, group)
    capacity = size.cores * size.shards * seconds
    server_share = min(1.0, sum(each.spent for each in servers) / capacity)
    return Outcome(done / seconds, server_share, min(1.0, spent / seconds / size.workers), waited / max(1, saves))


PATH = (
    *(Size(workers) for workers in (1, 4, 16, 64)),
    *(Size(workers, work=0.1) for workers in (100, 300, 1000)),
    *(Size(1000, shards, work=0.1) for shards in (3, 6)),
)


def table() -> str:
    """Return the path as a table."""
    lines = [
        "| workers | servers | a step waits | steps/s | servers busy | a worker busy | a save takes | WAL |",
        "|---" * 8 + "|",
    ]
    for size in PATH:
        found = simulate(size)
        wal = f"{found.steps / size.shards * Costs().wal / 1e6:.0f} MB/s" + (" each" if size.shards > 1 else "")
        lines.append(
            f"| {size.workers:,} | {size.shards} of {size.cores} cores | {size.work * 1e3:.0f} ms | {found.steps:,.0f} |"
            f" {found.server:.0%} | {found.worker:.0%} | {found.save * 1e3:.1f} ms | {wal} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(table())
