"""W1 to W6 between processes: one that starts and waits, others that work; measured in the same way for Zart and its peers.

`python -m benchmarks.subjects.zart W1 '{…course…}'` measures and prints figures; with `work` before the workload it is a
worker. Every subject offers the same tasks: "order" takes its steps one after the other, "long" does too and marks its laps,
"fan" takes all at once, "shipped" waits for an event first. A trivial step returns `LINE`; starts carry `data`.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any, Protocol

import asyncpg
from attrs import asdict, frozen

from benchmarks.child import Child, Mark, end_with_parent, say
from benchmarks.meter import Meter
from benchmarks.sizes import Sizes

Figures = dict[str, float]

CUSTOMER = "ada@example.com"
LINE: Mapping[str, Any] = {"number": 1, "customer": CUSTOMER, "paid": True}
STEPS = 5
FAN = 100
LAPS = 10
_IDLE = 0.01
"""Seconds between two samples of a latency, so that it is that of an idle system."""
_PARKED = 0.25
"""Seconds after which a subject that lets waiting executions leave memory has done so."""
_GLANCE = 0.05
LONG = 300.0


@frozen
class Course:
    """What a measurement is given: where, how much, and which variant of the subject."""

    url: str
    folder: Path
    sizes: Sizes
    variant: str = ""

    @classmethod
    def read(cls, text: str) -> "Course":
        """Return what `written` has written."""
        given = json.loads(text)
        return cls(given["url"], Path(given["folder"]), Sizes(**given["sizes"]), given["variant"])

    def written(self) -> str:
        """Return it as one argument of a command."""
        return json.dumps({**asdict(self), "folder": str(self.folder)})

    @property
    def on_postgres(self) -> bool:
        """Whether a server's counters tell anything."""
        return self.url.startswith("postgresql:")


def data(steps: int) -> dict[str, Any]:
    """Return the input of an execution."""
    return {"steps": steps, "customer": CUSTOMER}


class Subject(Protocol):
    """Something that runs executions. A worker's process calls `work` only, all others are for who starts and waits."""

    def __init__(self, course: Course) -> None:
        """Take the course."""

    async def prepare(self) -> None:
        """Make the schema."""
        ...

    async def open(self) -> None:
        """Connect."""
        ...

    async def close(self) -> None:
        """Disconnect."""
        ...

    async def start(self, task: str, steps: int) -> Any:
        """Start an execution of that many steps, durably, and return what finds it again."""
        ...

    async def start_many(self, task: str, steps: int, number: int) -> None:
        """Start so many executions the fastest way there is."""
        ...

    async def result(self, handle: Any) -> Any:
        """Wait for an execution's end."""
        ...

    async def send(self, handle: Any) -> None:
        """Send a "shipped" execution its event."""
        ...

    async def finished(self) -> int:
        """Return how many executions storage says have ended."""
        ...

    def work(self, workload: str) -> None:
        """Work until stopped; `say("ready")` when it does."""


class Tally:
    """Counts bodies in a worker and says when the first began and the last ended."""

    def __init__(self, expected: int) -> None:
        self._expected = expected
        self._entered = False
        self._left = 0

    def enter(self) -> None:
        """Note that a body has begun."""
        if not self._entered:
            self._entered = True
            say("first")

    def leave(self) -> None:
        """Note that a body has ended."""
        self._left += 1
        if self._left == self._expected:
            say("last")


def executions(workload: str, sizes: Sizes) -> int:
    """Return how many executions a W1 has."""
    return sizes.many if workload == "W1 many" else sizes.executions


