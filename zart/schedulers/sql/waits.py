"""Waiting for work, news and ends: what is the same wherever what happens is told, or has to be looked for.

Within the process those who wait are called as soon as what concerns them is durable. What is known of the work for a worker is
kept until something happens that may change it, so that a claim that got nothing need not be followed by a look.
"""

import asyncio
import contextvars
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Iterator
from contextlib import contextmanager
from datetime import timedelta
from threading import Lock
from typing import Any

from attrs import define, field

from zart.clock import SECOND, Clock, Instant, Micros
from zart.records import Demand
from zart.schedulers.hints import Hints, Waiter, topics
from zart.schedulers.outlook import Outlook


@define
class Sight(Outlook):
    """An outlook with the worker's news as of then; None: they were not looked up."""

    news: int | None = None


@define(eq=False)
class Errand:
    """One task in the background at a time, for all who wait."""

    _task: "asyncio.Task[None] | None" = None

    def begin(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do it, unless it is being done on this loop."""
        loop = asyncio.get_running_loop()
        if self._task is None or self._task.done() or self._task.get_loop() is not loop:
            # Not in the caller's context: it belongs to nobody's body.
            self._task = loop.create_task(work(), context=contextvars.Context())

    async def end(self) -> None:
        """Give it up, if it is this loop's."""
        task, self._task = self._task, None
        if task is not None and task.get_loop() is asyncio.get_running_loop():
            task.cancel()
            await asyncio.wait([task])


@define(eq=False)
class Waits(ABC):
    """Who waits for what. Safe from several loops: what happens may be told on the heartbeat's."""

    _clock: Clock
    _lock: Lock = field(factory=Lock, init=False)
    _hints: Hints = field(factory=Hints, init=False)
    _outlooks: dict[str, Sight] = field(factory=dict, init=False)
    _told_news: dict[str, int] = field(factory=dict, init=False)
    """The news of each worker that its waits have returned for."""
    _awaited: Counter[str] = field(factory=Counter, init=False)
    """Whose ends are waited for."""
    _waiting: int = field(default=0, init=False)
    _changes: int = field(default=0, init=False)
    """Grows with everything that may make an outlook wrong."""
    _errand: Errand = field(factory=Errand, init=False)

    async def wait(self, interest: Demand | Collection[str], timeout: timedelta) -> None:
        """Return when something of interest may have happened, or after the timeout."""
        with self._entered(interest, timeout) as waiter:
            if isinstance(interest, Demand):
                await self._wait_for_work(interest, waiter)
            elif not await self._ended(interest):
                await waiter.called()

    async def close(self) -> None:
        """Stop looking."""
        await self._errand.end()

    def forget(self, worker: str) -> None:
        """Forget a worker that is no more: an identity never comes back."""
        with self._lock:
            self._outlooks.pop(worker, None)
            self._told_news.pop(worker, None)

    # ---- what a storage does in its own way -------------------------------------------------------------------------

    @abstractmethod
    async def _find(self, demand: Demand) -> tuple[Instant | None, int | None]:
        """Ask when the next execution is due that a demand could take, and for its worker's news."""

    @abstractmethod
    async def _ended(self, ids: Collection[str]) -> list[str]:
        """Ask which of these executions have ended."""

    @abstractmethod
    def _until(self, due_at: Instant) -> Micros:
        """Return how long it is until then."""

    @abstractmethod
    def _attend(self, ids: Collection[str]) -> None:
        """Do what is to be done while somebody waits; one has just begun to, for these ends or for work."""

    def _was_called(self, worker: str) -> bool:
        """Whether something has happened here to a worker since it last waited; it is told once."""
        return False

    # ---- waiting ----------------------------------------------------------------------------------------------------

    @contextmanager
    def _entered(self, interest: Demand | Collection[str], timeout: timedelta) -> Iterator[Waiter]:
        waiter = Waiter(topics(interest))
        ids = () if isinstance(interest, Demand) else tuple(interest)
        expiry = self._clock.call_later(timeout.total_seconds(), waiter.expire)
        with self._lock:
            self._hints.enter(waiter)
            self._waiting += 1
            self._awaited.update(ids)
        self._attend(ids)
        try:
            yield waiter
        finally:
            expiry.cancel()
            with self._lock:
                self._hints.leave(waiter)
                self._waiting -= 1
                self._awaited -= Counter(ids)

    async def _wait_for_work(self, demand: Demand, waiter: Waiter) -> None:
        while not waiter.expired:
            with self._lock:
                waiter.rest()
                if self._was_called(demand.worker):
                    return
                outlook = self._outlooks.get(demand.worker)
            if outlook is None or outlook.news is None or not outlook.fits(demand):
                outlook = await self._look(demand)
            if outlook.news is not None and outlook.news != self._told_news.get(demand.worker, 0):
                self._told_news[demand.worker] = outlook.news
                return
            if demand.limit <= 0 or outlook.due_at is None:
                await waiter.called()
            elif (due_in := self._until(outlook.due_at)) > 0:
                timer = self._clock.call_later(due_in / SECOND, waiter.call)
                try:
                    await waiter.called()
                finally:
                    timer.cancel()
            else:
                # Another may take it: should this worker wait again without a claim, it is to look, not to trust this.
                with self._lock:
                    self._outlooks.pop(demand.worker, None)
                return

    async def _look(self, demand: Demand) -> Sight:
        changes = self._changes
        outlook = Sight.of(demand, *await self._find(demand))
        with self._lock:
            if changes == self._changes:
                self._outlooks[demand.worker] = outlook
        return outlook

    def _call_everybody(self) -> list[str]:
        """Have everybody look for himself, and return whose ends are waited for."""
        with self._lock:
            self._changes += 1
            self._outlooks.clear()
            self._hints.call("change")
            return list(self._awaited)

    async def _call_for_ends(self, ids: Collection[str]) -> None:
        """Call those who wait for ends that have come."""
        ended = await self._ended(ids) if ids else ()
        with self._lock:
            for each in ended:
                self._hints.call("end", each)
