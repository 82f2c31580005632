"""A scheduler that is looked at: who calls the port how often, and when what happens."""

import asyncio
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta

from zart.clock import SystemClock
from zart.records import (
    BeatReply,
    Claim,
    Commit,
    Committed,
    Delivery,
    Demand,
    Event,
    NewExecution,
    Started,
    WorkerBeat,
)
from zart.scheduler import Scheduler
from zart.status import ExecutionStatus


class Watched:
    """Passes every call on to a scheduler and counts calls, claims and the executions that were let go, by status."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self.calls: Counter[str] = Counter()
        self.let_go: Counter[ExecutionStatus] = Counter()
        self.claimed: int = 0
        self.claimed_at: float = 0.0
        """When the last claim that brought something came back."""
        self._changed = asyncio.Event()

    async def until(self, status: ExecutionStatus, number: int) -> None:
        """Wait until so many executions have been let go with this status."""
        while self.let_go[status] < number:
            self._changed.clear()
            await self._changed.wait()

    async def until_idle(self) -> None:
        """Wait until everything that was claimed has been let go."""
        while self.claimed > self.let_go.total():
            self._changed.clear()
            await self._changed.wait()

    async def start(self, new: Sequence[NewExecution]) -> Sequence[Started]:
        """Open runs."""
        self.calls["start"] += 1
        return await self._scheduler.start(new)

    async def beat(self, beat: WorkerBeat) -> BeatReply:
        """Renew a worker."""
        self.calls["beat"] += 1
        return await self._scheduler.beat(beat)

    async def claim(self, demand: Demand) -> Sequence[Claim]:
        """Hand out due executions."""
        self.calls["claim"] += 1
        claims = await self._scheduler.claim(demand)
        if claims:
            self.claimed += len(claims)
            self.claimed_at = SystemClock.monotonic()
        return claims

    async def commit(self, commits: Sequence[Commit]) -> Sequence[Committed]:
        """Write what workers have to say."""
        self.calls["commit"] += 1
        answers = await self._scheduler.commit(commits)
        moved = Counter(commit.move.status for commit in commits if commit.move is not None)
        if moved:
            self.let_go += moved
            self._changed.set()
        return answers

    async def deliver(self, events: Sequence[Event]) -> Sequence[Delivery]:
        """Put events into mailboxes."""
        self.calls["deliver"] += 1
        return await self._scheduler.deliver(events)

    async def cancel(self, ids: Collection[str], run: int | None = None) -> Mapping[str, tuple[ExecutionStatus, bool]]:
        """End executions from outside."""
        self.calls["cancel"] += 1
        return await self._scheduler.cancel(ids, run)

    async def wait(self, interest: Demand | Collection[str], timeout: timedelta) -> None:
        """Wait for a hint."""
        self.calls["wait"] += 1
        await self._scheduler.wait(interest, timeout)
