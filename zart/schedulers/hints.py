"""Waking those who wait for something to happen in a scheduler of the same process, whatever loop or thread they wait on."""

import asyncio
import contextlib
import contextvars
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator

from zart.records import Demand

Topic = tuple[str, ...]
"""What somebody waits for."""


class Waiter:
    """One call of `wait`: an event on the loop that it was made on, and whether its time is up."""

    def __init__(self, topics: Iterable[Topic]) -> None:
        self.topics: tuple[Topic, ...] = tuple(topics)
        self.expired: bool = False
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()
        self._called = False

    def call(self) -> None:
        """Wake it up, from any thread; once is enough until it has come to `rest` again."""
        if not self._called:
            self._called = True
            with contextlib.suppress(RuntimeError):  # its loop was closed: nobody is left to be woken
                # In a context of its own: who happens to make it happen has no part in the waking.
                self._loop.call_soon_threadsafe(self._event.set, context=contextvars.Context())

    def expire(self) -> None:
        """End its wait; called on its own loop."""
        self.expired = True
        self._event.set()

    def rest(self) -> None:
        """Be ready for the next call: whatever happened up to here, it now looks for itself."""
        self._called = False
        if not self.expired:
            self._event.clear()

    async def called(self) -> None:
        """Return after the next call since the last `rest`, or when the time is up."""
        await self._event.wait()


class Hints:
    """Who waits for what. Its owner's lock guards it: who checks and then rests under the lock misses no call."""

    def __init__(self) -> None:
        self._waiters: dict[Topic, set[Waiter]] = defaultdict(set)

    def enter(self, waiter: Waiter) -> None:
        """Let a waiter hear of its topics."""
        for topic in waiter.topics:
            self._waiters[topic].add(waiter)

    def leave(self, waiter: Waiter) -> None:
        """Let a waiter hear no more."""
        for topic in waiter.topics:
            self._waiters[topic].discard(waiter)
            if not self._waiters[topic]:
                del self._waiters[topic]

    def call(self, *topic: str) -> None:
        """Wake everybody who waits for this."""
        for waiter in self._waiters.get(topic, ()):
            waiter.call()

    def anybody(self) -> bool:
        """Whether anybody waits at all."""
        return bool(self._waiters)


def topics(interest: Demand | Collection[str]) -> Iterator[Topic]:
    """Yield what to be called for, where storage tells that something is due but not of which task."""
    if not isinstance(interest, Demand):
        yield from (("end", each) for each in interest)
        return
    yield "worker", interest.worker
    yield ("change",)
    if interest.limit > 0:
        yield ("due",)
