"""A limit of time on a piece of work, by the clock port."""

import asyncio
from types import TracebackType
from typing import Self

from zart.clock import Clock, Timer


class Patience:
    """Cancels what its block awaits when the time is up, and raises TimeoutError then.

    A cancellation from outside goes through.
    """

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds
        self._expired = False
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0
        self._timer: Timer | None = None

    async def __aenter__(self) -> Self:
        """Start counting."""
        self._task = asyncio.current_task()
        self._cancelling = 0 if self._task is None else self._task.cancelling()
        self._timer = self._clock.call_later(self._seconds, self._expire)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop counting.

        Raises:
            TimeoutError: the time was up.
        """
        if self._timer is not None:
            self._timer.cancel()
        if not self._expired or self._task is None:
            return
        outside = self._task.uncancel() > self._cancelling
        if not outside and isinstance(error, asyncio.CancelledError):
            raise TimeoutError(f"not done within {self._seconds:g} s") from error

    def _expire(self) -> None:
        if self._task is not None:
            self._expired = True
            self._task.cancel()
