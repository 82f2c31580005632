"""Between the workers of a play and its storage: where saves are counted, replies get lost, and lines are cut."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Sequence
from enum import Enum
from typing import Any, Self

from zart.errors import StorageUnavailable
from zart.records import BeatReply, Claim, Commit, Committed, Demand, Event, Execution, Fate, NewExecution, Started, WorkerBeat
from zart.replay import body_record
from zart.scheduler import Storage, Transactional
from zart.status import Phase, StepKind


class Weather(Enum):
    """What a play goes through beside its story."""

    CALM = "undisturbed"
    REPEATS = "storage is told everything twice, as after a lost reply"
    STORM = "that too, and the worker dies before and after every save"


class Broken(AssertionError):
    """A play has not come to what its scenario says."""


class Witness:
    """Sees every save and every call of a step's function, and that the promises hold which no scenario need repeat.

    A step whose outcome is saved never runs again, unless a failed attempt of the body has reopened it. What is handed to a
    body is the same each time. The token of an execution only grows.
    """

    def __init__(self) -> None:
        self.starts: Counter[tuple[str, str]] = Counter()
        self.calls: Counter[tuple[str, str]] = Counter()
        """The calls that have come to something saved."""
        self.problems: list[str] = []
        self.started: Callable[[str, int], None] = lambda name, attempt: None
        self._saved: dict[tuple[str, str], int] = {}
        self._handed: dict[tuple[str, str], str] = {}
        self._runs: dict[str, int] = {}
        self._fences: dict[str, int] = {}

    def step_started(self, execution_id: str, name: str, attempt: int) -> None:
        """See a function about to be called."""
        self.starts[execution_id, name] += 1
        if (execution_id, name) in self._saved:
            self.problems.append(f"step {name!r} ran again after its outcome was saved")
        self.started(name, attempt)

    def handed_over(self, execution_id: str, name: str, value: Any, *_: object) -> None:
        """See an outcome reach the body."""
        shown = f"{type(value).__name__} {value!r}"
        first = self._handed.setdefault((execution_id, name), shown)
        if first != shown:
            self.problems.append(f"{name!r} first gave {first}, and {shown} on replay")

    def claimed(self, claims: Sequence[Claim]) -> None:
        """See tokens given."""
        for claim in claims:
            token = claim.token
            if token.fence <= self._fences.get(token.execution_id, -1):
                self.problems.append(f"fence {token.fence} was given after {self._fences[token.execution_id]}")
            self._fences[token.execution_id] = token.fence
            if self._runs.setdefault(token.execution_id, token.run) != token.run:  # a new run is a new life
                self._runs[token.execution_id] = token.run
                self._forget(token.execution_id)

    def saved(self, commits: Sequence[Commit], answers: Sequence[Committed]) -> None:
        """See what was saved."""
        for commit, answer in zip(commits, answers, strict=True):
            if answer.fate is not Fate.APPLIED:
                continue
            who = commit.token.execution_id
            for record in commit.steps:
                if record.kind is StepKind.BODY:
                    self._body(who, record.phase, body_record(record) if record.phase is Phase.ATTEMPT else {})
                elif record.seq not in answer.withheld and record.phase is not Phase.OPENED:
                    self.calls[who, record.name] = max(self.calls[who, record.name], record.attempts)
                    if record.phase is Phase.OUTCOME:
                        self._saved[who, record.name] = record.seq

    def _body(self, who: str, phase: Phase, told: dict[str, Any]) -> None:
        if phase is Phase.OUTCOME:
            self._forget(who)  # on_failure has names of its own
        for name in [name for (each, name), seq in self._saved.items() if each == who and seq in told.get("reopened", ())]:
            self._reopen((who, name))

    def _reopen(self, key: tuple[str, str]) -> None:
        self._saved.pop(key)
        self._handed.pop(key, None)
        self.starts[key] -= self.calls.pop(key, 0)  # its attempts are counted anew

    def _forget(self, who: str) -> None:
        for key in [key for key in self._saved if key[0] == who]:
            self._reopen(key)
        for key in [key for key in self._handed if key[0] == who]:
            self._handed.pop(key)


class Faults:
    """What is to go wrong in a play, and where it has got to."""

    def __init__(self, weather: Weather) -> None:
        self.weather = weather
        self.saves = 0
        """How many times a worker has begun to save."""
        self.before: dict[int, Callable[[WorkerLine], Awaitable[None]]] = {}
        self.after: dict[int, Callable[[WorkerLine], Awaitable[None]]] = {}
        self.lost: Counter[str] = Counter()
        """Replies to be lost, by call."""
        self.down: Counter[str] = Counter()
        """Calls to be refused, by call."""
        self.hit: list[str] = []
        """The faults that have come true."""
        self.refused = asyncio.Event()

    def refuse(self, call: str) -> None:
        """Raise if storage is down for this call.

        Raises:
            StorageUnavailable: it is.
        """
        if self.down[call] > 0:
            self.down[call] -= 1
            self.hit.append(f"{call} refused")
            self.refused.set()
            raise StorageUnavailable("it is down")

    def lose(self, call: str) -> None:
        """Raise if the reply to this call is to be lost.

        Raises:
            StorageUnavailable: it is.
        """
        if self.lost[call] > 0:
            self.lost[call] -= 1
            self.hit.append(f"reply to {call} lost")
            self.refused.set()
            raise StorageUnavailable("the reply was lost")


class Office:
    """Storage as the client and the harness know it; in any weather but calm it is told everything twice."""

    def __init__(self, storage: Storage, faults: Faults) -> None:
        self._storage = storage
        self._faults = faults
        if isinstance(storage, Transactional):  # looked up on the instance, where the engine asks for it
            self.bind = storage.bind
            self.transaction = storage.transaction

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    async def __aenter__(self) -> Self:
        """Do nothing: the storage is open, and stays so."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Do nothing."""

    async def migrate(self) -> None:
        """Do nothing."""

    async def start(self, new: Sequence[NewExecution]) -> Sequence[Started]:
        """Start."""
        started: Sequence[Started] = await self._said("start", new)
        return started

    async def deliver(self, events: Sequence[Event]) -> Any:
        """Deliver; a repetition answers "duplicate", which is of no interest."""
        return await self._said("deliver", events, first=True)

    async def cancel(self, ids: Collection[str], run: int | None = None) -> Any:
        """Cancel; a repetition says that it was not the one."""
        return await self._said("cancel", ids, run, first=True)

    async def get(self, execution_id: str, run: int | None = None) -> Execution | None:
        """Look."""
        return await self._storage.get(execution_id, run)

    async def _said(self, call: str, *arguments: Any, first: bool = False) -> Any:
        self._faults.refuse(call)
        said = getattr(self._storage, call)
        answer = await said(*arguments)
        if self._faults.weather is not Weather.CALM:
            again = await said(*arguments)
            answer = answer if first else again
        self._faults.lose(call)
        return answer


