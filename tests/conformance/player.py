"""Plays a scenario on a backend with the real engine: its body, its story, in one weather; and compares what came of it."""

import asyncio
from collections import Counter
from collections.abc import Awaitable
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any

from attrs import evolve

from tests.conformance.backends import Ground
from tests.conformance.history import lines
from tests.conformance.judge import expect, expect_reason, judge
from tests.conformance.language import (
    INTERRUPTING,
    Advance,
    AtOnce,
    AtSave,
    Cancel,
    Cancelled,
    Completed,
    Crash,
    CrashIn,
    Deploy,
    Down,
    Event,
    Failed,
    Jump,
    Leave,
    LoseReply,
    Reopen,
    Scenario,
    Sees,
    Start,
    Takeover,
)
from tests.conformance.line import Broken, Faults, Office, Weather, Witness, WorkerLine
from tests.conformance.stage import Stage
from zart import ExecutionHandle, ExecutionStatus, Registry, StorageUnavailable, WorkerConfig, ZartError
from zart.durations import to_timedelta
from zart.records import Query
from zart.report import DurableExecutionStatus
from zart.worker import Worker

CONFIG = WorkerConfig(lease="3s", heartbeat_interval="1s", max_crashes=1000)
"""A short lease, so that deaths cost little time; and deaths beside the story are none of the scenario's."""
ROUNDS = 200
"""So many deaths, timers and pauses a play may take until it is taken for endless."""
PATIENCE = 10
"""Seconds that a worker may take to learn that what it holds is another's."""
_LIVE = Query((ExecutionStatus.PENDING, ExecutionStatus.WAITING, ExecutionStatus.RUNNING), limit=1000)


def weathers(scenario: Scenario) -> list[Weather]:
    """Return what a scenario is played in."""
    calm = not scenario.interruptions or any(isinstance(word, INTERRUPTING) for word in scenario.flat)
    return [Weather.CALM, Weather.REPEATS if calm else Weather.STORM]


