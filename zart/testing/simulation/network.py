"""What lies between a process and the storage: latency, lost requests, lost replies, outages, and hints that may not come.

A request that was sent is no longer its sender's: it arrives when the sender has been killed, is paused, or has given up on it.
What arrives is one transaction. So a lost request, a lost reply and a late arrival are three things that look alike from afar.
"""

import asyncio
import random
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from contextvars import Context
from datetime import timedelta
from typing import Any, TypeVar

from attrs import define

from zart.clock import SECOND, Micros
from zart.errors import StorageUnavailable
from zart.records import (
    BeatReply,
    Claim,
    Commit,
    Committed,
    Delivery,
    Demand,
    Event,
    Execution,
    History,
    NewExecution,
    Page,
    Query,
    Started,
    WorkerBeat,
)
from zart.status import ExecutionStatus
from zart.testing.simulation.loop import Process, SimulationLoop
from zart.testing.simulation.ports import ProcessClock
from zart.testing.simulation.store import WatchedScheduler
from zart.testing.simulation.trace import Trace

T = TypeVar("T")


@define
class Faults:
    """How bad the network is right now; probabilities and seconds."""

    lost_request: float = 0.0
    lost_reply: float = 0.0
    latency: float = 0.003
    tail: float = 0.0
    """How many requests and replies are slow."""
    slow: float = 5.0
    """How slow those are at most."""
    patience: float = 5.0
    """How long a caller waits for an answer."""
    lost_hint: float = 0.0
    late_hint: float = 0.0
    crash_at_call: float = 0.0
    """How many of a worker's calls it does not survive, or sleeps through."""


