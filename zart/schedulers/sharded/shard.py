"""One of several storages: its number, whether it can be reached, and how its keys are told from those of the others."""

import asyncio
import logging
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from attrs import define, evolve, field

from zart.clock import Clock
from zart.errors import SchedulerError, SchemaMismatch, StorageUnavailable
from zart.places import MAP
from zart.records import Claim, Commit, Mail, Token
from zart.scheduler import Shardable, Storage
from zart.schedulers.sharded.buckets import BUCKETS, Map

logger: logging.Logger = logging.getLogger("zart.schedulers")

R = TypeVar("R")

REST = 5.0
"""Seconds for which a shard that failed is left alone, unless a heartbeat finds it well before."""
PATIENCE = 3.0
"""Seconds that a shard may take longer than the first to answer, where all are asked."""


class Part(Storage, Shardable, Protocol):
    """A storage that may be a shard."""


@define(eq=False)
class Shard:
    """A storage, and its place among the others."""

    number: int
    storage: Part
    clock: Clock
    alone: bool
    """Whether there is no other."""
    is_open: bool = field(default=False, init=False)
    missing: str | None = field(default=None, init=False)
    """Why nothing may be stored here yet."""
    _rests_until: float = field(default=float("-inf"), init=False)
    _home: asyncio.AbstractEventLoop | None = field(default=None, init=False)
    _opening: bool = field(default=False, init=False)

    def __repr__(self) -> str:
        """Name it."""
        return f"shard {self.number}, {self.storage!r}"

    # ---- opening ----------------------------------------------------------------------------------------------------

    async def open(self, placed: Map) -> str | None:
        """Open the storage, and return the map that it keeps, if it has been given one.

        Raises:
            StorageUnavailable: it cannot be reached.
            SchemaMismatch: it has another map, or another place in it.
        """
        self._home, self._opening = asyncio.get_running_loop(), True
        try:
            await self.storage.__aenter__()
            try:
                told = await self._told(placed)
            except BaseException:
                await self.storage.__aexit__(None, None, None)
                raise
            self.is_open = True
            return told
        finally:
            self._opening = False

    async def close(self) -> None:
        """Close the storage, if it was opened."""
        if self.is_open:
            self.is_open = False
            await self.storage.__aexit__(None, None, None)

    async def ready(self, placed: Map) -> Part:
        """Return the storage; one that could not be reached so far is tried again.

        Raises:
            StorageUnavailable: it cannot be reached.
            SchemaMismatch: it has no map yet, or another.
        """
        if not self.is_open:
            if self._home is not asyncio.get_running_loop() or self._opening:
                raise StorageUnavailable(f"{self} could not be reached yet")
            await self.open(placed)
            logger.warning("%r is there", self)
        if self.missing is not None:
            raise SchemaMismatch(f"{self}, {self.missing}; run migrate() of the ShardedScheduler")
        return self.storage

    async def _told(self, placed: Map) -> str | None:
        try:
            told = await self.storage.recall(MAP)
        except SchemaMismatch:
            self.missing = None  # without tables it says so itself, and better
            return None
        self.missing = "has not been given its place" if told is None else None
        if told is not None:
            (placed if placed.cluster else placed.of_cluster(told)).check(told, self.number, self.storage)
        return told

    # ---- how it is --------------------------------------------------------------------------------------------------

    @property
    def rests(self) -> bool:
        """Whether it failed just now, and need not be waited for."""
        return not self.alone and self.clock.monotonic() < self._rests_until

    def failed(self, error: BaseException) -> None:
        """Take note that it could not be reached."""
        if not self.rests:
            logger.warning("%r is left alone for a while, the others go on: %s", self, error)
        self._rests_until = self.clock.monotonic() + REST

    def well(self) -> None:
        """Take note that it can be reached."""
        if self.rests:
            logger.warning("%r is back", self)
        self._rests_until = float("-inf")

    # ---- keys -------------------------------------------------------------------------------------------------------

    def key(self, key: int) -> int:
        """Return the key that tells a run of this shard from those of others."""
        return key * BUCKETS + self.number

    def outside(self, claim: Claim) -> Claim:
        """Return a claim as it is handed on."""
        return evolve(claim, token=evolve(claim.token, key=self.key(claim.token.key)))

    def inside(self, commit: Commit) -> Commit:
        """Return a commit as the shard knows its token."""
        return Commit(own(commit.token), commit.steps, commit.seen, commit.move)

    def mail(self, mail: Mapping[int, Sequence[Mail]]) -> dict[int, Sequence[Mail]]:
        """Return mail by the keys that it is handed on by."""
        return {self.key(key): letters for key, letters in mail.items()}


def number_of(token: Token) -> int:
    """Return the number of the shard that a run is on."""
    return token.key % BUCKETS


def own(token: Token) -> Token:
    """Return a token as its shard gave it."""
    return Token(token.execution_id, token.run, token.key // BUCKETS, token.fence)


Answers = dict[Shard, R | SchedulerError]


async def ask(questions: Mapping[Shard, Coroutine[Any, Any, R]], clock: Clock) -> Answers[R]:
    """Ask several shards at once; one that cannot be reached, or answers long after the first, has an error for an answer.

    What a shard was asked too long ago is broken off: every operation may be repeated after a lost reply.
    """
    tasks = {asyncio.ensure_future(question): shard for shard, question in questions.items()}
    try:
        if tasks:
            await _patiently(tasks, clock)
    finally:
        for task in tasks:
            task.cancel()  # does nothing to one that is done
    answers: Answers[R] = {}
    for task, shard in tasks.items():
        if not task.done():
            answers[shard] = StorageUnavailable(f"{shard} did not answer in time")
        elif isinstance(error := task.exception(), SchedulerError):
            answers[shard] = error
        elif error is not None:
            raise error
        else:
            answers[shard] = task.result()
    return answers


async def _patiently(tasks: Iterable["asyncio.Future[Any]"], clock: Clock) -> None:
    _, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    if not pending:
        return
    enough = asyncio.Event()
    timer = clock.call_later(PATIENCE, enough.set)
    waiting = asyncio.ensure_future(enough.wait())
    try:
        while pending and not waiting.done():
            await asyncio.wait({*pending, waiting}, return_when=asyncio.FIRST_COMPLETED)
            pending = {each for each in pending if not each.done()}
    finally:
        timer.cancel()
        waiting.cancel()
