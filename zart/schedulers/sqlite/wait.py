"""Waiting for something to happen in a SQLite file, in this process or another.

Within the process those who wait are called as soon as the batch that concerns them is durable. Other processes show in the
-wal file, which is looked at every few milliseconds while somebody waits, at the price of one `stat`. SQLite writes it before a
transaction counts, and a look may fall between the two; so whoever has written something that others wait for touches the file
once more afterwards. Only when it has changed is the database asked, and by reading only: two idle processes must not keep each
other awake.
"""

import asyncio
import contextvars
import os
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from itertools import chain
from pathlib import Path
from threading import Lock

from attrs import define, field

from zart.clock import SECOND, Clock, instant, pause
from zart.errors import SchedulerError
from zart.records import Demand
from zart.schedulers.hints import Hints, Waiter, topics
from zart.schedulers.outlook import Outlook
from zart.schedulers.sqlite.claim import PEEK, Handed, asked
from zart.schedulers.sqlite.queries import from_json, statements
from zart.schedulers.sqlite.reader import Reader
from zart.schedulers.sqlite.writer import Batch

_FIRST_LOOK, _LONGEST_BETWEEN = 0.002, 0.02  # seconds; who waits for an answer often gets it at once
_TICK = 0.012  # seconds; a file's time moves in steps of up to 10 ms
_ENDED = statements("wait")["ended"]


@define
class _Outlook(Outlook):
    """With the worker's news as of then; None: they were not looked up."""

    news: int | None = None


@define(eq=False)
class Waits:
    """Who waits for what. Safe from several loops: a batch may land on the heartbeat's."""

    _wal: Path
    _clock: Clock
    _reader: Reader
    _changed_by_others: Callable[[], Awaitable[bool]]
    """Whether another connection than our writing one has written since this was last asked."""
    _lock: Lock = field(factory=Lock)
    _hints: Hints = field(factory=Hints)
    _outlooks: dict[str, _Outlook] = field(factory=dict)
    _told: dict[str, int] = field(factory=dict)
    """The news of each worker that its waits have returned for."""
    _awaited: Counter[str] = field(factory=Counter)
    _waiting: int = 0
    _landings: int = 0
    _last_due: int = 0
    """The number of the last batch that made something due."""
    _watch: asyncio.Task[None] | None = None
    _seen: tuple[int, int] | None = None
    _seen_landings: int = 0

    def landed(self, batch: Batch) -> None:
        """Call those whom a durable batch concerns, here and in other processes."""
        if batch.due or batch.calls:
            with suppress(OSError):  # a hint and nothing more
                os.utime(self._wal)
        with self._lock:
            self._landings += 1
            if batch.due:
                self._last_due = max(self._last_due, batch.number)
                for outlook in self._outlooks.values():
                    outlook.hear(batch.due)
                self._hints.call("due")
            for topic in batch.calls:
                if topic[0] == "worker":
                    self._outlooks.pop(topic[1], None)  # to have its news looked up
                self._hints.call(*topic)

    def claimed(self, demand: Demand, handed: Handed) -> None:
        """Remember what a claim has seen, so that a wait after it need not look again."""
        with self._lock:
            known = self._outlooks.pop(demand.worker, None)
            if handed.number > self._last_due:
                news = handed.news if known is None or handed.news is not None else known.news
                self._outlooks[demand.worker] = _Outlook.of(demand, handed.due_at, news)

    async def wait(self, interest: Demand | Collection[str], timeout: timedelta) -> None:
        """Return when something of interest may have happened, or after the timeout."""
        with self._entered(interest, timeout) as waiter:
            if isinstance(interest, Demand):
                await self._wait_for_work(interest, waiter)
            elif not await self._ended(interest):
                await waiter.called()

    async def close(self) -> None:
        """Stop looking."""
        watch, self._watch = self._watch, None
        if watch is not None and watch.get_loop() is asyncio.get_running_loop():
            watch.cancel()
            await asyncio.wait([watch])

    @contextmanager
    def _entered(self, interest: Demand | Collection[str], timeout: timedelta) -> Iterator[Waiter]:
        waiter = Waiter(topics(interest))
        ids = () if isinstance(interest, Demand) else tuple(interest)
        expiry = self._clock.call_later(timeout.total_seconds(), waiter.expire)
        with self._lock:
            self._hints.enter(waiter)
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
                outlook = self._outlooks.get(demand.worker)
            if outlook is None or outlook.news is None or not outlook.fits(demand):
                outlook = await self._look(demand)
            if outlook.news is not None and outlook.news != self._told.get(demand.worker, 0):
                self._told[demand.worker] = outlook.news
                return
            if demand.limit <= 0 or outlook.due_at is None:
                await waiter.called()
            elif (due_in := outlook.due_at - instant(self._clock.now())) > 0:
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

    async def _look(self, demand: Demand) -> _Outlook:
        landings = self._landings
        parameters = asked(demand)
        _, news, due_at = await self._reader.call(lambda connection: connection.execute(PEEK, parameters).fetchone())
        outlook = _Outlook.of(demand, due_at, news)
        with self._lock:
            if self._landings == landings and news is not None:
                self._outlooks[demand.worker] = outlook
        return outlook

    async def _ended(self, ids: Collection[str]) -> list[str]:
        chunks = list(_ENDED.chunks(list(enumerate(ids, 1))))
        texts = await self._reader.call(lambda connection: [connection.execute(*chunk).fetchone()[0] for chunk in chunks])
        return list(chain.from_iterable(from_json(text) for text in texts))

    # ---- other processes --------------------------------------------------------------------------------------------

    def _start_watch(self) -> None:
        loop = asyncio.get_running_loop()
        if self._watch is None or self._watch.done() or self._watch.get_loop() is not loop:
            # Not in the caller's context: it belongs to nobody's body.
            self._watch = loop.create_task(self._look_around(), context=contextvars.Context())

    async def _look_around(self) -> None:
        """Look at the -wal file as long as somebody waits."""
        gap = _FIRST_LOOK
        again = False
        while self._waiting:
            await pause(self._clock, gap)
            gap = min(gap * 1.5, _LONGEST_BETWEEN)
            at_present = self._look_at_wal()
            if at_present == self._seen and not again:
                continue
            again = at_present != self._seen
            if again:  # what is written just after this look may hide behind the same time
                gap = max(gap, _TICK)
            self._seen = at_present
            landings, self._seen_landings = self._seen_landings, self._landings
            try:
                if landings == self._landings or await self._changed_by_others():
                    await self._call_everybody()
            except SchedulerError:
                with self._lock:
                    self._hints.call("change")  # they find out for themselves, and tell

    async def _call_everybody(self) -> None:
        with self._lock:
            self._outlooks.clear()
            self._hints.call("change")
            awaited = list(self._awaited)
        if awaited:
            ended = await self._ended(awaited)
            with self._lock:
                for each in ended:
                    self._hints.call("end", each)

    def _look_at_wal(self) -> tuple[int, int] | None:
        try:
            found = self._wal.stat()
        except OSError:
            return None
        return found.st_size, found.st_mtime_ns
