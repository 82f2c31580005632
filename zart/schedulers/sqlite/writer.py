"""Group commit: all that is to be written waits for the one writing connection, and goes out together.

What arrives while a batch is in flight waits on the loop; when the batch has landed, all that waits becomes the next one: one
call into the lane, one transaction, one fsync. A batch of one first tries to `settle` its job as one statement, without a
transaction around it. When a job of a batch fails, all is rolled back and the jobs are done one by one, so that one bad row
stops nobody else.

Calls from another loop than the one the writer was opened on (the heartbeat's) go straight into the lane, which takes them in
turn: two connections would only fight for SQLite's one write lock, where nobody is served in turn.
"""

import asyncio
import contextvars
import sqlite3
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from attrs import define, field

from zart.clock import Clock, Instant, instant, pause
from zart.errors import NotSupported, SchedulerError, SchemaMismatch, StorageUnavailable
from zart.ids import Randomness
from zart.schedulers.hints import Topic
from zart.schedulers.outlook import Due
from zart.schedulers.sqlite.database import Database
from zart.schedulers.sqlite.faults import Busy, of_storage
from zart.spawner import Lane, Spawner

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

_TRIES = 4
_PAUSE = 0.2  # seconds, at most; what comes before is a whole busy timeout


@define
class Batch:
    """One transaction: what its jobs need, and whom they would wake once it is durable."""

    connection: sqlite3.Connection
    now: Instant
    number: int
    """Grows from batch to batch, in the order of the lane."""
    calls: set[Topic] = field(factory=set)
    due: list[Due] = field(factory=list)
    """What has become due, or will."""

    def json(self, sql: str, parameters: Any = ()) -> str:
        """Return the one text that a statement selects."""
        return self.connection.execute(sql, parameters).fetchone()[0]  # type: ignore[no-any-return] # sqlite3 has no types


class Unsettled(Exception):
    """A job could not be settled without a transaction."""


class Job(Generic[T_co]):
    """Something to write. A job may raise a `SchedulerError` of its own only before it has written anything."""

    def settle(self, batch: Batch) -> T_co:
        """Do it without a transaction, in at most one writing statement.

        Raises:
            Unsettled: it takes a transaction after all.
        """
        raise Unsettled

    def work(self, batch: Batch) -> T_co:
        """Do it inside a transaction."""
        raise NotImplementedError

    def salvage(self, batch: Batch, error: Exception) -> T_co:
        """Do what can be done of it alone, inside a transaction, after `work` has failed over its data."""
        raise NotSupported(f"SQLite cannot store this: {error}; nothing of the call was written") from error


@define
class Landed:
    """What became of some jobs: a value or an error each."""

    outcomes: list[Any]
    batches: list[Batch]


Waiting = tuple[Job[Any], asyncio.Future[Any]]


