"""How long a transaction may hold SQLite's one write lock, and whether it was the process that stood still meanwhile.

A stopped process, a machine that sleeps: all its timers ring late then. A timer that looks several times tells how much time
was lost like that; who lost a good part of it has not been slow, and may try again.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from attrs import define, field

from zart.clock import Clock, Timer
from zart.scheduler import StoodStill

_LOOKS = 8
_GOOD_PART = 1 / 4
_EARLY = 1e-5  # seconds; a timer may ring so much too early


@define(eq=False)
class _Limit:
    """Looks at the clock until the time is up; calls `stop` then, and cancels the task that takes so long."""

    clock: Clock
    seconds: float
    stop: Callable[[], None]
    task: "asyncio.Task[object] | None" = field(factory=asyncio.current_task)
    is_over: bool = False
    lost: float = 0.0
    """Seconds by which the looks came too late."""
    _cancels: int = 0
    """How often the task was cancelled before: what is limited may clean up after that."""
    _began: float = 0.0
    _timer: Timer | None = None

    def begin(self) -> None:
        self._began = self.clock.monotonic()
        self._cancels = 0 if self.task is None else self.task.cancelling()
        self._look_after(self.seconds / _LOOKS)

    def end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None  # it refers to this

    def is_to_blame(self) -> bool:
        """Take back the cancel, if there was one; say whether nobody else has cancelled the task meanwhile."""
        return self.is_over and self.task is not None and self.task.uncancel() <= self._cancels

    async def take_back(self) -> None:
        """Take back the cancel though it was not obeyed. It may still be pending, and would hit what comes next."""
        if not self.is_over:
            return
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            if not self.is_to_blame():
                raise
        else:
            self.is_to_blame()

    def error(self, said: str) -> TimeoutError:
        if self.lost < self.seconds * _GOOD_PART:
            return TimeoutError(said)
        return StoodStill(f"{said}, but the process, or its event loop, stood still for {self.lost:.3g} s of them")

    def _look_after(self, length: float) -> None:
        due = self.clock.monotonic() + length

        def look() -> None:
            now = self.clock.monotonic()
            self.lost += max(0.0, now - due)
            left = self.seconds - (now - self._began)
            if left > _EARLY:
                self._look_after(min(self.seconds / _LOOKS, left))
                return
            self.is_over = True
            self.stop()
            if self.task is not None:
                self.task.cancel()

        self._timer = self.clock.call_later(length, look)


@asynccontextmanager
async def held(clock: Clock, seconds: float, said: str, stop: Callable[[], None]) -> AsyncIterator[None]:
    """Do what is inside for so long at most; when the time is up `stop` is called. `said` are the error's words.

    Raises:
        StoodStill: it took longer, because the process stood still for a good part of it.
        TimeoutError: it took longer.
    """
    limit = _Limit(clock, seconds, stop)
    limit.begin()
    try:
        yield
    except asyncio.CancelledError as error:
        if limit.is_to_blame():
            raise limit.error(said) from error
        raise
    except (Exception, SystemExit, KeyboardInterrupt):
        await limit.take_back()
        raise
    finally:
        limit.end()
    if limit.is_over:  # whoever was cancelled has gone on all the same
        await limit.take_back()
        raise limit.error(said)
