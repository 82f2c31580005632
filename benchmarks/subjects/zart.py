"""Zart, on the database that the course's URL names."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import zart
from benchmarks.child import Child, say
from benchmarks.handlers import Fan, Long, Paused, Shipped
from benchmarks.loop import fast_loop, rest_collector
from benchmarks.race import CUSTOMER, LAPS, LONG, Course, Figures, Race, Tally, data, executions, main, stride
from zart import DurableScheduler, ExecutionHandle, ExecutionStatus, TaskHandler, Worker, WorkerConfig
from zart.cli.bench.flow import Order, Sequential
from zart.cli.bench.watched import Watched
from zart.records import Query
from zart.scheduler import Storage

FEW = 20
"""How many executions each of two workers runs at once."""
_GLANCE = 0.02


class Zart:
    """The client in the measuring process, and the worker in its own."""

    def __init__(self, course: Course) -> None:
        self._course = course
        self._tasks: dict[str, TaskHandler[Order, Any]] = {
            "order": Sequential(),
            "fan": Fan(),
            "shipped": Shipped(),
            "long": Long(),
            "paused": Paused(),
        }
        self._number = 0
        self._storage: Storage
        self._client: DurableScheduler

    async def prepare(self) -> None:
        """Make the schema."""
        await zart.connect(self._course.url).migrate()

    async def open(self) -> None:
        """Connect."""
        self._storage = await zart.connect(self._course.url).__aenter__()
        self._client = DurableScheduler(self._storage)

    async def close(self) -> None:
        """Disconnect."""
        await self._storage.__aexit__(None, None, None)

    async def start(self, task: str, steps: int) -> ExecutionHandle[Any]:
        """Start an execution with typed data."""
        self._number += 1
        return await self._client.start_for(self._tasks[task], f"{task}-{self._number}", Order(steps, CUSTOMER))

    async def start_many(self, task: str, steps: int, number: int) -> None:
        """Start executions in bulk."""
        name, first = self._tasks[task].name, self._number + 1
        self._number += number
        await self._client.start_many((f"{task}-{each}", name, data(steps)) for each in range(first, first + number))

    async def result(self, handle: ExecutionHandle[Any]) -> Any:
        """Wait for the output."""
        return await handle.result(LONG)

    async def send(self, handle: ExecutionHandle[Any]) -> None:
        """Send the event."""
        await handle.send("shipped", 1)

    async def finished(self) -> int:
        """Return how many have completed."""
        return (await self._storage.count(Query())).get(ExecutionStatus.COMPLETED, 0)

    def work(self, workload: str) -> None:
        """Work until stopped."""
        with asyncio.Runner(loop_factory=fast_loop()) as runner:
            runner.run(self._drain(workload) if workload.startswith("W1") else self._serve(workload))

    async def _drain(self, workload: str) -> None:
        """Work on a W1; an execution has ended when storage has said so."""
        expected = executions(workload, self._course.sizes)
        running = 200 if workload == "W1 at 200" else self._course.sizes.running
        async with zart.connect(self._course.url) as storage:
            watched = Watched(storage)
            worker = Worker(watched, [Sequential(Tally(expected).enter)], WorkerConfig(max_concurrent=running))
            rest_collector()
            working = asyncio.ensure_future(worker.run())
            say("ready")
            await watched.until(ExecutionStatus.COMPLETED, expected)
            say("last")
            await working

    async def _serve(self, workload: str) -> None:
        async with zart.connect(self._course.url) as storage:
            watched = Watched(storage)
            handlers: list[TaskHandler[Order, Any]] = [
                Sequential(),
                Fan(),
                Shipped(lambda: say("went-on")),
                Long(self._killed(watched) if workload == "kill" else lambda number: stride(number, self._course.sizes)),
                Paused(lambda: say("entered"), lambda: say("left")),
            ]
            worker = Worker(watched, handlers, _CONFIGS.get(workload))
            rest_collector()
            say("ready")
            await worker.run()

    def _killed(self, watched: Watched) -> Callable[[int], None]:
        """Return what kills the worker's process at nine tenths of a sequence, and the next time says when that was reached."""
        fatal, flag = self._course.sizes.sequence * (LAPS - 1) // LAPS, self._course.folder / "killed"

        def called(number: int) -> None:
            if number == fatal:
                if not flag.exists():
                    flag.touch()
                    os.kill(os.getpid(), signal.SIGKILL)
                say("resumed")
                say("claimed", at=watched.claimed_at)

        return called


_CONFIGS = {
    "kill": WorkerConfig(lease="2s", heartbeat_interval="500ms"),
    "two": WorkerConfig(max_concurrent=FEW),
}


class ZartRace(Race):
    """What only Zart is asked for."""

    async def kill(self, workload: str) -> Figures:
        """Kill the worker with `kill -9` in the midst of a long execution, and see how fast another gets there again."""
        await self.subject.open()
        async with await self.worker(workload) as child:
            await self.subject.start("long", self.sizes.sequence)
            await child.ended()
        async with await self.worker(workload) as child:
            resumed, claimed = await child.mark("resumed"), await child.mark("claimed")
        await self.subject.close()
        return {"replay": (resumed.at - claimed.at) * 1e3}

    async def two(self, workload: str) -> Figures:
        """Let one worker, then two, run executions whose steps wait for 20 ms; each runs a few at once."""
        await self.subject.open()
        rates = [await self._rate(workload, number) for number in (1, 2)]
        await self.subject.close()
        return {"one": rates[0], "two": rates[1], "ratio": rates[1] / rates[0]}

    async def _rate(self, workload: str, number: int) -> float:
        workers = [await self.worker(workload) for _ in range(number)]
        try:
            await asyncio.sleep(1.0)  # until they have joined and found nothing
            await self.subject.start_many("paused", 2, self.sizes.pauses)
            await self._all_left(workers)
        finally:
            await asyncio.gather(*(worker.stop() for worker in workers))
        began = min(mark.at for worker in workers for mark in worker.marks("entered"))
        ended = max(mark.at for worker in workers for mark in worker.marks("left"))
        return self.sizes.pauses / (ended - began)

    async def _all_left(self, workers: Sequence[Child]) -> None:
        async with asyncio.timeout(LONG):
            while sum(len(worker.marks("left")) for worker in workers) < self.sizes.pauses:
                await asyncio.sleep(_GLANCE)

    def workloads(self) -> dict[str, Callable[[str], Awaitable[Figures]]]:
        """Return what can be measured, by name."""
        return {**super().workloads(), "kill": self.kill, "two": self.two}


if __name__ == "__main__":
    main(Zart, ZartRace)
