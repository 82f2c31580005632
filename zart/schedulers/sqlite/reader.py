"""The connection that only reads, in a lane of its own, so that nobody who looks waits for somebody who writes."""

import sqlite3
from collections.abc import Callable
from typing import TypeVar

from attrs import define

from zart.errors import StorageUnavailable
from zart.schedulers.sqlite.database import Database
from zart.schedulers.sqlite.faults import Busy, of_storage
from zart.spawner import Lane, Spawner

T = TypeVar("T")


@define(eq=False)
class Reader:
    """Reads what is durable; opened at its first use."""

    _database: Database
    _spawner: Spawner
    _lane: Lane | None = None
    _connection: sqlite3.Connection | None = None

    async def call(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """Call a function with the connection, in the lane.

        Raises:
            StorageUnavailable: the database is damaged or gone.
        """
        if self._lane is None:
            self._lane = self._spawner.lane("zart-sqlite-reader")
        return await self._lane.call(lambda: self._read(function))

    async def close(self) -> None:
        """Close the connection and end the lane."""
        lane, self._lane = self._lane, None
        if lane is not None:
            try:
                await lane.call(self._disconnect)
            finally:
                lane.close()

    def _read(self, function: Callable[[sqlite3.Connection], T]) -> T:
        if self._connection is None:
            self._connection = self._database.open_for_reading()
        try:
            return function(self._connection)
        except sqlite3.Error as error:
            fault = of_storage(error, self._database.path)
            if isinstance(fault, Busy):  # readers wait for nobody, unless somebody keeps the file for himself
                fault = StorageUnavailable(
                    f"the SQLite database {self._database.path!r} is locked as a whole: {error}; try again"
                )
            if fault is None:
                raise
            raise fault from error

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
