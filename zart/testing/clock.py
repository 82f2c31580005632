"""A clock that stands still until a test moves it."""

import asyncio
import contextvars
import heapq
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from zart.clock import SECOND, Micros, Timer, instant, micros, moment
from zart.durations import Duration, to_timedelta


class FakeClock:
    """A `Clock` moved by hand, for tests: nothing happens by itself, and everything at its exact time.

    `start` is the first wall-clock time, aware; by default the beginning of 2026. Usable from several threads and loops.

    Example:
        >>> clock = FakeClock()
        >>> clock.advance("48h")
        >>> clock.now().isoformat()
        '2026-01-03T00:00:00+00:00'
    """

    def __init__(self, start: datetime | None = None) -> None:
        self._wall = instant(datetime(2026, 1, 1, tzinfo=UTC) if start is None else start)
        self._elapsed: Micros = 0
        self._timers: list[tuple[Micros, int, _FakeTimer]] = []
        self._set = 0
        self._lock = threading.Lock()

    def now(self) -> datetime:
        """Return the wall-clock time, in UTC."""
        return moment(self._wall + self._elapsed)

    def monotonic(self) -> float:
        """Return the seconds that all calls of `advance` have made up so far."""
        return self._elapsed / SECOND

    def advance(self, duration: Duration) -> None:
        """Let time pass, firing each timer that becomes due on the way, in order, with the time standing at its moment.

        Timers set by these callbacks fire too if they fall within the same stretch. Tasks that a timer wakes run once the
        caller awaits, when all of the time has passed: to see the moments between, advance in smaller steps. What a callback
        raises comes out here, with the time left standing at its moment.

        Raises:
            ValueError: no duration, or a negative one.
        """
        end = self._elapsed + micros(to_timedelta(duration))
        while (timer := self._next(end)) is not None:
            timer.fire()
        self._elapsed = max(self._elapsed, end)  # a callback may have moved the time further

    def jump(self, by: timedelta) -> None:
        """Put the wall clock forward or back, as a correction of the machine's time does: no timer fires, `monotonic` stays."""
        self._wall += micros(by)

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Timer:
        """Set a timer on the running event loop, in an empty context; at once means at the loop's next turn."""
        loop = asyncio.get_running_loop()
        if seconds <= 0:
            return loop.call_soon(callback, context=contextvars.Context())
        with self._lock:
            # Rounded, not cut: 60 s as a float must end exactly where `advance(60)` stops.
            due = self._elapsed + max(1, round(seconds * SECOND))
            timer = _FakeTimer(loop, callback)
            self._set += 1
            heapq.heappush(self._timers, (due, self._set, timer))
        return timer

    def _next(self, end: Micros) -> "_FakeTimer | None":
        """Take the first timer that is due by `end` and was not cancelled, and move the time to it."""
        with self._lock:
            while self._timers and self._timers[0][0] <= end:
                due, _, timer = heapq.heappop(self._timers)
                if not timer.cancelled:
                    self._elapsed = max(self._elapsed, due)
                    return timer
        return None


class _FakeTimer:
    def __init__(self, loop: asyncio.AbstractEventLoop, callback: Callable[[], object]) -> None:
        self.cancelled = False
        self._loop = loop
        self._callback = callback
        self._context = contextvars.Context()

    def cancel(self) -> None:
        self.cancelled = True

    def fire(self) -> None:
        if _running_loop() is self._loop:
            self._context.run(self._callback)
        elif not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._late, context=self._context)

    def _late(self) -> None:
        if not self.cancelled:  # perhaps between the firing and the loop's turn
            self._callback()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
