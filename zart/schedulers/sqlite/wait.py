"""Waiting for something to happen in a SQLite file, in this process or another.

Within the process those who wait are called as soon as the batch that concerns them is durable. Other processes show in the
-wal file, which is looked at every few milliseconds while somebody waits, at the price of one `stat`. SQLite writes it before a
transaction counts, and a look may fall between the two; so whoever has written something that others wait for touches the file
once more afterwards. Only when it has changed is the database asked, and by reading only: two idle processes must not keep each
other awake.
"""

import os
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from itertools import chain
from pathlib import Path

from attrs import define, field

from zart.clock import Instant, Micros, instant, pause
from zart.errors import SchedulerError
from zart.records import Demand
from zart.schedulers.sql import waits
from zart.schedulers.sqlite.claim import PEEK, Handed, asked, whole_number
from zart.schedulers.sqlite.queries import from_json, statements
from zart.schedulers.sqlite.reader import Reader
from zart.schedulers.sqlite.writer import Batch

_FIRST_LOOK, _LONGEST_BETWEEN = 0.002, 0.02  # seconds; who waits for an answer often gets it at once
_TICK = 0.012  # seconds; a file's time moves in steps of up to 10 ms
_ENDED = statements("wait")["ended"]


@define(eq=False)
class Waits(waits.Waits):
    """Who waits for what."""

    _wal: Path
    _reader: Reader
    _changed_by_others: Callable[[], Awaitable[bool]]
    """Whether another connection than our writing one has written since this was last asked."""
    _landings: int = field(default=0, init=False)
    _last_due: int = field(default=0, init=False)
    """The number of the last batch that made something due."""
    _seen: tuple[int, int] | None = field(default=None, init=False)
    _seen_landings: int = field(default=0, init=False)

    def landed(self, batch: Batch) -> None:
        """Call those whom a durable batch concerns, here and in other processes."""
        if batch.due or batch.calls:
            with suppress(OSError):  # a hint and nothing more
                os.utime(self._wal)
        with self._lock:
            self._landings += 1
            self._changes += 1
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
                self._outlooks[demand.worker] = waits.Sight.of(demand, handed.due_at, news)

    def _attend(self, ids: Collection[str]) -> None:
        self._errand.begin(self._look_around)

    def _until(self, due_at: Instant) -> Micros:
        return due_at - instant(self._clock.now())

    async def _find(self, demand: Demand) -> tuple[Instant | None, int | None]:
        parameters = asked(demand)
        _, news, due_at = await self._reader.call(lambda connection: connection.execute(PEEK, parameters).fetchone())
        return whole_number(due_at), news

    async def _ended(self, ids: Collection[str]) -> list[str]:
        chunks = list(_ENDED.chunks(list(enumerate(ids, 1))))
        texts = await self._reader.call(lambda connection: [connection.execute(*chunk).fetchone()[0] for chunk in chunks])
        return list(chain.from_iterable(from_json(text) for text in texts))

    # ---- other processes --------------------------------------------------------------------------------------------

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
                    await self._call_for_ends(self._call_everybody())
            except SchedulerError:
                with self._lock:
                    self._hints.call("change")  # they find out for themselves, and tell

    def _look_at_wal(self) -> tuple[int, int] | None:
        try:
            found = self._wal.stat()
        except OSError:
            return None
        return found.st_size, found.st_mtime_ns
