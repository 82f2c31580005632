"""Waiting for something to happen in a PostgreSQL database, in this process or another.

Within the process those who wait are called as soon as what concerns them is durable; other processes notify. What is known of
the work for a worker is kept until something happens that may change it, so that a claim that got nothing need not be followed
by a look. Due times are storage's: they are waited for by this process's monotonic clock, from the last time that storage told.
"""

import asyncio
import contextvars
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import timedelta
from threading import Lock

from attrs import define, field

from zart.clock import SECOND, Clock, Instant, Micros
from zart.errors import SchedulerError
from zart.records import Demand
from zart.schedulers.hints import Hints, Waiter, topics
from zart.schedulers.outlook import Outlook
from zart.schedulers.postgres.claim import Handed
from zart.schedulers.postgres.connections import Connections, Row, Talk
from zart.schedulers.sql.news import News


@define(eq=False)
class Waits:
    """Who waits for what. Safe from several loops: news may come from the heartbeat's."""

    _connections: Connections
    _clock: Clock
    _lock: Lock = field(factory=Lock)
    _hints: Hints = field(factory=Hints)
    _outlooks: dict[str, Outlook] = field(factory=dict)
    _untold: dict[str, bool] = field(factory=dict)
    """Whether something has happened to a worker since it last waited; only of those that claim here."""
    _awaited: Counter[str] = field(factory=Counter)
    _changes: int = 0
    """Grows with everything that may make an outlook wrong."""
    _told: tuple[Instant, float] = (0, 0.0)
    """Storage's time as it was last told, and when, in monotonic seconds."""
    _looking: "asyncio.Task[None] | None" = None

    # ---- what is known ----------------------------------------------------------------------------------------------

    @property
    def changes(self) -> int:
        """A number to remember before a claim; see `claimed`."""
        return self._changes

    def landed(self, news: News) -> None:
        """Call those whom something concerns that is durable, here or through a notification."""
        with self._lock:
            if news.now is not None:
                self._told = (news.now, self._clock.monotonic())
            if news.due:
                self._changes += 1
                for outlook in self._outlooks.values():
                    outlook.hear(news.due)
                self._hints.call("due")
            for kind, name in news.calls:
                if name in self._untold and kind == "worker":
                    self._untold[name] = True
                self._hints.call(kind, name)

    def claimed(self, demand: Demand, handed: Handed, changes: int) -> None:
        """Remember what a claim has seen that began when there had been so many changes."""
        with self._lock:
            self._told = (handed.now, self._clock.monotonic())
            self._untold.setdefault(demand.worker, False)
            self._outlooks.pop(demand.worker, None)
            if changes == self._changes and len(handed.claims) < demand.limit:
                self._outlooks[demand.worker] = Outlook.of(demand, handed.due_at)

    def look(self) -> None:
        """Have everybody look for himself: something may have been missed."""
        with self._lock:
            self._changes += 1
            self._outlooks.clear()
            self._hints.call("change")
            ids = list(self._awaited)
        if ids and (self._looking is None or self._looking.done()):
            # Not in the caller's context: it belongs to nobody's body.
            self._looking = asyncio.get_running_loop().create_task(self._call_for_ends(ids), context=contextvars.Context())

    async def close(self) -> None:
        """Stop looking."""
        looking, self._looking = self._looking, None
        if looking is not None:
            looking.cancel()
            await asyncio.wait([looking])

    # ---- waiting ----------------------------------------------------------------------------------------------------

    async def wait(self, interest: Demand | Collection[str], timeout: timedelta) -> None:
        """Return when something of interest may have happened, or after the timeout."""
        with self._entered(interest, timeout) as waiter:
            if isinstance(interest, Demand):
                await self._wait_for_work(interest, waiter)
            elif not await self._ended(interest):
                await waiter.called()

    @contextmanager
    def _entered(self, interest: Demand | Collection[str], timeout: timedelta) -> Iterator[Waiter]:
        waiter = Waiter(topics(interest))
        ids = () if isinstance(interest, Demand) else tuple(interest)
        expiry = self._clock.call_later(timeout.total_seconds(), waiter.expire)
        with self._lock:
            self._hints.enter(waiter)
            self._awaited.update(ids)
        try:
            yield waiter
        finally:
            expiry.cancel()
            with self._lock:
                self._hints.leave(waiter)
                self._awaited -= Counter(ids)

    async def _wait_for_work(self, demand: Demand, waiter: Waiter) -> None:
        while not waiter.expired:
            with self._lock:
                waiter.rest()
                if self._untold.get(demand.worker):
                    self._untold[demand.worker] = False
                    return
                outlook = self._outlooks.get(demand.worker)
            if demand.limit <= 0:
                await waiter.called()
                continue
            if outlook is None or not outlook.fits(demand):
                outlook = await self._find_outlook(demand)
            if outlook.due_at is None:
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

    async def _find_outlook(self, demand: Demand) -> Outlook:
        changes = self._changes

        async def find(talk: Talk) -> Row | None:
            queues, tasks = list(demand.queues), list(demand.tasks)
            return await talk.row("wait.outlook", talk.now, queues, tasks, demand.suspects > 0)

        now, due_at = await self._connections.run(find) or (0, None)
        outlook = Outlook.of(demand, due_at)
        with self._lock:
            self._told = (now, self._clock.monotonic())
            if changes == self._changes:
                self._outlooks[demand.worker] = outlook
        return outlook

    def _until(self, due_at: Instant) -> Micros:
        now, at = self._told
        return due_at - now - round((self._clock.monotonic() - at) * SECOND)

    async def _ended(self, ids: Collection[str]) -> list[str]:
        rows = await self._connections.run(lambda talk: talk.rows("wait.ended", list(ids)))
        return [row[0] for row in rows]

    async def _call_for_ends(self, ids: list[str]) -> None:
        try:
            ended = await self._ended(ids)
        except SchedulerError:
            return  # they look for themselves when their time is up
        with self._lock:
            for each in ended:
                self._hints.call("end", each)
