"""Waiting for something to happen in a MySQL database, in this process or another.

Within the process those who wait are called as soon as what concerns them is durable. Other processes cannot call: a server has
nothing like NOTIFY. So while somebody waits here, the database is asked from time to time, with one look for all who wait for
ends and one for each worker, at short intervals first and longer ones after. What is known of the work for a worker is kept
until something happens that may change it, so that a claim that got nothing need not be followed by a look. Due times are
storage's: they are waited for by this process's monotonic clock, from the last time that storage told.
"""

import asyncio
import contextvars
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import timedelta
from threading import Lock

from attrs import define, field

from zart.clock import SECOND, Clock, Instant, Micros, pause
from zart.errors import SchedulerError
from zart.records import Demand
from zart.schedulers.hints import Hints, Waiter, topics
from zart.schedulers.mysql.claim import Handed, lines
from zart.schedulers.mysql.connections import Connections
from zart.schedulers.mysql.talk import Talk, all_rows
from zart.schedulers.outlook import Outlook
from zart.schedulers.sql.news import News

_FIRST_LOOK, _LONGEST_BETWEEN = 0.005, 0.1  # seconds; who waits for an answer often gets it soon


@define
class _Outlook(Outlook):
    """With the worker's news as of then."""

    news: int = 0


@define(eq=False)
class Waits:
    """Who waits for what. Safe from several loops: news may come from the heartbeat's."""

    _connections: Connections
    _clock: Clock
    _lock: Lock = field(factory=Lock)
    _hints: Hints = field(factory=Hints)
    _outlooks: dict[str, _Outlook] = field(factory=dict)
    _untold: dict[str, bool] = field(factory=dict)
    """Whether something has happened here to a worker since it last waited; only of those that claim here."""
    _told_news: dict[str, int] = field(factory=dict)
    """The news of each worker that its waits have returned for."""
    _awaited: Counter[str] = field(factory=Counter)
    _waiting: int = 0
    _changes: int = 0
    """Grows with everything that may make an outlook wrong."""
    _told: tuple[Instant, float] = (0, 0.0)
    """Storage's time as it was last told, and when, in monotonic seconds."""
    _watch: "asyncio.Task[None] | None" = None
    _gap: float = _FIRST_LOOK

    # ---- what is known ----------------------------------------------------------------------------------------------

    @property
    def changes(self) -> int:
        """A number to remember before a claim; see `claimed`."""
        return self._changes

    def landed(self, news: News) -> None:
        """Call those here whom something concerns that is durable."""
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

    def strangers(self, workers: set[str]) -> list[str]:
        """Return those of these workers that do not claim here."""
        with self._lock:
            return sorted(workers - self._untold.keys())

    def claimed(self, demand: Demand, handed: Handed, changes: int) -> None:
        """Remember what a claim has seen that began when there had been so many changes."""
        with self._lock:
            self._told = (handed.now, self._clock.monotonic())
            self._untold.setdefault(demand.worker, False)
            self._outlooks.pop(demand.worker, None)
            if changes == self._changes and not handed.claims:
                self._outlooks[demand.worker] = _Outlook.of(demand, handed.due_at, handed.news)

    async def close(self) -> None:
        """Stop looking."""
        watch, self._watch = self._watch, None
        if watch is not None and watch.get_loop() is asyncio.get_running_loop():
            watch.cancel()
            await asyncio.wait([watch])

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
            if ids or not self._waiting:  # a worker that waits again and again is in no hurry
                self._gap = _FIRST_LOOK
            self._waiting += 1
            self._awaited.update(ids)
        self._start_watch()
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
                if self._untold.get(demand.worker):
                    self._untold[demand.worker] = False
                    return
                outlook = self._outlooks.get(demand.worker)
            if outlook is None or not outlook.fits(demand):
                outlook = await self._find_outlook(demand)
            if outlook.news != self._told_news.get(demand.worker, 0):
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

    async def _find_outlook(self, demand: Demand) -> _Outlook:
        changes = self._changes

        async def find(talk: Talk) -> tuple[Instant, int, Instant | None]:
            worker, *fronts = await talk.ask(talk.say("wait.worker", worker=demand.worker), *lines(talk, demand, 1, 1))
            now, news = worker.rows[0]
            return now, news or 0, min((row[0] for row in all_rows(fronts)), default=None)

        now, news, due_at = await self._connections.run(find)
        outlook = _Outlook.of(demand, due_at, news)
        with self._lock:
            self._told = (now, self._clock.monotonic())
            if changes == self._changes:
                self._outlooks[demand.worker] = outlook
        return outlook

    def _until(self, due_at: Instant) -> Micros:
        now, at = self._told
        return due_at - now - round((self._clock.monotonic() - at) * SECOND)

    async def _ended(self, ids: Collection[str]) -> list[str]:
        async def find(talk: Talk) -> list[str]:
            rows = all_rows(await talk.ask(*talk.each("wait.ended", [{"id": each} for each in ids])))
            return [name for name, completed_at in rows if completed_at is not None]

        return await self._connections.run(find) if ids else []

    # ---- other processes --------------------------------------------------------------------------------------------

    def _start_watch(self) -> None:
        loop = asyncio.get_running_loop()
        if self._watch is None or self._watch.done() or self._watch.get_loop() is not loop:
            # Not in the caller's context: it belongs to nobody's body.
            self._watch = loop.create_task(self._look_around(), context=contextvars.Context())

    async def _look_around(self) -> None:
        """Have everybody look again and again, as long as somebody waits."""
        while self._waiting:
            await pause(self._clock, self._gap)
            self._gap = min(self._gap * 1.5, _LONGEST_BETWEEN)
            with self._lock:
                self._changes += 1
                self._outlooks.clear()
                self._hints.call("change")
                awaited = list(self._awaited)
            if not awaited:
                continue
            try:
                ended = await self._ended(awaited)
            except SchedulerError:
                continue  # those who wait look for themselves when their time is up
            with self._lock:
                for each in ended:
                    self._hints.call("end", each)
