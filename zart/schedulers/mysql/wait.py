"""Waiting for something to happen in a MySQL database, in this process or another.

Other processes cannot call: a server has nothing like NOTIFY. So while somebody waits here, the database is asked from time to
time, with one look for all who wait for ends and one for each worker, at short intervals first and longer ones after.
"""

from collections.abc import Collection
from contextlib import suppress

from attrs import define, field

from zart.clock import Instant, pause
from zart.errors import SchedulerError
from zart.records import Demand
from zart.schedulers.mysql.claim import lines
from zart.schedulers.mysql.connections import Connections
from zart.schedulers.mysql.talk import Talk, all_rows
from zart.schedulers.sql.server_waits import ServerWaits

_FIRST_LOOK, _LONGEST_BETWEEN = 0.005, 0.1  # seconds; who waits for an answer often gets it soon


@define(eq=False)
class Waits(ServerWaits):
    """Who waits for what."""

    _connections: Connections
    _gap: float = field(default=_FIRST_LOOK, init=False)

    def strangers(self, workers: set[str]) -> list[str]:
        """Return those of these workers that do not claim here."""
        with self._lock:
            return sorted(workers - self._untold.keys())

    def _attend(self, ids: Collection[str]) -> None:
        if ids or self._waiting == 1:  # a worker that waits again and again is in no hurry
            self._gap = _FIRST_LOOK
        self._errand.begin(self._look_around)

    async def _find(self, demand: Demand) -> tuple[Instant | None, int | None]:
        async def find(talk: Talk) -> tuple[Instant, int, Instant | None]:
            worker, *fronts = await talk.ask(talk.say("wait.worker", worker=demand.worker), *lines(talk, demand, 1, 1))
            now, news = worker.rows[0]
            return now, news or 0, min((row[0] for row in all_rows(fronts)), default=None)

        now, news, due_at = await self._connections.run(find)
        self._tell_time(now)
        return due_at, news

    async def _ended(self, ids: Collection[str]) -> list[str]:
        async def find(talk: Talk) -> list[str]:
            rows = all_rows(await talk.ask(*talk.each("wait.ended", [{"id": each} for each in ids])))
            return [name for name, completed_at in rows if completed_at is not None]

        return await self._connections.run(find) if ids else []

    async def _look_around(self) -> None:
        """Have everybody look again and again, as long as somebody waits."""
        while self._waiting:
            await pause(self._clock, self._gap)
            self._gap = min(self._gap * 1.5, _LONGEST_BETWEEN)
            with suppress(SchedulerError):  # those who wait look for themselves when their time is up
                await self._call_for_ends(self._call_everybody())
