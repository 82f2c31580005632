"""What a simulated process reaches the world through: a clock, chance and threads of its own, all out of one seed."""

import asyncio
import random
import uuid
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from zart.clock import SECOND, Instant, Micros, Timer, instant
from zart.spawner import Lane
from zart.testing.simulation.loop import PROCESS, Process, SimulationLoop

T = TypeVar("T")

BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
_THREAD_TIME = 0.05


class StorageClock:
    """The one wall clock that counts. It may be put forward or back; nobody else's time moves then."""

    def __init__(self, loop: SimulationLoop) -> None:
        self._loop = loop
        self._jumped: Micros = 0

    def jump(self, by: Micros) -> None:
        """Correct the clock."""
        self._jumped += by

    def instant(self) -> Instant:
        """Return the time as storage writes it."""
        return instant(BEGINNING) + self._loop.now + self._jumped

    def now(self) -> datetime:
        """Return the wall-clock time."""
        return BEGINNING + timedelta(microseconds=self._loop.now + self._jumped)

    def monotonic(self) -> float:
        """Return virtual seconds."""
        return self._loop.now / SECOND

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Timer:
        """Set a timer that belongs to no process."""
        return self._loop.call_later(seconds, callback, context=Context())


class ProcessClock:
    """A process's clock: wrong by `skew` seconds on the wall, from a start of its own, and fast or slow by `drift`."""

    def __init__(self, loop: SimulationLoop, process: Process, skew: float, drift: float) -> None:
        self._loop = loop
        self._process = process
        self._skew = timedelta(seconds=skew)
        self._rate = 1.0 + drift
        self._start = 1000.0 + abs(skew)

    def now(self) -> datetime:
        """Return the process's idea of the wall-clock time, which nothing may trust."""
        return BEGINNING + timedelta(seconds=self._loop.now / SECOND * self._rate) + self._skew

    def monotonic(self) -> float:
        """Return the process's seconds."""
        return self._start + self._loop.now / SECOND * self._rate

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Timer:
        """Set a timer that belongs to the process and to none of its bodies."""
        context = Context()
        context.run(PROCESS.set, self._process)
        return self._loop.call_later(seconds / self._rate, callback, context=context)


class SeededRandomness:
    """Chance out of a seed."""

    def __init__(self, seed: str) -> None:
        self._chance = random.Random(seed)  # noqa: S311 # one number must reproduce a run; nothing here is a secret
        self.random: Callable[[], float] = self._chance.random

    def uuid(self) -> uuid.UUID:
        """Return a UUID; it need not be of any version."""
        return uuid.UUID(int=self._chance.getrandbits(128))


class ProcessSpawner:
    """Makes tasks of the process instead of threads: they are paused and killed with it."""

    def __init__(self, loop: SimulationLoop, process: Process, clock: ProcessClock, randomness: SeededRandomness) -> None:
        self._loop = loop
        self._process = process
        self._clock = clock
        self._randomness = randomness

    def lane(self, name: str) -> Lane:
        """Return a lane whose functions run one after the other, each a moment later."""
        return _SimulatedLane(self._clock)

    def call(self, name: str, function: Callable[[], T]) -> "asyncio.Future[T]":
        """Run a function a moment later, with the caller's context variables."""
        future: asyncio.Future[T] = self._loop.create_future()
        context = copy_context()
        self._clock.call_later(self._randomness.random() * _THREAD_TIME, partial(_run, future, partial(context.run, function)))
        return future

    def loop(self, name: str, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a coroutine beside everything else."""
        self._loop.spawn(main(), self._process, f"{self._process.name}/{name}")

    def place(self) -> str:
        """Return the process's name."""
        return self._process.name

    def stack(self) -> Callable[[], str]:
        """Return a function that knows no line: nothing blocks a simulated loop."""
        return lambda: "nowhere"


class _SimulatedLane:
    def __init__(self, clock: ProcessClock) -> None:
        self._clock = clock
        self._jobs: deque[Callable[[], None]] = deque()

    def call(self, function: Callable[[], T]) -> "asyncio.Future[T]":
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._jobs.append(lambda: _run(future, function))
        self._clock.call_later(0, self._work)
        return future

    def _work(self) -> None:
        self._jobs.popleft()()

    def close(self) -> None:
        """End nothing: what was given still runs, and nothing comes after it."""


def _run(future: "asyncio.Future[T]", function: Callable[[], T]) -> None:
    try:
        result = function()
    except BaseException as error:  # noqa: BLE001 # whatever it is, it belongs to the caller
        if not future.done():
            future.set_exception(error)
    else:
        if not future.done():
            future.set_result(result)
