"""The backends that every scenario is played on. One line here, and a backend is in."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from attrs import frozen

from zart import InMemoryScheduler, SqliteScheduler
from zart.clock import Clock, Timer
from zart.scheduler import Storage
from zart.schedulers.mysql import MySqlScheduler
from zart.schedulers.postgres import PostgresScheduler
from zart.testing import FakeClock


@frozen
class Place:
    """Where backends find what they need: a folder, and the servers, which are fixtures by their names."""

    folder: Path
    server: Callable[[str], Any]


BACKENDS: dict[str, Callable[[Place, Clock], Storage]] = {
    "memory": lambda place, clock: InMemoryScheduler(clock=clock),
    "SQLite": lambda place, clock: SqliteScheduler(place.folder / "zart.db", clock=clock),
    "PostgreSQL": lambda place, clock: PostgresScheduler(
        place.server("postgres_server").dsn, schema="conformance", clock=clock
    ),
    "MariaDB": lambda place, clock: MySqlScheduler(place.server("mariadb_server").url, prefix="conformance_", clock=clock),
}


class Wrist:
    """A clock for a storage that outlives many plays: it shows the time of the play at hand."""

    def __init__(self) -> None:
        self.clock: FakeClock = FakeClock()

    def now(self) -> datetime:
        """Return the wall-clock time."""
        return self.clock.now()

    def monotonic(self) -> float:
        """Return seconds."""
        return self.clock.monotonic()

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Timer:
        """Set a timer."""
        return self.clock.call_later(seconds, callback)


class Ground:
    """One backend, opened once for many plays. Each play begins a day after all that the plays before it have seen."""

    def __init__(self, backend: str, place: Place) -> None:
        self.backend: str = backend
        self.wrist: Wrist = Wrist()
        self._make: Callable[[], Storage] = lambda: BACKENDS[backend](place, self.wrist)
        self.storage: Storage = self._make()
        self._latest = datetime(2026, 1, 1, tzinfo=UTC)
        self._plays = 0

    async def open(self) -> None:
        """Open the storage."""
        await self.storage.migrate()
        await self.storage.__aenter__()

    async def close(self) -> None:
        """Close it."""
        await self.storage.__aexit__(None, None, None)

    async def reopen(self) -> None:
        """Close every connection, and begin anew on what is stored."""
        await self.close()
        self.storage = self._make()
        await self.open()

    def next_play(self) -> tuple[int, datetime]:
        """Return the number of a new play, and when it begins."""
        self._plays += 1
        self._latest = max(self._latest, self.wrist.now()) + timedelta(days=1)
        return self._plays, self._latest