class Play:
    """One scenario on one backend in one weather."""

    def __init__(self, scenario: Scenario, ground: Ground, weather: Weather) -> None:
        self.scenario = scenario
        self.ground = ground
        self.weather = weather
        self.faults = Faults(weather)
        self.witness = Witness()
        self.witness.started = self._started
        self.noted: list[Any] = []
        """What the body's functions have done to the world."""
        number, start = ground.next_play()
        self.id = f"{scenario.id}/{number}"
        self.begins = start
        config = scenario.config or CONFIG
        if weather is Weather.STORM:
            config = evolve(config, max_crashes=1000)
        self.stage = Stage(
            scenario,
            self,
            lambda: WorkerLine(ground.storage, self.faults, self.witness),
            start=start,
            config=config,
            storage=lambda clock: Office(ground.storage, self.faults),
        )
        ground.wrist.clock = self.stage.clock
        self.handle: ExecutionHandle[Any] | None = None
        self.copies: list[ExecutionHandle[Any]] = []
        """Further executions of the same."""
        self.deaths: Counter[tuple[str, int]] = Counter()
        self._keys = 0

    # ---- for bodies that look around --------------------------------------------------------------------------------

    @property
    def client(self) -> Any:
        """A client, for steps that talk to other executions."""
        return self.stage.client

    def span(self, length: str) -> timedelta:
        """Return a length of time."""
        return to_timedelta(length)

    def note(self, what: Any) -> Any:
        """Do something to the world, and return it."""
        self.noted.append(what)
        return what

    # ---- the play ---------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Play it.

        Raises:
            Broken: it has not come to what the scenario says.
        """
        async with self.stage:
            try:
                await self._prepare()
                for word in self.scenario.words:
                    await self._say(word)
                    await self._settle()
                if isinstance(self.scenario.end, Completed | Failed | Cancelled):
                    await self._to_the_end()
                await judge(self)
            finally:
                await self._sweep()

    async def _prepare(self) -> None:
        """Set what happens by itself at its time."""
        for word in self.scenario.words:
            match word:
                case AtSave(number, what, when):
                    times = self.faults.before if when == "before" else self.faults.after
                    times[number] = partial(self._at_save, what)
                case Takeover(save):
                    self.faults.before[save] = self._stall
                case CrashIn(step, attempt, times_):
                    self.deaths[step, attempt] = times_

    async def _at_save(self, what: Any, line: WorkerLine) -> None:
        self.faults.hit.append(str(what))
        match what:
            case Crash():
                await line.die()
            case LoseReply():
                self.faults.lost["commit"] += 1
            case _:
                await self._say(what)

    async def _stall(self, line: WorkerLine) -> None:
        self.faults.hit.append("stalled")
        await line.stall()

    def _started(self, name: str, attempt: int) -> None:
        if self.deaths[name, attempt] > 0:
            self.deaths[name, attempt] -= 1
            self.faults.hit.append(f"died in {name}")
            self.stage.line.dead.set()

    async def _say(self, word: Any) -> None:
        match word:
            case AtOnce(words):
                for each in words:
                    await self._say(each)
            case Start():
                await self._start(word)
            case Event(name, payload, event_id, answer):
                sending = self.client.offer_event(self.id, name, payload, event_id=event_id or f"{name}{self._key()}")
                expect(f"event {name}", answer, await _answer(sending))
            case Cancel(answer):
                await self._cancel(answer)
            case Advance(to):
                await self._advance(to)
            case Takeover(_, meanwhile):
                await self._take_over(meanwhile)
            case Sees():
                await self._look(word)
            case Crash() | Leave() | Deploy() | Reopen():
                await self._replace_worker(word)
            case LoseReply(call):
                self.faults.lost[call] += 1
            case Down(calls, kinds):
                self.faults.down.update(dict.fromkeys(kinds, calls))
            case Jump(seconds):
                self.stage.clock.jump(timedelta(seconds=seconds))

    async def _cancel(self, answer: bool | str) -> None:
        before = await self.ground.storage.get(self.id)
        expect("cancel", str(answer), await _answer(self.client.cancel(self.id)))
        after = await self.ground.storage.get(self.id)
        if before is not None and after is not None:
            # Else what its worker still says could pass for what was saved before.
            expect("a token that has grown", after.status is not before.status, after.fence > before.fence)

    async def _look(self, word: Sees) -> None:
        record = await self.record()
        expect("status", word.status, str(record.status))
        if word.waits_for is not None:
            expect("waits for", word.waits_for, tuple(wait.name for wait in record.waiting_for))
        expect_reason(word.reason, record.reason)

    async def _replace_worker(self, word: Crash | Leave | Deploy | Reopen) -> None:
        stage = self.stage
        match word:
            case Crash():
                await stage.replace()
            case Reopen():
                await stage.kill()
                await self.ground.reopen()
                stage.scheduler = stage.client.scheduler = Office(self.ground.storage, self.faults)
                await stage.restart()
            case Deploy(body, options):
                stage.registry = Registry([self.scenario.handler(self, body, options or None)])
                await self._relieve()
            case Leave():
                await self._relieve()

    def _key(self) -> int:
        self._keys += 1
        return self._keys

    async def _start(self, word: Start) -> None:
        data = self.scenario.data if word.data is None else word.data
        handler = self.scenario.handler(self)
        key = f"{self.id}:{word.key or self._key()}"
        options = {"reuse": word.reuse, "delay": word.delay, "queue": word.queue, "start_key": key}
        for copy in range(1, word.times):
            other = options | {"start_key": f"{key}+{copy}"}
            self.copies.append(await self.client.start_for(handler, f"{self.id}+{copy}", data, **other))
        try:
            try:
                self.handle = await self.client.start_for(handler, self.id, data, **options)
            except StorageUnavailable:  # as a client does whose call has failed
                self.handle = await self.client.start_for(handler, self.id, data, **options)
        except ZartError as error:
            expect("start", word.refused, type(error).__name__)
        else:
            expect("start", word.refused, None)

    async def record(self) -> DurableExecutionStatus:
        """Return the execution's record."""
        return await self.client.status(self.id)  # type: ignore[no-any-return] # the client is any

    async def _relieve(self) -> None:
        """Stop the worker in good order and begin another."""
        await self.stage.worker.leave()
        await self.stage.kill()
        self.stage.worker = self.stage._new_worker()
        await self.stage.worker.join()

    # ---- letting things happen --------------------------------------------------------------------------------------

    async def _settle(self) -> None:
        """Let everything happen that can happen without time passing, however many workers die over it."""
        for _ in range(ROUNDS):
            line = self.stage.line
            rest = asyncio.ensure_future(self.stage.run_to_idle())
            ends = [asyncio.ensure_future(each.wait()) for each in (line.dead, line.stalled, self.faults.refused)]
            await asyncio.wait((rest, *ends), return_when=asyncio.FIRST_COMPLETED)
            for each in ends:
                each.cancel()
            if line.dead.is_set() or line.stalled.is_set():
                rest.cancel()
                await asyncio.wait((rest,))
                if line.stalled.is_set():
                    return
                await self.stage.replace()
            elif self.faults.refused.is_set():
                self.faults.refused.clear()
                await self._patience(rest)
            else:
                await rest
                return
        raise Broken("it does not come to rest")

    async def _patience(self, rest: "asyncio.Future[None]") -> None:
        """Let the time pass in which the engine waits before it asks a storage again that was away."""
        while not rest.done():
            await asyncio.wait((rest,), timeout=0.005)
            self.stage.clock.advance("1s")
            with suppress(StorageUnavailable):
                await self.stage.worker.beat()  # as its thread does meanwhile; else it may begin nothing
        with suppress(StorageUnavailable):
            await rest

    async def _advance(self, to: str) -> None:
        """Let time pass up to a moment, stopping at everything that is due on the way."""
        target = self.begins + to_timedelta(to)
        clock = self.stage.clock
        while (due := await self.stage.next_due()) is not None and due <= target:
            clock.advance(max(timedelta(0), due - clock.now()))
            await self._settle()
            if self.stage.line.stalled.is_set():
                return
        clock.advance(max(timedelta(0), target - clock.now()))

    async def _to_the_end(self) -> None:
        for _ in range(ROUNDS):
            record = await self.record()
            if record.status.is_terminal:
                return
            if record.reason is not None and record.reason.startswith("the engine met"):
                raise Broken(record.reason)
            due = await self.stage.next_due()
            if due is None and record.status is ExecutionStatus.RUNNING:
                due = self.stage.clock.now() + timedelta(seconds=1)  # the next sign of life brings back what nobody holds
            if due is None:
                raise Broken(f"it is {record.status} for ever: {record.reason}, waiting for {record.waiting_for}")
            self.stage.clock.advance(max(timedelta(0), due - self.stage.clock.now()))
            await self._settle()
        raise Broken(f"it does not come to an end: {await self.record()}")

    async def _take_over(self, meanwhile: str) -> None:
        """Let the stalled worker's lease run out, another one work, and the first wake up."""
        stage = self.stage
        first, line = stage.worker, stage.line
        if not line.stalled.is_set():
            await self._settle()
        if not line.stalled.is_set():
            raise Broken("the worker never came to the save that it was to stall in")
        if meanwhile == "running":
            self.faults.before[self.faults.saves + 1] = self._stall
        stage.worker = stage._new_worker()
        stage.clock.advance(stage.config.lease + timedelta(seconds=1))
        await stage.worker.join()
        await stage.worker.beat()
        await self._settle()
        before = await self._stored()
        line.gate.set()
        await self._lets_go(first)
        expect("what is stored, after the first worker's write", before, await self._stored())
        first.abandon()
        if meanwhile == "running":
            stage.line.stalled.clear()
            stage.line.gate.set()
            await self._settle()

    async def _stored(self) -> list[str]:
        storage = self.ground.storage
        return [*lines(await storage.history(self.id)), str(await storage.get(self.id))]

    async def _lets_go(self, worker: Worker) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                while worker.runs:
                    worker._slot.clear()  # set when a run ends
                    await worker._slot.wait()
        except TimeoutError as error:
            raise Broken("the first worker still believes to hold it") from error

    async def _sweep(self) -> None:
        """Leave nothing behind that a later play could stumble over."""
        page = (await self.ground.storage.find(_LIVE)).executions
        if page:
            await self.ground.storage.cancel([execution.id for execution in page])


async def _answer(call: Awaitable[Any]) -> str:
    try:
        return str(await call)
    except ZartError as error:
        return type(error).__name__