def stride(number: int, sizes: Sizes) -> None:
    """Mark the laps of a "long" execution; called by each of its steps."""
    if number == 0:
        say("began")
    if (number + 1) % (sizes.sequence // LAPS) == 0:
        say("lap")


# ---- workloads --------------------------------------------------------------------------------------------------------


class Race:
    """One subject on one course."""

    def __init__(self, subject: Subject, course: Course) -> None:
        self.subject = subject
        self.course = course
        self.sizes = course.sizes

    async def worker(self, workload: str) -> Child:
        """Start a worker, and return when it is ready."""
        own = f"benchmarks.subjects.{Path(sys.argv[0]).stem}"
        command = [sys.executable, "-m", own, "work", workload, self.course.written()]
        child = await Child.begin(command, self.course.folder / "worker.log")
        await child.mark("ready")
        return child

    async def w1(self, workload: str) -> Figures:
        """Drain executions of five trivial steps, started before: from the first body's begin to the last one's end."""
        number = executions(workload, self.sizes)
        await self.subject.open()
        await self.subject.start_many("order", STEPS, number)
        await self.subject.close()
        meter = await self._meter()
        async with await self.worker(workload) as child:
            first = await child.mark("first")
            spent = child.processor_time()
            took = (await child.mark("last", patience=LONG)).at - first.at
            spent = child.processor_time() - spent
            looks = await self._until_stored(number)
            server = await meter.work() if meter else None
        steps = STEPS * number
        figures = {"rate": steps / took, "cpu": spent / steps * 1e6}
        if meter and server:
            figures["commits"] = (await meter.end() - looks) / number
            figures["wal"] = server.wal / number
            figures["server"] = server.processor_time / steps * 1e6
        return figures

    async def _meter(self) -> Meter | None:
        if not self.course.on_postgres:
            return None
        connection = await asyncpg.connect(self.course.url)
        await connection.execute("VACUUM ANALYZE")
        await connection.close()
        return await Meter.begin(self.course.url)

    async def _until_stored(self, number: int) -> int:
        """Return how often it looked."""
        await self.subject.open()
        looks = 1
        while await self.subject.finished() < number:
            looks += 1
            await asyncio.sleep(_GLANCE)
        await self.subject.close()
        return looks

    async def w2(self, workload: str) -> Figures:
        """Start an execution of one step in another process, and have its result."""
        samples = []
        await self.subject.open()
        async with await self.worker(workload):
            await asyncio.sleep(1.0)  # what a worker does first must not be in the samples
            for _ in range(self.sizes.across):
                began = time.monotonic()
                await self.subject.result(await self.subject.start("order", 1))
                samples.append(time.monotonic() - began)
                await asyncio.sleep(_IDLE)
        await self.subject.close()
        return {"p50": median(samples) * 1e3}

    async def w3(self, workload: str) -> Figures:
        """Send an event to an execution in another process, and see its next step begin."""
        samples = []
        await self.subject.open()
        async with await self.worker(workload) as child:
            for number in range(self.sizes.across):
                handle = await self.subject.start("shipped", 1)
                await asyncio.sleep(_PARKED)
                began = time.monotonic()
                await self.subject.send(handle)
                samples.append((await child.mark("went-on", number + 1)).at - began)
        await self.subject.close()
        return {"p50": median(samples) * 1e3}

    async def w4(self, workload: str) -> Figures:
        """Start an execution of a hundred parallel steps in another process, and have its result."""
        samples = []
        await self.subject.open()
        async with await self.worker(workload):
            await asyncio.sleep(1.0)
            for _ in range(self.sizes.fans):
                began = time.monotonic()
                await self.subject.result(await self.subject.start("fan", FAN))
                samples.append(time.monotonic() - began)
                await asyncio.sleep(_IDLE)
        await self.subject.close()
        return {"p50": median(samples) * 1e3}

    async def w5(self, workload: str) -> Figures:
        """Take many steps in sequence; see whether the last take longer than the first."""
        await self.subject.open()
        async with await self.worker(workload) as child:
            await self.subject.start("long", self.sizes.sequence)
            await child.mark("lap", LAPS, LONG)
            laps: list[Mark] = [*child.marks("began"), *child.marks("lap")]
        await self.subject.close()
        return {"total": laps[-1].at - laps[0].at, "growth": (laps[-1].at - laps[-2].at) / (laps[1].at - laps[0].at)}

    async def w6(self, workload: str) -> Figures:
        """Start executions one by one, then in bulk; nobody works."""
        await self.subject.open()
        began = time.monotonic()
        for _ in range(self.sizes.single_starts):
            await self.subject.start("order", STEPS)
        single = time.monotonic() - began
        began = time.monotonic()
        await self.subject.start_many("order", STEPS, self.sizes.bulk_starts)
        bulk = time.monotonic() - began
        await self.subject.close()
        return {"single": self.sizes.single_starts / single, "bulk": self.sizes.bulk_starts / bulk}

    def workloads(self) -> dict[str, Callable[[str], Awaitable[Figures]]]:
        """Return what can be measured, by name."""
        return {
            "W1": self.w1,
            "W1 many": self.w1,
            "W1 at 200": self.w1,
            "W2": self.w2,
            "W3": self.w3,
            "W4": self.w4,
            "W5": self.w5,
            "W6": self.w6,
        }

    async def run(self, workload: str) -> Figures:
        """Measure one workload on a fresh schema."""
        await self.subject.prepare()
        return await self.workloads()[workload](workload)


def main(subject: type[Subject], race: type[Race] = Race) -> None:
    """Be a measurement or a worker, as the command line says."""
    end_with_parent()
    *role, workload, course = sys.argv[1:]
    given = Course.read(course)
    if role == ["work"]:
        subject(given).work(workload)
    else:
        figures = asyncio.run(race(subject(given), given).run(workload))
        sys.stdout.write(json.dumps(figures) + "\n")
    sys.stdout.flush()
    os._exit(0)  # a peer's threads must not keep the process