class Network:
    """Carries calls to one storage."""

    def __init__(self, loop: SimulationLoop, storage: WatchedScheduler, trace: Trace, chance: random.Random) -> None:
        self.faults: Faults = Faults()
        self.is_down: bool = False
        self.cut_off: set[str] = set()
        """Processes that do not reach the storage."""
        self.strike: Callable[[Process, float], None] | None = None
        """What becomes of a process that is struck at a call."""
        self._loop = loop
        self._storage = storage
        self._trace = trace
        self._chance = chance
        self._hearers: dict[int, _Hearer] = {}
        self._numbers = 0
        self._ringing: Micros | None = None

    def delay(self) -> Micros:
        """Draw how long a message is on its way."""
        faults, chance = self.faults, self._chance
        if chance.random() < faults.tail:
            self._trace.hit("slow message")
            return int(chance.uniform(0.1, faults.slow) * SECOND)
        return 1 + int(chance.expovariate(1 / faults.latency) * SECOND)

    async def call(self, process: Process, clock: ProcessClock, name: str, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Carry out one operation of a process.

        Raises:
            StorageUnavailable: no answer came; the operation may have been carried out, or may be yet.
        """
        faults, chance = self.faults, self._chance
        lost_request, lost_reply = chance.random() < faults.lost_request, chance.random() < faults.lost_reply
        there, back, at_once = self.delay(), self.delay(), chance.random() < 0.5
        if process.name.startswith("worker") and chance.random() < faults.crash_at_call and self.strike is not None:
            self.strike(process, chance.random())
        self._trace.hits[name] += 1
        answered: asyncio.Future[T] = self._loop.create_future()

        def refuse(why: str) -> None:
            if not answered.done():
                answered.set_exception(StorageUnavailable(f"{name}: {why}"))

        def reply(answer: T, error: Exception | None) -> None:
            if answered.done():
                self._trace.hit("reply after its caller gave up", name)
            elif error is None:
                answered.set_result(answer)
            else:
                answered.set_exception(error)

        def arrive() -> None:
            if self.is_down or process.name in self.cut_off:
                self._trace.hit("request met an outage", name)
                self._later(back, refuse, "the storage is down")
                return
            answer, error = carry_out(work())
            self._arrived(process, name, given_up=answered.done())
            if lost_reply:
                self._trace.hit(f"reply lost: {name}")
                if at_once:
                    self._later(back, refuse, "the connection was closed")
            else:
                self._later(back, reply, answer, error)

        patience = clock.call_later(faults.patience, lambda: refuse("no answer in time"))
        if lost_request:
            self._trace.hit(f"request lost: {name}")
            if at_once:
                self._later(there, refuse, "the connection was closed")
        else:
            self._later(there, arrive)
        try:
            return await answered
        finally:
            patience.cancel()

    async def hint(self, process: Process, clock: ProcessClock, interest: Demand | Collection[str], timeout: timedelta) -> None:
        """Return when something of interest has happened, or late, or only when the time is up."""
        faults, chance = self.faults, self._chance
        lost, late, delay = chance.random() < faults.lost_hint, chance.random() < faults.late_hint, self.delay()
        if late:
            delay += int(chance.uniform(0, 3) * SECOND)
        came = self._loop.create_future()

        def come() -> None:
            if not came.done():
                came.set_result(None)

        expiry = clock.call_later(timeout.total_seconds(), come)
        self._numbers += 1
        number = self._numbers
        if lost or self.is_down or process.name in self.cut_off:
            self._trace.hit("hint lost")
        else:
            if late:
                self._trace.hit("hint late")
            self._hearers[number] = _Hearer(interest, lambda: self._later(delay, come))
            self._ring()
        try:
            await came
        finally:
            expiry.cancel()
            self._hearers.pop(number, None)

    def _arrived(self, process: Process, name: str, *, given_up: bool) -> None:
        if given_up:
            self._trace.hit("request arrived after its caller gave up", name)
        if not process.alive:
            self._trace.hit("request arrived after its sender died", name)
        elif process.paused:
            self._trace.hit("request arrived while its sender was paused", name)
        self._ring()

    def _ring(self) -> None:
        """Tell those whose interest has come true; look again when the next one will."""
        soonest: Micros | None = None
        for number, hearer in list(self._hearers.items()):
            due_in = self._storage.due_in(hearer.interest)
            if due_in is None:
                continue
            if due_in <= 0:
                del self._hearers[number]
                hearer.tell()
            elif soonest is None or due_in < soonest:
                soonest = due_in
        if soonest is not None:
            at = self._loop.now + soonest
            if self._ringing is None or self._ringing <= self._loop.now or at < self._ringing:
                self._ringing = at
                self._later(soonest, self._ring)

    def _later(self, delay: Micros, act: Callable[..., None], *arguments: Any) -> None:
        self._loop.at(self._loop.now + delay, act, *arguments, context=Context())


@define(eq=False)
class _Hearer:
    interest: Demand | Collection[str]
    tell: Callable[[], None]


def carry_out(work: Coroutine[Any, Any, Any]) -> tuple[Any, Exception | None]:
    """Run a coroutine that waits for nothing to its end; return its answer or its error."""
    try:
        work.send(None)
    except StopIteration as done:
        return done.value, None
    except Exception as error:  # noqa: BLE001 # whatever it is, it travels to the caller
        return None, error
    raise RuntimeError("an operation of the storage in memory has to wait for something")


class Connection:
    """The storage as one process sees it."""

    def __init__(self, network: Network, storage: WatchedScheduler, process: Process, clock: ProcessClock) -> None:
        self._network = network
        self._storage = storage
        self._process = process
        self._clock = clock

    async def _call(self, name: str, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        return await self._network.call(self._process, self._clock, name, work)

    async def start(self, new: Sequence[NewExecution]) -> Sequence[Started]:
        """Open runs."""
        return await self._call("start", lambda: self._storage.start(new))

    async def beat(self, beat: WorkerBeat) -> BeatReply:
        """Register or renew a worker."""
        return await self._call("beat", lambda: self._storage.beat(beat))

    async def claim(self, demand: Demand) -> Sequence[Claim]:
        """Hand out due executions."""
        return await self._call("claim", lambda: self._storage.claim(demand))

    async def commit(self, commits: Sequence[Commit]) -> Sequence[Committed]:
        """Write what workers have to say."""
        return await self._call("commit", lambda: self._storage.commit(commits))

    async def deliver(self, events: Sequence[Event]) -> Sequence[Delivery]:
        """Put events into mailboxes."""
        return await self._call("deliver", lambda: self._storage.deliver(events))

    async def cancel(self, ids: Collection[str], run: int | None = None) -> Mapping[str, tuple[ExecutionStatus, bool]]:
        """End executions from outside."""
        return await self._call("cancel", lambda: self._storage.cancel(ids, run))

    async def wait(self, interest: Demand | Collection[str], timeout: timedelta) -> None:
        """Return when something of interest may have happened."""
        await self._network.hint(self._process, self._clock, interest, timeout)

    async def get(self, execution_id: str, run: int | None = None) -> Execution | None:
        """Return one run of an execution."""
        return await self._call("get", lambda: self._storage.get(execution_id, run))

    async def history(self, execution_id: str, run: int | None = None) -> History:
        """Return the records and mail of a run."""
        return await self._call("history", lambda: self._storage.history(execution_id, run))

    async def find(self, query: Query) -> Page:
        """Return a page of executions."""
        return await self._call("find", lambda: self._storage.find(query))

    async def count(self, query: Query) -> Mapping[ExecutionStatus, int]:
        """Return how many executions match, by status."""
        return await self._call("count", lambda: self._storage.count(query))
