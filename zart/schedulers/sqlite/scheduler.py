"""The SQLite scheduler: executions in one file, shared by as many processes of one machine as like."""

import os
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from zart.checkup import Finding
from zart.clock import Clock, SystemClock, instant
from zart.errors import SchemaMismatch
from zart.ids import SystemRandomness
from zart.records import (
    BeatReply,
    Claim,
    Commit,
    Committed,
    Delivery,
    Demand,
    Event,
    Front,
    NewExecution,
    Started,
    WorkerBeat,
)
from zart.scheduler import Bound
from zart.schedulers.sql.inspected import Inspected
from zart.schedulers.sqlite import shard
from zart.schedulers.sqlite.beat import Beat
from zart.schedulers.sqlite.cancel import Cancel
from zart.schedulers.sqlite.claim import ClaimJob
from zart.schedulers.sqlite.commit import CommitJob
from zart.schedulers.sqlite.database import Database
from zart.schedulers.sqlite.deliver import Deliver
from zart.schedulers.sqlite.forks import Opening
from zart.schedulers.sqlite.inside import refuse_inside
from zart.schedulers.sqlite.inspect import Inspection
from zart.schedulers.sqlite.reader import Reader
from zart.schedulers.sqlite.start import Start
from zart.schedulers.sqlite.wait import Waits
from zart.schedulers.sqlite.writer import Job, Writer
from zart.spawner import Spawner, ThreadSpawner
from zart.status import ExecutionStatus

T = TypeVar("T")