@define(eq=False)
class Writer:
    """The one connection of this process that writes to a database, in a lane of its own."""

    _database: Database
    _clock: Clock
    _randomness: Randomness
    _landed: Callable[[Batch], None]
    """Is told of each durable batch before its callers are, in the thread of a loop."""
    _lane: Lane = field(init=False)
    _connection: sqlite3.Connection | None = None
    _home: asyncio.AbstractEventLoop | None = None
    _waiting: list[Waiting] = field(factory=list)
    _pump: asyncio.Task[None] | None = None
    _number: int = 0

    async def open(self, spawner: Spawner) -> None:
        """Start the lane and open the connection."""
        self._home = asyncio.get_running_loop()
        self._lane = spawner.lane("zart-sqlite-writer")
        try:
            self._connection = await self._patiently(lambda: self._database.open(instant(self._clock.now())))
        except BaseException:
            self._lane.close()
            raise

    async def close(self) -> None:
        """Finish what was given, close the connection and end the lane."""
        if self._connection is None:
            return
        if self._pump is not None:
            await self._pump
        connection, self._connection = self._connection, None
        try:
            await self._lane.call(connection.close)
        finally:
            self._lane.close()

    @property
    def is_open(self) -> bool:
        """Whether it has a connection."""
        return self._connection is not None

    def check_open(self) -> sqlite3.Connection:
        """Return the connection.

        Raises:
            StorageUnavailable: there is none.
        """
        if self._connection is None:
            raise StorageUnavailable(f"the scheduler of {self._database.path!r} is not open; use it inside `async with`")
        return self._connection

    async def call(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """Call a function with the connection, in the lane, by itself."""
        connection = self.check_open()
        return await self._patiently(lambda: function(connection))

    async def submit(self, job: Job[T]) -> T:
        """Do a job together with whatever else waits; returns when it is durable.

        Raises:
            StorageUnavailable: the database is locked for too long, damaged, full or gone.
        """
        connection, loop = self.check_open(), asyncio.get_running_loop()
        if loop is not self._home:
            landed = await self._patiently(lambda: self._run(connection, [job]))
            self._tell(landed)
            outcome: T | Exception = landed.outcomes[0]
            if isinstance(outcome, Exception):
                raise outcome
            return outcome
        future: asyncio.Future[T] = loop.create_future()
        if self._pump is None or self._pump.done():
            # Into the lane at once, not when the task's turn comes: until then the loop may work for milliseconds, and the lane
            # could have written meanwhile. And not in the caller's context: the pump belongs to nobody's body.
            first = self._lane.call(lambda: self._run(connection, [job]))
            self._pump = loop.create_task(self._send(connection, [(job, future)], first), context=contextvars.Context())
        else:
            self._waiting.append((job, future))
        return await future

    async def _send(self, connection: sqlite3.Connection, sent: list[Waiting], first: asyncio.Future[Landed] | None) -> None:
        while sent:
            jobs = [job for job, _ in sent]
            try:
                landed = await self._patiently(lambda jobs=jobs: self._run(connection, jobs), first)  # type: ignore[misc] # a lambda's default
            except Exception as error:  # noqa: BLE001 # the callers' to handle, every one's
                outcomes: list[Any] = [error] * len(sent)
            else:
                self._tell(landed)
                outcomes = landed.outcomes
            for (_, future), outcome in zip(sent, outcomes, strict=True):
                if future.done():
                    continue  # its caller was cancelled
                if isinstance(outcome, Exception):
                    future.set_exception(outcome)
                else:
                    future.set_result(outcome)
            first = None
            sent, self._waiting = self._waiting, []
        self._pump = None

    def _tell(self, landed: Landed) -> None:
        for batch in landed.batches:
            self._landed(batch)

    async def _patiently(self, function: Callable[[], T], first: asyncio.Future[T] | None = None) -> T:
        """Call a function in the lane, and again while the database is locked, a few times; `first` is a call already made."""
        for _ in range(_TRIES - 1):
            try:
                return await (first or self._lane.call(function))
            except Busy:
                first = None
                await pause(self._clock, _PAUSE * self._randomness.random())
        try:
            return await self._lane.call(function)
        except Busy as error:
            raise self._locked(error) from error

    # ---- in the lane ------------------------------------------------------------------------------------------------

    def _run(self, connection: sqlite3.Connection, jobs: list[Job[Any]]) -> Landed:
        if len(jobs) == 1:
            return self._run_one(connection, jobs[0])
        batch = self._batch(connection)
        try:
            return Landed(self._transact(batch, [job.work for job in jobs]), [batch])
        except (Busy, StorageUnavailable):
            raise
        except Exception:  # noqa: BLE001 # whose fault it is shows when they are done one by one
            landed = Landed([], [])
        for job in jobs:
            try:
                one = self._run_one(connection, job)
            except Exception as error:  # noqa: BLE001 # its own; what is done already stays done
                landed.outcomes.append(self._locked(error) if isinstance(error, Busy) else error)
            else:
                landed.outcomes += one.outcomes
                landed.batches += one.batches
        return landed

    def _run_one(self, connection: sqlite3.Connection, job: Job[Any]) -> Landed:
        batch = self._batch(connection)
        try:
            return Landed([self._explain(lambda: _refusable(job.settle, batch))], [batch])
        except (Busy, StorageUnavailable):
            raise
        except Exception:  # noqa: BLE001 # unsettled, or at fault: `work` is to tell
            batch = self._batch(connection)
        try:
            return Landed(self._transact(batch, [job.work]), [batch])
        except (Busy, StorageUnavailable, SchemaMismatch):
            raise
        except Exception as error:  # noqa: BLE001 # the data's fault, or ours
            fault = error
        batch = self._batch(connection)
        return Landed(self._transact(batch, [lambda batch: job.salvage(batch, fault)]), [batch])

    def _batch(self, connection: sqlite3.Connection) -> Batch:
        self._number += 1
        return Batch(connection, instant(self._clock.now()), self._number)

    def _transact(self, batch: Batch, works: list[Callable[[Batch], Any]]) -> list[Any]:
        def whole() -> list[Any]:
            batch.connection.execute("BEGIN IMMEDIATE")
            outcomes = [_refusable(work, batch) for work in works]
            batch.connection.execute("COMMIT")
            return outcomes

        try:
            return self._explain(whole)
        finally:
            if batch.connection.in_transaction:
                batch.connection.execute("ROLLBACK")

    def _explain(self, function: Callable[[], T]) -> T:
        try:
            return function()
        except sqlite3.Error as error:
            fault = of_storage(error, self._database.path)
            if fault is None:
                raise
            raise fault from error

    def _locked(self, error: Busy) -> StorageUnavailable:
        return StorageUnavailable(
            f"the SQLite database {self._database.path!r} is locked by another transaction ({error}); end the one, of this "
            f"process or another, that is kept open"
        )


def _refusable(work: Callable[[Batch], Any], batch: Batch) -> Any:
    """Return what a job returns, or the refusal that it raises instead of writing anything."""
    try:
        return work(batch)
    except SchedulerError as error:
        return error
