"""Waiting for something to happen in a PostgreSQL database, in this process or another, which notifies."""

from collections.abc import Collection
from contextlib import suppress

from attrs import define

from zart.clock import Instant
from zart.errors import SchedulerError
from zart.records import Demand
from zart.schedulers.postgres.connections import Connections, Row, Talk
from zart.schedulers.sql.server_waits import ServerWaits
from zart.schedulers.sql.waits import Sight


@define(eq=False)
class Waits(ServerWaits):
    """Who waits for what."""

    _connections: Connections

    def look(self) -> None:
        """Have everybody look for himself: something may have been missed."""
        if ids := self._call_everybody():

            async def call() -> None:
                with suppress(SchedulerError):  # they look for themselves when their time is up
                    await self._call_for_ends(ids)

            self._errand.begin(call)

    def _attend(self, ids: Collection[str]) -> None:
        """Do nothing: whoever makes something happen notifies."""

    async def _look(self, demand: Demand) -> Sight:
        # Whoever has mail is notified: without interest in work there is nothing to ask for.
        return await super()._look(demand) if demand.limit > 0 else Sight.of(demand, None, 0)

    async def _find(self, demand: Demand) -> tuple[Instant | None, int | None]:
        async def find(talk: Talk) -> Row:
            queues, tasks = list(demand.queues), list(demand.tasks)
            found = await talk.row("wait.outlook", talk.now, queues, tasks, demand.suspects > 0)
            assert found is not None  # noqa: S101 # it selects from nothing
            return found

        now, due_at = await self._connections.run(find)
        self._tell_time(now)
        return due_at, 0

    async def _ended(self, ids: Collection[str]) -> list[str]:
        rows = await self._connections.run(lambda talk: talk.rows("wait.ended", list(ids)))
        return [row[0] for row in rows]
