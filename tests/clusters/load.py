"""The load of a scenario: worker processes and clients over any number of ways to one storage, and what they are told."""

import asyncio
import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from attrs import define, field

from tests.chaos.ends import steps_of
from tests.chaos.ledger import Ledger
from tests.clusters.score import Key, Score, Stored
from zart import DurableScheduler, ExecutionNotFound, StorageUnavailable, connect
from zart.clock import SystemClock

T = TypeVar("T")
ROOT = Path(__file__).parents[2]
WORDS = ["step:1", "both:2", "book:3", "nap:4", "wait:go", "step:5", "mixed:6", "step:7"]
NEWS = "news of "
TABLE = "CREATE TABLE bookings (place BIGINT PRIMARY KEY {serial}, id VARCHAR(99), step VARCHAR(99), value VARCHAR(99))"
PATIENCE = 120.0
"""Seconds for everything to end after the last fault."""


@define(eq=False)
class Load:
    """What runs, and what was acknowledged to its clients. `urls` are the ways to the storage, one for each worker in turn."""

    urls: Sequence[str]
    ledger: Ledger
    clients: Sequence[DurableScheduler]
    bookings: str
    starts: list[str] = field(factory=list)
    events: list[tuple[Key, str]] = field(factory=list)
    workers: list[subprocess.Popen[bytes]] = field(factory=list)
    refused: int = 0
    """How often a client was told that the storage cannot be reached, and asked again."""

    async def add_workers(self, count: int) -> None:
        """Start worker processes; return when they are registered."""
        for place in range(count):
            spec = {"url": self.urls[place % len(self.urls)], "ledger": str(self.ledger.path), "bookings": self.bookings}
            command = [sys.executable, "-m", "tests.clusters.hands", json.dumps(spec)]
            self.workers.append(await asyncio.to_thread(subprocess.Popen, command, cwd=ROOT, stdin=subprocess.PIPE))
        await self.ledger.until(lambda: len(self.ledger.find("ready")) >= count, "all workers to be registered")

    async def start(self, count: int, delay: str | None = None) -> None:
        """Start executions, over all ways, and offer each the event that it waits for."""
        first = len(self.starts)
        await asyncio.gather(*(self._start(number, delay) for number in range(first, first + count)))

    async def ended(self) -> None:
        """Return when all that was started has ended."""
        until = SystemClock.monotonic() + PATIENCE
        for each in self.starts:
            await self._status(each, until)

    async def busy(self, lines: int = 60) -> None:
        """Return when so much more was done, and steps are under way."""
        mark = len(self.ledger.lines) + lines
        pids = [each.pid for each in self.workers]
        await self.ledger.until(
            lambda: len(self.ledger.lines) > mark and any(map(self.ledger.open_steps, pids)), "work", PATIENCE
        )

    async def count(self, score: Score, read_bookings: Callable[[], Awaitable[list[tuple[str, str, str]]]]) -> None:
        """Wait for the ends, look at all that is stored, and count. `score` may have been counted into before."""
        ended: dict[str, str] = {}
        steps: dict[Key, list[str]] = defaultdict(list)
        events: dict[Key, list[str]] = defaultdict(list)
        until = SystemClock.monotonic() + PATIENCE
        names = steps_of(WORDS)
        for each in self.starts:
            status = await self._status(each, until)
            if status is None:
                continue
            ended[each] = status.status
            for step in status.steps:
                if step.name in names and step.result is not None:
                    steps[each, step.name].append(step.result)
            for value in status.result if isinstance(status.result, list) else ():
                if isinstance(value, str) and value.startswith(NEWS):
                    events[each, "go"].append(value)
        score.count(self.starts, self.events, self.ledger.lines, Stored(ended, steps, events, await read_bookings()))
        if self.refused:
            score.notes.append(f"{self.refused} times a client was told that the storage cannot be reached, and asked again")

    async def _status(self, execution_id: str, until: float) -> Any:
        """Return how an execution stands when it has ended, or the time is up; None if there is none."""
        while True:
            try:
                found = await self._patiently(lambda client: client.status(execution_id), 0)
            except ExecutionNotFound:
                return None
            if found.status.is_terminal or SystemClock.monotonic() > until:
                return found
            await asyncio.sleep(0.1)

    async def _start(self, number: int, delay: str | None) -> None:
        name, news = f"e{number:04}", f"{NEWS}{number:04}"
        await self._patiently(lambda client: client.start(name, "errand", WORDS, delay=delay, start_key="once"), number)
        self.starts.append(name)
        await self._patiently(lambda client: client.offer_event(name, "go", news, event_id="once"), number + 1)
        self.events.append(((name, "go"), news))

    async def _patiently(self, ask: Callable[[DurableScheduler], Awaitable[T]], place: int) -> T:
        """Ask the clients in turn until one of them is answered; what is asked may be repeated."""
        while True:
            try:
                return await ask(self.clients[place % len(self.clients)])
            except StorageUnavailable:
                self.refused += 1
                place += 1
                await asyncio.sleep(0.1)


@asynccontextmanager
async def loaded(urls: Sequence[str], workers: int, bookings: str = "bookings") -> AsyncIterator[Load]:
    """Open clients over all these ways, and start so many workers; at the end kill them."""
    with tempfile.TemporaryDirectory(prefix="zart-cluster-") as folder:
        async with AsyncExitStack() as stack:
            ledger = stack.enter_context(Ledger(Path(folder) / "ledger"))
            clients = [DurableScheduler(await stack.enter_async_context(connect(url))) for url in urls]
            load = Load(urls, ledger, clients, bookings)
            try:
                await load.add_workers(workers)
                yield load
            finally:
                for each in load.workers:
                    each.kill()
                    await asyncio.to_thread(each.communicate)
