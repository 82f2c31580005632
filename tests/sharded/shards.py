"""Shards that can be away, and ids that belong to each of them."""

import asyncio
from itertools import count, islice

from zart import InMemoryScheduler, ShardedScheduler
from zart.errors import StorageUnavailable
from zart.testing import FakeClock


class Shaky(InMemoryScheduler):
    """A storage in memory that can be out of reach, or never answer."""

    away = False
    silent = False

    async def _reach(self):
        if self.silent:
            await asyncio.Event().wait()
        if self.away:
            raise StorageUnavailable("nobody is there")

    async def __aenter__(self):
        await self._reach()
        return await super().__aenter__()


def _shaky(name):
    async def operation(self, *arguments, **options):
        await self._reach()
        return await getattr(super(Shaky, self), name)(*arguments, **options)

    return operation


OPERATIONS = ("start", "beat", "claim", "commit", "deliver", "cancel", "wait", "get", "history", "find", "count", "backlog")
for _name in (*OPERATIONS, "remember", "recall", "front"):
    setattr(Shaky, _name, _shaky(_name))


class Town:
    """Three shards in memory, their clock, and one scheduler over all of them, which waits by a clock of its own."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.patience = FakeClock()
        self.shards = [Shaky(clock=self.clock) for _ in range(3)]
        self.scheduler = self.another()

    def another(self, **options):
        """Return another scheduler over the same shards, as another process has it."""
        return ShardedScheduler(self.shards, clock=self.patience, **options)

    def ids(self, shard, number):
        """Return so many ids of one shard."""
        names = (f"x{each}" for each in count())
        found = (each for each in names if self.scheduler.shard_of(each) is self.shards[shard])
        return list(islice(found, number))

    def advance(self, seconds):
        """Let time pass, everywhere."""
        self.clock.advance(seconds)
        self.patience.advance(seconds)