class SqliteScheduler(Inspected):
    """A scheduler in a SQLite file.

    Use it with `async with`. The file is made if it is absent, readable for its owner only; `migrate()` gives it its tables,
    and until then every operation raises `SchemaMismatch`. With `create` that is done on entering if the file has no tables at
    all, as `connect` does. Any number of processes of one machine may share the file; a network file system is no place for it.

    What is answered is on the disk: WAL with `synchronous=FULL`, one transaction for all that is said at one moment. Storage's
    clock is this machine's, or `clock`.

    Close it before the process forks, or open it only in the children: SQLite's locks do not outlive a fork. In a child of a
    process that had the file open, opening it and every operation raise `StorageUnavailable`.

    Example:
        >>> async with SqliteScheduler("zart.db") as scheduler:  # doctest: +SKIP
        ...     await scheduler.migrate()
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        clock: Clock | None = None,
        create: bool = False,
        spawner: Spawner | None = None,
    ) -> None:
        name = os.fspath(path)
        if not name or name.startswith(":memory:"):
            raise ValueError(f"SqliteScheduler needs the path of a file, not {name!r}; for memory take InMemoryScheduler")
        self._path = str(Path(name).resolve())  # as SQLite does it, which puts the -wal file beside the real one
        self._clock: Clock = SystemClock() if clock is None else clock
        self._spawner: Spawner = ThreadSpawner() if spawner is None else spawner
        self._database = Database(self._path, create=create)
        self._reader = Reader(self._database, self._spawner)
        self._inspection = Inspection(self._reader, self._clock)
        self._waits = Waits(self._clock, Path(self._path + "-wal"), self._reader, self._changed_by_others)
        self._writer = Writer(self._database, self._clock, SystemRandomness(), self._waits.landed)
        self._transactions: Any = None
        self._mismatch: str | None = None
        self._opening: Opening | None = None
        self._data_version = 0

    def __repr__(self) -> str:
        """Name the file."""
        return f"SqliteScheduler({self._path!r})"

    async def __aenter__(self) -> Self:
        """Open the file.

        Raises:
            StorageUnavailable: it cannot be opened, or is no database.
            SchemaMismatch: it is newer than this code. One missing or older is told at first use: `migrate` may come yet.
        """
        opening = Opening.begin(self._path)
        try:
            await self._writer.open(self._spawner)
            try:
                await self._check()
            except BaseException:
                await self._writer.close()
                raise
        except BaseException:
            opening.end()
            raise
        self._opening = opening
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finish what was given and close the file."""
        opening = self._opening
        if opening is not None and opening.is_inherited():
            return  # its threads are not here, and its connections are the parent's to close
        await self._waits.close()
        if self._transactions is not None:
            await self._transactions.close()
        await self._reader.close()
        await self._writer.close()
        self._opening = None
        if opening is not None:
            opening.end()

    async def migrate(self) -> None:
        """Bring the schema to this version, before or after entering; safe to repeat and to run from several processes at once.

        Raises:
            SchemaMismatch: the database is newer than this code.
        """
        self._check_process()
        if not self._writer.is_open:
            async with self:
                await self.migrate()
            return
        now = instant(self._clock.now())
        await self._writer.call(lambda connection: self._database.migrate(connection, now))
        await self._check()

    async def schema_version(self) -> int:
        """Return the schema's version, before or after entering; 0 where there is none yet.

        Raises:
            SchemaMismatch: the database is newer than this code.
        """
        self._check_process()
        if not self._writer.is_open:
            # Without `create`: what is asked for must not change by being asked for.
            async with SqliteScheduler(self._path, clock=self._clock, spawner=self._spawner) as plain:
                return await plain.schema_version()
        return await self._writer.call(self._database.version)

    async def migration_script(self) -> str:
        """Return the SQL that `migrate` would run now, for those who run it themselves; empty when there is nothing to do.

        A file that is absent stays so.

        Raises:
            SchemaMismatch: the database is newer than this code.
        """
        return self._database.script(0 if self._database.is_absent() else await self.schema_version())

    async def examine(self, held_for: timedelta = timedelta(minutes=1)) -> Sequence[Finding]:
        """Look at the file and its tables, over a connection of its own, before or after entering.

        How long a snapshot has been held cannot be told of a file: one that is kept for a second while others write is told of.
        """
        self._check_process()
        module = import_module("zart.schedulers.sqlite.checkup")  # as seldom used as it is
        found: Sequence[Finding] = await module.examine(self._database, self._spawner, self._clock)
        return found

    # ---- Scheduler --------------------------------------------------------------------------------------------------

    async def start(self, new: Sequence[NewExecution]) -> Sequence[Started]:
        """Open runs."""
        return await self._submit(Start(new)) if new else ()

    async def beat(self, beat: WorkerBeat) -> BeatReply:
        """Register or renew a worker, and take over from the dead. May be called from a thread and loop of its own."""
        reply = await self._submit(Beat(beat))
        if beat.leaving or not reply.alive:
            self._waits.forget(beat.worker)
        return reply

    async def claim(self, demand: Demand) -> Sequence[Claim]:
        """Hand out due executions.

        Raises:
            WorkerNotAlive: the worker must register (again) first.
        """
        handed = await self._submit(ClaimJob(demand))
        self._waits.claimed(demand, handed)
        return handed.claims

    async def commit(self, commits: Sequence[Commit]) -> Sequence[Committed]:
        """Write what workers have to say."""
        return await self._submit(CommitJob(commits)) if commits else ()

    async def deliver(self, events: Sequence[Event]) -> Sequence[Delivery]:
        """Put events into mailboxes."""
        return await self._submit(Deliver(events)) if events else ()

    async def cancel(self, ids: Collection[str], run: int | None = None) -> Mapping[str, tuple[ExecutionStatus, bool]]:
        """End executions from outside: their last runs, or this run of each."""
        return await self._submit(Cancel(ids, run)) if ids else {}

    async def wait(self, interest: Demand | Collection[str], timeout: timedelta) -> None:
        """Return when something of interest may have happened: work for a demand, or the end of one of these executions.

        For a demand also when mail came for an execution that its worker holds, or one was taken from it. What another process
        does shows within some 20 milliseconds. With a `limit` of 0 due work is of no interest.
        """
        self._check_usable()
        await self._waits.wait(interest, timeout)

    # ---- Transactional ----------------------------------------------------------------------------------------------

    def bind(self, connection: Any) -> Bound:
        """Return what speaks within the transaction of a SQLAlchemy connection to the same file.

        It holds SQLite's one write lock from then on: keep the transaction short.

        Raises:
            TypeError: no SQLAlchemy `AsyncConnection` or `AsyncSession`.
        """
        self._check_usable()
        bound: Bound = self._transacting().bind(connection)
        return bound

    @asynccontextmanager
    async def transaction(self, limit: timedelta) -> AsyncIterator[tuple[Any, Bound]]:
        """Open a transaction of its own: a SQLAlchemy `AsyncConnection`, and what speaks within it. It commits at the end.

        Raises:
            StorageUnavailable: the write lock cannot be had, or the disk takes no more.
            TimeoutError: it held up others for longer than `limit`, and was rolled back.
        """
        self._check_usable()
        async with self._transacting().begin(limit) as (connection, bound):
            yield connection, bound
        for batch in bound.batches:
            self._waits.landed(batch)

    # ---- Shardable --------------------------------------------------------------------------------------------------

    async def remember(self, name: str, value: str) -> str:
        """Keep a short text about the database as a whole, for good, and return what is kept: the first one wins."""
        self._check_usable()
        return await self._writer.call(lambda connection: shard.remember(connection, name, value))

    async def recall(self, name: str) -> str | None:
        """Return what is kept under a name."""
        self._check_usable()
        return await self._reader.call(lambda connection: shard.recall(connection, name))

    async def front(self, demand: Demand) -> Sequence[Front]:
        """Return what a claim would take at this moment, those due longest first, and take nothing."""
        self._check_usable()
        return await self._reader.call(lambda connection: shard.front(connection, demand, instant(self._clock.now())))

    # -----------------------------------------------------------------------------------------------------------------

    def _transacting(self) -> Any:
        if self._transactions is None:
            # Not before it is needed: to import SQLAlchemy takes longer than most commands.
            module = import_module("zart.schedulers.sqlite.transact")
            self._transactions = module.Transactions(self._database, self._clock)
        return self._transactions

    async def _submit(self, job: Job[T]) -> T:
        self._check_usable()
        refuse_inside(self._path)
        return await self._writer.submit(job)

    async def _check(self) -> None:
        self._mismatch = await self._writer.call(self._database.check)

    def _check_usable(self) -> None:
        self._check_process()
        self._writer.check_open()
        if self._mismatch is not None:
            raise SchemaMismatch(self._mismatch)

    def _check_process(self) -> None:
        if self._opening is not None:
            self._opening.check()

    async def _changed_by_others(self) -> bool:
        before = self._data_version
        self._data_version = await self._writer.call(lambda connection: connection.execute("PRAGMA data_version").fetchone()[0])
        return self._data_version != before
