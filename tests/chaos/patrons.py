"""A client process of the long storms: patrons that start voyages, send them news, cancel some, and read what comes of them.

Each call is noted before it is made and when its answer has come. What was not answered is repeated, with the same id and key,
until it is: a patron never gives up, but its process may be killed.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from attrs import define, field

from tests.chaos.ledger import Quill
from tests.chaos.voyages import NAME
from zart import DurableScheduler, ExecutionFinished, StorageUnavailable, WaitTimedOut

T = TypeVar("T")
VERBS = ("step", "step", "linger", "sync", "flaky", "both", "book", "nap", "rest", "news", "news", "greedy")
PATRONS = 10
AGAIN = 0.2
CANCELLED, DOOMED, FAINTING = 0.05, 0.08, 0.01


def words_of(chance: random.Random) -> list[str]:
    """Return what a voyage shall do."""
    words = [f"{chance.choice(VERBS)}:{number}" for number in range(chance.randrange(3, 9))]
    draw = chance.random()
    if draw < DOOMED:
        words.append("doom:9")
    elif draw < DOOMED + FAINTING:
        words.insert(chance.randrange(len(words)), "faint:9")
    return words


def fingerprint(status: Any) -> list[Any]:
    """Return what a reader keeps of a result, to compare it with what others read."""
    return [str(status.status), status.result]


@define(eq=False)
class Patrons:
    """The patrons of one process."""

    client: DurableScheduler
    quill: Quill
    name: str
    chance: random.Random
    stopping: asyncio.Event = field(factory=asyncio.Event)
    _number: int = 0

    async def work(self) -> None:
        """Go on until told to stop; then let what is begun come to its end."""
        async with asyncio.TaskGroup() as group:
            for _ in range(PATRONS):
                group.create_task(self._live())

    async def _live(self) -> None:
        while not self.stopping.is_set():
            self._number += 1
            execution_id = f"{self.name}-{self._number:05}"
            words = words_of(self.chance)
            cancels = self.chance.random() < CANCELLED
            await self.told(
                "start", execution_id, words, lambda i=execution_id, w=words: self.client.start(i, NAME, w, start_key=i)
            )
            await self.send(execution_id, words, 0)
            if cancels:
                await self.told("cancel", execution_id, None, lambda i=execution_id: self.client.cancel(i))
            status = await self._until(execution_id, lambda i=execution_id: self.client.wait(i, "20s"))
            self.quill.note("read", execution_id, value=fingerprint(status))

    async def send(self, execution_id: str, words: list[str], first: int) -> None:
        """Send the news that a voyage waits for, from a number on; the next only when the last is acknowledged."""
        for number in range(first, sum(word.startswith("news") for word in words)):
            await asyncio.sleep(self.chance.uniform(0, 0.3))
            await self.told(
                "send",
                execution_id,
                number,
                lambda number=number: self.client.offer_event(execution_id, "news", number, event_id=f"news {number}"),
            )

    async def told(self, what: str, execution_id: str, value: Any, call: Callable[[], Awaitable[Any]]) -> None:
        """Make a call until it is answered, and note both."""
        self.quill.note(f"{what}?", execution_id, value=value)
        answer = await self._until(execution_id, call)
        self.quill.note(f"{what}!", execution_id, value=answer if isinstance(answer, bool) else value)

    async def _until(self, execution_id: str, call: Callable[[], Awaitable[T]]) -> T | str:
        while True:
            try:
                return await call()
            except ExecutionFinished:
                return "finished"
            except WaitTimedOut:
                continue
            except StorageUnavailable as error:
                self.quill.note("unanswered", execution_id, value=str(error)[:300])
                await asyncio.sleep(AGAIN)
