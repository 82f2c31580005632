"""Several storages behind the port of one.

What concerns one execution goes to its shard and nowhere else. What concerns a worker goes to all of them at once, and their
answers are put together; a shard that cannot be reached has no part in it, and is not waited for again until it is heard of.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from types import TracebackType
from typing import Any, Self, cast

from attrs import evolve

from zart.clock import Clock, SystemClock
from zart.errors import NotSupported, SchedulerError
from zart.ids import Randomness, SystemRandomness
from zart.records import (
    Backlog,
    BeatReply,
    Claim,
    Commit,
    Committed,
    Delivery,
    Demand,
    Event,
    Execution,
    Fate,
    Front,
    History,
    NewExecution,
    Page,
    Query,
    Started,
    WorkerBeat,
)
from zart.scheduler import TRANSACTING, Bound, Queued, Shardable, Storage, Transactional
from zart.schedulers.sharded import lists
from zart.schedulers.sharded.beats import Beats
from zart.schedulers.sharded.buckets import BUCKETS, Map, bucket_of
from zart.schedulers.sharded.claims import allot
from zart.schedulers.sharded.group import Group
from zart.schedulers.sharded.seats import Seats
from zart.schedulers.sharded.shard import Answers, Part, Shard, ask, number_of
from zart.schedulers.sharded.transact import Given, Within, transactional
from zart.status import ExecutionStatus

_BUSY = Committed(fate=Fate.BUSY)


class ShardedScheduler:
    """Several storages as one. Executions are parted among them by their ids; workers and clients serve and see all.

    An id's shard is `buckets[hash(id) % 1024]`. `migrate()` keeps that map on every shard, and none is served under another:
    the same storages must always be given in the same order. They may be of several kinds.

    A shard that cannot be reached stops its own executions and no others. Their starts, events and reads raise
    `StorageUnavailable`, and so do lists and counts, which would not be true without it. Where a start or delivery of many
    raises, the other shards have done their part: repeat it.

    The shards' clocks must agree to within a second or so: a worker goes by the slowest of them.

    Args:
        shards: the storages, not opened; they are opened and closed with this.
        buckets: the shard of each of the 1024 buckets. By default they are dealt out in turn.
        prefer: which shard a worker of this process takes from first, among what has been due for equally long. By default its
            id decides. A worker whose executions are on one shard saves in one commit what else are several.
        clock: by which shards are waited for; storage's time is their own.

    Raises:
        ValueError: no shard or too many, one that is given twice, or a map that does not fit.
        TypeError: a storage that cannot be a shard.

    Example:
        >>> async with ShardedScheduler([connect(url) for url in urls]) as scheduler:  # doctest: +SKIP
        ...     await scheduler.migrate()
    """

    def __new__(cls, shards: Sequence[Storage], **_: Any) -> Self:
        """Make one that has transactions, if all shards have."""
        kind = cls
        if cls is ShardedScheduler and shards and all(isinstance(each, Transactional) for each in shards):
            kind = cast("type[Self]", TransactionalShards)
        return object.__new__(kind)

    def __init__(
        self,
        shards: Sequence[Storage],
        *,
        buckets: Sequence[int] | None = None,
        prefer: int | None = None,
        clock: Clock | None = None,
        randomness: Randomness | None = None,
    ) -> None:
        if not 0 < len(shards) <= BUCKETS:
            raise ValueError(f"give 1 to {BUCKETS} shards, not {len(shards)}")
        if len({id(each) for each in shards}) < len(shards):
            raise ValueError("a storage is given twice; give each once")
        for number, each in enumerate(shards):
            if not isinstance(each, Shardable):
                raise TypeError(f"shard {number}, {each!r}, cannot be a shard: it has no `remember`, `recall` and `front`")
        if prefer is not None and not 0 <= prefer < len(shards):
            raise ValueError(f"prefer must be a shard from 0 to {len(shards) - 1}, not {prefer!r}")
        clock = SystemClock() if clock is None else clock
        placed = Map.even(len(shards)) if buckets is None else Map(len(shards), buckets)
        parts = [Shard(number, cast("Part", each), clock, len(shards) == 1) for number, each in enumerate(shards)]
        self._group = Group(parts, clock, placed, SystemRandomness() if randomness is None else randomness)
        self._prefer = prefer
        self._seats = Seats(len(shards))
        self._beats = Beats(self._group, self._seats)
        self._arrivals = lists.Arrivals()

    def __repr__(self) -> str:
        """Name the shards."""
        return f"ShardedScheduler({[each.storage for each in self._group.shards]!r})"

    def shard_of(self, execution_id: str) -> Storage:
        """Return the storage that an execution belongs to."""
        return self._group.home(execution_id).storage

    async def __aenter__(self) -> Self:
        """Open the shards. One that cannot be reached is tried again when it is needed.

        Raises:
            StorageUnavailable: none of them can be reached.
            SchemaMismatch: a shard has another map, or another place in it.
        """
        await self._group.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the shards."""
        await self._group.close()

    async def migrate(self) -> None:
        """Bring every shard's schema to this version, and give each its place in the map. Safe to repeat.

        Raises:
            StorageUnavailable: a shard cannot be reached.
            SchemaMismatch: a shard has another map, or executions that the map puts elsewhere.
        """
        if any(each.is_open for each in self._group.shards):
            await self._group.migrate()
        else:
            async with self:
                await self._group.migrate()

    # ---- Scheduler: one execution's shard ---------------------------------------------------------------------------

    async def start(self, new: Sequence[NewExecution]) -> Sequence[Started]:
        """Open runs."""
        answers = await self._group.each_its_own(new, lambda each: each.id, lambda shard, part: shard.start(part))
        for each, answer in zip(new, answers, strict=True):
            if answer.accepted:
                self._arrivals.note(each.id)
        return answers

    async def deliver(self, events: Sequence[Event]) -> Sequence[Delivery]:
        """Put events into mailboxes."""
        return await self._group.each_its_own(events, lambda each: each.execution_id, lambda shard, part: shard.deliver(part))

    async def cancel(self, ids: Collection[str], run: int | None = None) -> Mapping[str, tuple[ExecutionStatus, bool]]:
        """End executions from outside: their last runs, or this run of each."""
        named = list(dict.fromkeys(ids))

        async def cancelled(shard: Part, part: Sequence[str]) -> Sequence[tuple[ExecutionStatus, bool] | None]:
            found = await shard.cancel(part, run)
            return [found.get(each) for each in part]

        answers = await self._group.each_its_own(named, str, cancelled)
        return {each: answer for each, answer in zip(named, answers, strict=True) if answer is not None}

    async def commit(self, commits: Sequence[Commit]) -> Sequence[Committed]:
        """Write what workers have to say: all or nothing on each shard. On one that cannot be reached all are busy.

        Raises:
            StorageUnavailable: no shard can be reached.
        """
        places: dict[Shard, list[int]] = {}
        for index, each in enumerate(commits):
            places.setdefault(self._group.shards[number_of(each.token)], []).append(index)
        said = {
            shard: self._commit(shard, [shard.inside(commits[index]) for index in indexes])
            for shard, indexes in places.items()
            if not shard.rests
        }
        alone = len(self._group.shards) == 1
        answers: list[Committed] = [_BUSY] * len(commits)
        for shard, found in self._group.noted(await ask(said, self._group.clock), every=alone).items():
            for index, answer in zip(places[shard], found, strict=True):
                answers[index] = answer
        if commits:
            self._group.awake()
        return answers

    # ---- Scheduler: all shards --------------------------------------------------------------------------------------

    async def beat(self, beat: WorkerBeat) -> BeatReply:
        """Register or renew a worker on all shards, and take over from the dead. May come from a thread and loop of its own.

        What it holds on a shard that was not heard of for most of the lease is lost: there the lease may pass.

        Raises:
            StorageUnavailable: no shard can be reached.
        """
        return await self._beats.beat(beat)

    async def claim(self, demand: Demand) -> Sequence[Claim]:
        """Hand out what is due longest on all shards that can be reached.

        Raises:
            WorkerNotAlive: the worker must register (again) first.
            StorageUnavailable: no shard can be reached.
        """
        demands = dict.fromkeys(self._group.awake(), demand)
        if len(demands) > 1 and demand.limit > 0:
            looks = {shard: self._front(shard, demand) for shard in demands}
            fronts = self._group.noted(await ask(looks, self._group.clock), every=True)
            shards = self._group.shards
            first = bucket_of(demand.worker) % len(shards) if self._prefer is None else self._prefer
            demands = allot(demand, fronts, shards[first])
        calls = {shard: self._claim(shard, part) for shard, part in demands.items()}
        found = self._group.noted(await ask(calls, self._group.clock), every=True)
        return [shard.outside(each) for shard, claims in found.items() for each in claims]

    async def wait(self, interest: Demand | Collection[str], timeout: timedelta) -> None:
        """Return when something of interest may have happened on any shard that can be reached.

        Raises:
            StorageUnavailable: no shard that it concerns can be reached.
        """
        if isinstance(interest, Demand):
            calls = {shard: self._wait(shard, self._as_known(interest, shard), timeout) for shard in self._group.awake()}
        else:
            ids: dict[Shard, list[str]] = {}
            for each in interest:
                ids.setdefault(self._group.home(each), []).append(each)
            calls = {shard: self._wait(shard, part, timeout) for shard, part in (ids or {self._group.shards[0]: []}).items()}
        waits = {asyncio.ensure_future(call): shard for shard, call in calls.items()}
        try:
            pending = set(waits)
            while pending:
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                if any(each.exception() is None for each in done):
                    return
        finally:
            for waiting in waits:
                waiting.cancel()
        errors = {shard: wait.exception() for wait, shard in waits.items()}
        for error in errors.values():
            if not isinstance(error, SchedulerError):
                raise error or AssertionError
        self._group.noted(cast("Answers[None]", errors), every=True)

    # ---- Inspector --------------------------------------------------------------------------------------------------

    async def get(self, execution_id: str, run: int | None = None) -> Execution | None:
        """Return one run of an execution, the current one by default."""
        return await (await self._group.ready(self._group.home(execution_id))).get(execution_id, run)

    async def history(self, execution_id: str, run: int | None = None) -> History:
        """Return the records and mail of a run; empty when there is none."""
        return await (await self._group.ready(self._group.home(execution_id))).history(execution_id, run)

    async def find(self, query: Query) -> Page:
        """Return a page of executions of all shards; one after an unknown id is empty.

        Raises:
            StorageUnavailable: a shard cannot be reached.
        """
        anchor = None
        if query.after is not None:
            found = await self.get(query.after)
            if found is None:
                return Page((), more=False)
            anchor = found, self._group.home(query.after).number
        return await lists.page(query, anchor, self._group, self._arrivals)

    async def count(self, query: Query) -> Mapping[ExecutionStatus, int]:
        """Return how many executions of all shards match, by status."""
        counts: dict[ExecutionStatus, int] = {}
        for each in await self._group.all(lambda storage: storage.count(query)):
            for status, number in each.items():
                counts[status] = counts.get(status, 0) + number
        return counts

    async def backlog(self) -> Backlog:
        """Return how much is due on all shards and claimed by nobody."""

        async def backlog(storage: Part) -> Backlog:
            if not isinstance(storage, Queued):
                raise NotSupported(f"{storage!r} does not say how much is due")
            return await storage.backlog()

        found = await self._group.all(backlog)
        return Backlog(sum(each.due for each in found), max(each.oldest for each in found))

    # -----------------------------------------------------------------------------------------------------------------

    async def _commit(self, shard: Shard, commits: Sequence[Commit]) -> Sequence[Committed]:
        return await (await self._group.ready(shard)).commit(commits)

    async def _front(self, shard: Shard, demand: Demand) -> Sequence[Front]:
        return await (await self._group.ready(shard)).front(demand)

    async def _claim(self, shard: Shard, demand: Demand) -> Sequence[Claim]:
        return await (await self._group.ready(shard)).claim(self._as_known(demand, shard))

    async def _wait(self, shard: Shard, interest: Demand | Collection[str], timeout: timedelta) -> None:
        await (await self._group.ready(shard)).wait(interest, timeout)

    def _as_known(self, demand: Demand, shard: Shard) -> Demand:
        return evolve(demand, worker=self._seats.name(demand.worker, shard.number))


class TransactionalShards(ShardedScheduler):
    """The same of storages that have transactions. Each transaction belongs to one shard."""

    def bind(self, connection: Any) -> Bound:
        """Return what speaks within the transaction of a connection to one of the shards, of executions that belong there.

        It raises `TypeError` for an execution that belongs to another; `shard_of` tells where one does.
        """
        return Given(connection, self._group.home)

    @asynccontextmanager
    async def transaction(self, limit: timedelta) -> AsyncIterator[tuple[Any, Bound]]:
        """Open a transaction of its own on the shard of the execution that asks for it, see `Transactional`.

        Raises:
            NotSupported: nobody knows which execution that is.
        """
        execution_id = TRANSACTING.get(None)
        if execution_id is None and len(self._group.shards) > 1:
            raise NotSupported(
                "there are several shards; open the transaction on one of them, such as `shard_of(execution_id)`"
            )
        shard = self._group.shards[0] if execution_id is None else self._group.home(execution_id)
        await self._group.ready(shard)
        async with transactional(shard).transaction(limit) as (connection, bound):
            yield connection, Within(shard, bound, self._group.home)