class WorkerLine(Office):
    """One worker's line to storage."""

    def __init__(self, storage: Storage, faults: Faults, witness: Witness) -> None:
        super().__init__(storage, faults)
        self._witness = witness
        self.gate: asyncio.Event = asyncio.Event()
        """Set while the line is open; a stalled worker hears and says nothing."""
        self.gate.set()
        self.stalled: asyncio.Event = asyncio.Event()
        self.dead: asyncio.Event = asyncio.Event()

    async def die(self) -> None:
        """Cut the line for ever, in the middle of a call.

        Raises:
            CancelledError: the player has seen it and buried the worker.
        """
        self.dead.set()
        await asyncio.get_running_loop().create_future()

    async def stall(self) -> None:
        """Hold the line until the gate is opened."""
        self.gate.clear()
        self.stalled.set()
        await self.gate.wait()

    async def beat(self, beat: WorkerBeat) -> BeatReply:
        """Beat."""
        await self._open()
        self._faults.refuse("beat")
        reply = await self._storage.beat(beat)
        self._faults.lose("beat")
        return reply

    async def claim(self, demand: Demand) -> Sequence[Claim]:
        """Claim."""
        await self._open()
        self._faults.refuse("claim")
        claims = await self._storage.claim(demand)
        self._witness.claimed(claims)
        if claims:
            self._faults.lose("claim")
        return claims

    async def commit(self, commits: Sequence[Commit]) -> Sequence[Committed]:
        """Save."""
        await self._open()
        faults = self._faults
        faults.refuse("commit")
        faults.saves += 1
        number = faults.saves
        deaths = faults.weather is Weather.STORM
        if deaths and number % 2:
            await self.die()
        if number in faults.before:
            await faults.before.pop(number)(self)
        answers = await self._save(commits)
        if faults.weather is not Weather.CALM:
            again = await self._save(commits)
            if [answer.fate for answer in again] != [answer.fate for answer in answers]:
                self._witness.problems.append(f"said twice, a save is {answers[0].fate} and then {again[0].fate}")
            answers = again
        self._witness.saved(commits, answers)
        if deaths:
            await self.die()
        if number in faults.after:
            await faults.after.pop(number)(self)
        faults.lose("commit")
        return answers

    async def _save(self, commits: Sequence[Commit]) -> Sequence[Committed]:
        # The engine would say what is busy again with its next save, and nobody could tell any more which number that is.
        while True:
            answers = await self._storage.commit(commits)
            if all(answer.fate is not Fate.BUSY for answer in answers):
                return answers
            await asyncio.sleep(0)

    async def _open(self) -> None:
        if self.dead.is_set():
            await asyncio.get_running_loop().create_future()
        await self.gate.wait()
