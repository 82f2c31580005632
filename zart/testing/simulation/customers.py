"""The clients of a simulation: they start executions, send letters, cancel, and read how it ends.

What a client was told is kept outside the simulation: a client may be killed, what was acknowledged to it may not be forgotten.
"""

import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from attrs import Factory, define

from zart.client import DurableScheduler
from zart.clock import pause
from zart.errors import ExecutionAlreadyExists, ExecutionFinished, ExecutionNotFound, StorageUnavailable, WaitTimedOut
from zart.handle import ExecutionHandle
from zart.records import Execution
from zart.testing.simulation.ports import ProcessClock
from zart.testing.simulation.program import EVENTS
from zart.testing.simulation.trace import Trace
from zart.testing.simulation.weather import Weather

T = TypeVar("T")

KINDS = ("plain", "plain", "plain", "retried", "compensated", "hurried", "hurried-compensated")
LONGEST = 3600.0


@define
class Order:
    """What a client knows of one run that it has started."""

    id: str
    run: int
    kind: str
    program: int
    sent: list[str] = Factory(list)
    """The ids of the letters that were acknowledged, in the order of sending."""
    cancelled: bool = False
    """Whether a cancel of the client's was acknowledged as having ended it."""
    reads: list[tuple[str, str | None]] = Factory(list)
    """Status and result, as read after the end."""


class Customer:
    """One client process and its errands."""

    def __init__(
        self, name: str, client: DurableScheduler, clock: ProcessClock, chance: random.Random, weather: Weather, trace: Trace
    ) -> None:
        self._name = name
        self._client = client
        self._clock = clock
        self._chance = chance
        self._weather = weather
        self._trace = trace
        self.orders: list[Order] = []
        self.keys: dict[str, set[tuple[str, int]]] = {}
        """By start key, the runs that the client was told it has opened."""
        self.done: bool = False

    async def live(self) -> None:
        """Do everything, one execution after the other; what is left when the process dies is left."""
        chance = self._chance
        for number in range(self._weather.starts):
            await pause(self._clock, chance.uniform(0, 5))
            kind = "poison" if chance.random() < self._weather.poison else chance.choice(KINDS)
            execution_id, again = f"{self._name}-{number}", chance.random() < self._weather.again
            order = await self._start(execution_id, kind)
            await self._attend(order)
            if again:
                await self._attend(await self._start(execution_id, kind))
        self.done = True

    async def _start(self, execution_id: str, kind: str) -> Order:
        chance = self._chance
        program, key = chance.randrange(10**9), f"{execution_id} {chance.randrange(10**9)}"
        delay = chance.choice((None, None, 1, 4))

        async def start() -> ExecutionHandle[object]:
            return await self._client.start(execution_id, kind, program, delay=delay, start_key=key)

        handle = await self._insist(start)
        self.keys.setdefault(key, set()).add((execution_id, handle.run))
        if chance.random() < self._weather.twice:
            self._trace.hit("start repeated")
            self.keys[key].add((execution_id, (await self._insist(start)).run))
        order = Order(execution_id, handle.run, kind, program)
        self.orders.append(order)
        return order

    async def _attend(self, order: Order) -> None:
        chance = self._chance
        for number in range(chance.randint(0, self._weather.letters)):
            await pause(self._clock, chance.choice((0, 0, 1, 3, 10)) * chance.random())
            if not await self._send(order, number):
                break
        if chance.random() < self._weather.cancels:
            await pause(self._clock, chance.uniform(0, 10))
            if await self._insist(lambda: self._client.cancel(order.id, run=order.run)):
                self._trace.hit("execution cancelled")
                order.cancelled = True
        while True:
            try:
                await self._insist(lambda: self._client.ended(order.id, LONGEST, run=order.run))
                break
            except WaitTimedOut:
                continue
        for _ in range(3):
            order.reads.append(_shown(await self._insist(lambda: self._client.ended(order.id, 0, run=order.run))))

    async def _send(self, order: Order, number: int) -> bool:
        event, event_id = self._chance.choice(EVENTS), f"{order.id}/{order.run}#{number}"

        async def send() -> object:
            return await self._client.offer_event(order.id, event, event_id, event_id=event_id, run=order.run)

        try:
            await self._insist(send)
            order.sent.append(event_id)
            if self._chance.random() < self._weather.twice:
                self._trace.hit("letter sent twice")
                await self._insist(send)
        except ExecutionFinished:
            return False
        return True

    async def _insist(self, call: Callable[[], Awaitable[T]]) -> T:
        """Call until there is an answer."""
        while True:
            try:
                return await call()
            except StorageUnavailable:
                await pause(self._clock, 0.1 + self._chance.random())
            except (ExecutionNotFound, ExecutionAlreadyExists) as error:
                self._trace.violated("I8", f"{self._name} was told: {error}")
                raise


def _shown(execution: Execution) -> tuple[str, str | None]:
    return str(execution.status), execution.result
