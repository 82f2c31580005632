"""The measurements of `zart bench`: each a share of the time that it has, on an empty storage."""

import os
from collections.abc import Awaitable, Callable
from statistics import median, quantiles

from attrs import frozen

from zart.cli.bench.flow import Order, Sequential
from zart.cli.bench.watched import Watched
from zart.client import DurableScheduler
from zart.clock import Clock, SystemClock
from zart.config import WorkerConfig
from zart.scheduler import Storage
from zart.status import ExecutionStatus
from zart.worker import Worker

STEPS = 5
_CUSTOMER = "ada@example.com"
_LONG = 60.0
_MOST = 20_000
"""Executions at once: enough for any database, and no burden to it."""
_FEWEST_SAMPLES = 5


@frozen
class Measured:
    """What came out. Times in seconds."""

    trip: float
    """The median of a question to the database that finds nothing."""
    start: float
    """The median of a start that is saved by itself."""
    latency: float
    """The median from a start to the result, one step, nothing else running."""
    latency_99: float
    alone: float
    """A step of an execution that runs alone."""
    executions: int
    rate: float
    """Steps a second where many executions run."""
    processor: float
    """The share of one processor that this process took meanwhile; above 1, threads ran beside each other."""


class Bench:
    """Measures one storage for about so many seconds, with so many executions running at once."""

    def __init__(self, storage: Storage, seconds: float, concurrency: int, clock: Clock | None = None) -> None:
        self._storage = storage
        self._seconds = seconds
        self._client = DurableScheduler(storage)
        self._handler = Sequential()
        self._config = WorkerConfig(max_concurrent=concurrency)
        self._clock = clock or SystemClock()
        self._started = 0

    async def run(self) -> Measured:
        """Measure everything.

        Raises:
            StorageUnavailable: the database went away.
        """
        trips = await self._samples(0.1, lambda: self._storage.get("nobody"))
        starts = await self._samples(0.2, self._start)
        await self._drained(self._started)  # what has been started, and whatever is slow the first time
        small = await self._rate(4 * self._config.max_concurrent)
        number = min(_MOST, int(small[0] * 0.4 * self._seconds / STEPS) + self._config.max_concurrent)
        rate, processor = await self._rate(number)
        async with Worker(self._storage, [self._handler], self._config):
            await self._result(1)
            latencies = await self._samples(0.2, lambda: self._result(1))
            steps = max(STEPS, min(500, int(0.1 * self._seconds / median(latencies))))
            began = self._clock.monotonic()
            await self._result(steps)
            alone = (self._clock.monotonic() - began) / steps
        return Measured(
            trip=median(trips),
            start=median(starts),
            latency=median(latencies),
            latency_99=quantiles(latencies, n=100)[98],
            alone=alone,
            executions=number,
            rate=rate,
            processor=processor,
        )

    async def _samples(self, share: float, call: Callable[[], Awaitable[object]]) -> list[float]:
        """Return how long each of many calls took."""
        samples: list[float] = []
        end = self._clock.monotonic() + share * self._seconds
        while len(samples) < _FEWEST_SAMPLES or self._clock.monotonic() < end:
            began = self._clock.monotonic()
            await call()
            samples.append(self._clock.monotonic() - began)
        return samples

    def _new_id(self) -> str:
        self._started += 1
        return f"bench-{self._started}"

    async def _start(self) -> None:
        await self._client.start_for(self._handler, self._new_id(), Order(STEPS, _CUSTOMER))

    async def _result(self, steps: int) -> None:
        await self._client.start_and_wait_for(self._handler, self._new_id(), Order(steps, _CUSTOMER), _LONG)

    async def _rate(self, number: int) -> tuple[float, float]:
        """Return steps a second of so many executions, and the share of a processor that they took."""
        data = {"steps": STEPS, "customer": _CUSTOMER}
        await self._client.start_many((self._new_id(), self._handler.name, data) for _ in range(number))
        took, spent = await self._drained(number)
        return STEPS * number / took, spent / took

    async def _drained(self, number: int) -> tuple[float, float]:
        """Work until so many executions have ended; return the seconds that took, and those of a processor."""
        watched = Watched(self._storage)
        began, spent = self._clock.monotonic(), _processor_time()
        async with Worker(watched, [self._handler], self._config):
            await watched.until(ExecutionStatus.COMPLETED, number)
            return self._clock.monotonic() - began, _processor_time() - spent


def _processor_time() -> float:
    times = os.times()
    return times.user + times.system
