"""The shards together: opening them, giving each its place, and asking one, several or all of them."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from attrs import define

from zart.clock import Clock
from zart.errors import SchedulerError, SchemaMismatch, StorageUnavailable, WorkerNotAlive
from zart.ids import Randomness
from zart.places import MAP
from zart.records import Query
from zart.schedulers.sharded.buckets import Map
from zart.schedulers.sharded.shard import Answers, Part, Shard, ask

T = TypeVar("T")
U = TypeVar("U")


@define(eq=False)
class Group:
    """All shards, and the map that says what is where."""

    shards: Sequence[Shard]
    clock: Clock
    _map: Map
    _randomness: Randomness

    # ---- opening ----------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Open the shards. One that cannot be reached is tried again when it is needed.

        Raises:
            StorageUnavailable: none can be reached.
            SchemaMismatch: one has another map, or another place in it.
        """
        answers = await ask({each: each.open(self._map) for each in self.shards}, self.clock)
        try:
            for shard, told in self.noted(answers, every=True, tolerant=False).items():
                if told is not None:
                    self._map = self._map if self._map.cluster else self._map.of_cluster(told)
                    self._map.check(told, shard.number, shard.storage)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Close the shards."""
        closed = await asyncio.gather(*(each.close() for each in self.shards), return_exceptions=True)
        for each in closed:
            if isinstance(each, BaseException):
                raise each

    async def migrate(self) -> None:
        """Bring every shard's schema to this version, and give each its place.

        Raises:
            StorageUnavailable: one cannot be reached.
            SchemaMismatch: one has another map, or executions that the map puts elsewhere.
        """
        for each in self.shards:
            if not each.is_open:
                await each.open(self._map)
        await self.all(lambda storage: storage.migrate(), ready=False)
        told = await self.all(lambda storage: storage.recall(MAP), ready=False)
        if told[0] is None and any(told):
            raise SchemaMismatch(f"{self.shards[0]} has no map while others have; is it the right database?")
        for shard, kept in zip(self.shards, told, strict=True):
            if kept is None and len(self.shards) > 1 and (await shard.storage.find(Query(limit=1))).executions:
                raise SchemaMismatch(f"{shard} has executions that were started without shards; begin with empty databases")
        # The first shard decides: of several who do this at once, all find the same there.
        mine = self._map.of(str(self._randomness.uuid()))
        first = await self.shards[0].storage.remember(MAP, mine.told(0))
        for each in self.shards:
            mapped = self._map.of_cluster(first)
            mapped.check(await each.storage.remember(MAP, mapped.told(each.number)), each.number, each.storage)
            each.missing = None
        self._map = self._map.of_cluster(first)

    # ---- asking -----------------------------------------------------------------------------------------------------

    def home(self, execution_id: str) -> Shard:
        """Return the shard of an id."""
        return self.shards[self._map.shard_of(execution_id)]

    def awake(self) -> list[Shard]:
        """Return the shards that are worth asking.

        Raises:
            StorageUnavailable: there is none.
        """
        found = [each for each in self.shards if not each.rests]
        if not found:
            raise StorageUnavailable("no shard can be reached; look at the servers and the network")
        return found

    async def ready(self, shard: Shard) -> Part:
        """Return a shard's storage; one that could not be reached so far is tried again."""
        return await shard.ready(self._map)

    def noted(self, answers: Answers[T], *, every: bool = False, tolerant: bool = True) -> dict[Shard, T]:
        """Return the good answers, having taken note of who failed.

        Raises:
            SchedulerError: `every` shard that was asked has failed, or one for another reason than that it cannot be reached,
                unless that is to be tolerated.
        """
        good: dict[Shard, T] = {}
        failures: list[SchedulerError] = []
        for shard, answer in answers.items():
            if not isinstance(answer, SchedulerError):
                good[shard] = answer
                continue
            failures.append(answer)
            if not isinstance(answer, WorkerNotAlive):
                shard.failed(answer)
            if not tolerant and not isinstance(answer, StorageUnavailable):
                raise answer
        if every and failures and not good:
            raise next((each for each in failures if isinstance(each, WorkerNotAlive)), failures[0])
        return good

    async def all(self, call: Callable[[Part], Awaitable[T]], *, ready: bool = True) -> Sequence[T]:
        """Ask all shards, in their order.

        Raises:
            SchedulerError: one has failed.
        """

        async def one(shard: Shard) -> T:
            return await call(await self.ready(shard) if ready else shard.storage)

        return await whole([one(each) for each in self.shards])

    async def each_its_own(
        self, items: Sequence[T], id_of: Callable[[T], str], call: Callable[[Part, Sequence[T]], Awaitable[Sequence[U]]]
    ) -> Sequence[U]:
        """Ask each shard about the items whose ids are there; the answers come in the order of the items.

        Raises:
            SchedulerError: one has failed; the others have done their part.
        """
        places: dict[Shard, list[int]] = {}
        for index, each in enumerate(items):
            places.setdefault(self.home(id_of(each)), []).append(index)

        async def one(shard: Shard, part: Sequence[int]) -> Mapping[int, U]:
            answers = await call(await self.ready(shard), [items[index] for index in part])
            return dict(zip(part, answers, strict=True))

        if len(places) == 1:
            ((shard, part),) = places.items()
            return list((await one(shard, part)).values())
        found: dict[int, U] = {}
        for answer in await whole([one(shard, part) for shard, part in places.items()]):
            found |= answer
        return [found[index] for index in range(len(items))]


async def whole(work: Sequence[Awaitable[T]]) -> list[T]:
    """Await all, and raise only when none is left that still does something."""
    answers = await asyncio.gather(*work, return_exceptions=True)
    for each in answers:
        if isinstance(each, BaseException):
            raise each
    return [each for each in answers if not isinstance(each, BaseException)]
