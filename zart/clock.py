"""Time: instants as integers, and the clock port through which all of Zart reads it.

An *instant* is a whole number of microseconds since 1970-01-01 UTC. It is exact, cheap, free of time zones and the same on
every backend; `datetime` appears only where users see it.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import Context
from datetime import UTC, datetime, timedelta
from typing import Protocol

Instant = int
Micros = int
"""A length of time in whole microseconds."""

SECOND: Micros = 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_EARLIEST: Instant = (datetime(1, 1, 2, tzinfo=UTC) - _EPOCH) // _MICROSECOND
LATEST: Instant = (datetime(9999, 12, 31, tzinfo=UTC) - _EPOCH) // _MICROSECOND
"""The last instant: datetimes end there, and some time zones' even before."""


def instant(moment: datetime, what: str = "moment") -> Instant:
    """Return the instant of an aware datetime; `what` names the parameter in the error.

    Raises:
        ValueError: the datetime is naive.
        TypeError: it is no datetime.
    """
    if not isinstance(moment, datetime):
        raise TypeError(f"{what} must be an aware datetime such as datetime.now(UTC), not {moment!r}")
    if moment.tzinfo is None:
        raise ValueError(f"{moment!r} has no time zone; write e.g. datetime.now(UTC)")
    return min((moment - _EPOCH) // _MICROSECOND, LATEST)


def moment(at: Instant) -> datetime:
    """Return an instant as an aware datetime in UTC."""
    return _EPOCH + timedelta(microseconds=max(_EARLIEST, min(at, LATEST)))


def micros(length: timedelta) -> Micros:
    """Return a length of time in microseconds."""
    return length // _MICROSECOND


class Timer(Protocol):
    """Something that will call back, and can be told not to."""

    def cancel(self) -> None:
        """Do not call back; harmless when it already has."""


class Clock(Protocol):
    """The only way to the time. Storage reads `now`; the engine reads `monotonic` and sets timers."""

    def now(self) -> datetime:
        """Return the wall-clock time, aware. Used by a storage that has no clock of its own, and by nothing else."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never go back, from an arbitrary start."""
        ...

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Timer:
        """Call back on the running event loop after so many seconds, in an empty context: a timer is no part of a body."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the current time in UTC."""
        return datetime.now(UTC)

    monotonic: "staticmethod[[], float]" = staticmethod(time.monotonic)
    """Return the machine's monotonic clock, in seconds."""

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Timer:
        """Set a timer on the running event loop."""
        return asyncio.get_running_loop().call_later(seconds, callback, context=Context())


async def pause(clock: Clock, seconds: float) -> None:
    """Do nothing for a while, by the clock."""
    rang = asyncio.Event()
    timer = clock.call_later(seconds, rang.set)
    try:
        await rang.wait()
    finally:
        timer.cancel()


@asynccontextmanager
async def limited(clock: Clock, seconds: float, said: str) -> AsyncIterator[None]:
    """Do what is inside for so long at most, by the clock; `said` are the error's words.

    Raises:
        TimeoutError: it took longer, and was cancelled.
    """
    task = asyncio.current_task()
    before = 0 if task is None else task.cancelling()  # it may be cancelled already, and be cleaning up
    passed = False

    def give_up() -> None:
        nonlocal passed
        passed = True
        if task is not None:
            task.cancel()

    def is_to_blame() -> bool:
        """Take back what `give_up` did, if it did; say whether nobody else has cancelled the task."""
        return passed and task is not None and task.uncancel() <= before

    timer = clock.call_later(seconds, give_up)
    try:
        yield
    except BaseException as error:
        if is_to_blame() and isinstance(error, asyncio.CancelledError):
            raise TimeoutError(said) from error
        raise
    else:
        is_to_blame()  # what is inside has gone on all the same
    finally:
        timer.cancel()
