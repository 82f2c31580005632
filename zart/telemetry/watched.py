"""A storage that tells watchers what passes it: the port's seven operations, and nothing inside of a backend or the engine.

Whoever is not watched pays nothing: a worker, a client or a server that is given the storage itself knows nothing of this.
What is said within a transaction of the caller's (`bind`) is not told: whether it counts is known to the caller alone.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from types import TracebackType
from typing import Any, Self

from zart.clock import Clock, SystemClock
from zart.errors import NotSupported
from zart.observe import Observer
from zart.records import (
    Backlog,
    BeatReply,
    Claim,
    Commit,
    Committed,
    Delivery,
    Demand,
    Event,
    Execution,
    Fate,
    History,
    NewExecution,
    Page,
    Query,
    Started,
    WorkerBeat,
)
from zart.report import view
from zart.scheduler import Bound, Queued, Storage, Transactional
from zart.status import ExecutionStatus
from zart.telemetry.health import Health
from zart.telemetry.watcher import Holding, Said, Watcher
from zart.traceparent import Trace

logger: logging.Logger = logging.getLogger("zart.telemetry")


class Watched:
    """A storage in place of another one; `watched` makes it."""

    def __init__(self, storage: Storage, watchers: Sequence[Watcher], clock: Clock) -> None:
        self.storage = storage
        self.watchers: tuple[Watcher, ...] = tuple(watchers)
        self.clock = clock
        self.health: Health = Health(clock)
        """Whether the workers of this process get at their work."""
        self.observer: Observer | None = next((each.observer for each in watchers if each.observer is not None), None)
        """Told of every call of a step's function by workers on this storage."""
        tracing = [each for each in watchers if each.trace is not None]
        self.trace: Trace | None = partial(_starter, tracing) if tracing else None
        """Says under which `traceparent` clients on this storage start something."""
        self._tells_cancelled = any(type(each).cancelled is not Watcher.cancelled for each in watchers)
        self._held: dict[int, Holding] = {}

    # ---- the port ---------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Open the storage."""
        await self.storage.__aenter__()
        self._tell(lambda each: each.opened())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self._tell(lambda each: each.closed())
        await self.storage.__aexit__(kind, error, trace)

    async def migrate(self) -> None:
        """Bring its schema to this version."""
        await self.storage.migrate()

    async def start(self, new: Sequence[NewExecution]) -> Sequence[Started]:
        """Open runs."""
        answers = await self.storage.start(new)
        self._tell(lambda each: each.started(new, answers))
        return answers

    async def beat(self, beat: WorkerBeat) -> BeatReply:
        """Register or renew a worker."""
        reply = await self.storage.beat(beat)
        if not reply.alive:
            self.health.gone(beat.worker)
            self._tell(lambda each: each.declared_dead(beat.worker))
        elif beat.leaving:
            self.health.gone(beat.worker)
        elif beat.register:
            self.health.joined(beat.worker)
        if beat.leaving or not reply.alive:
            for key, holding in tuple(self._held.items()):
                if holding.worker == beat.worker:
                    self._drop(key, holding)
        for token in reply.lost:
            holding_ = self._held.get(token.key)
            if holding_ is not None and holding_.claim.token == token:
                self._drop(token.key, holding_)
        return reply

    async def claim(self, demand: Demand) -> Sequence[Claim]:
        """Hand out due executions."""
        self.health.claiming(demand.worker)
        began = self.clock.monotonic()
        try:
            claims = await self.storage.claim(demand)
        except Exception as error:
            self.health.failed(demand.worker, error)
            raise
        now = self.clock.monotonic()
        self.health.claimed(demand.worker)
        holdings = [Holding(claim, demand.worker, now) for claim in claims]
        # What comes for a worker that was declared dead meanwhile, nobody will hold.
        for each in holdings if self.health.knows(demand.worker) else ():
            key = each.claim.token.key
            if (before := self._held.get(key)) is not None:
                self._drop(key, before)  # let go, and claimed again before that was known here
            self._held[key] = each
        self._tell(lambda each: each.claimed(holdings, now - began))
        return claims

    async def commit(self, commits: Sequence[Commit]) -> Sequence[Committed]:
        """Write what workers have to say."""
        self._tell(lambda each: each.committing(commits))
        began = self.clock.monotonic()
        answers = await self.storage.commit(commits)
        self._saved(commits, answers, self.clock.monotonic() - began)
        return answers

    async def deliver(self, events: Sequence[Event]) -> Sequence[Delivery]:
        """Put events into mailboxes."""
        answers = await self.storage.deliver(events)
        self._tell(lambda each: each.delivered(answers))
        return answers

    async def cancel(self, ids: Collection[str], run: int | None = None) -> Mapping[str, tuple[ExecutionStatus, bool]]:
        """End executions from outside."""
        answers = await self.storage.cancel(ids, run)
        ended = [execution_id for execution_id, (_, by_this) in answers.items() if by_this]
        if ended and self._tells_cancelled:
            found = await self._read(ended, run)
            self._tell(lambda each: each.cancelled(found))
        return answers

    async def wait(self, interest: Demand | Collection[str], timeout: timedelta) -> None:
        """Return when something of interest may have happened."""
        await self.storage.wait(interest, timeout)

    # ---- reading ----------------------------------------------------------------------------------------------------

    async def get(self, execution_id: str, run: int | None = None) -> Execution | None:
        """Return one run of an execution."""
        return await self.storage.get(execution_id, run)

    async def history(self, execution_id: str, run: int | None = None) -> History:
        """Return the records and mail of a run."""
        return await self.storage.history(execution_id, run)

    async def view(self, execution_id: str, run: int | None = None) -> tuple[Execution, History] | None:
        """Return one run of an execution with its history."""
        return await view(self.storage, execution_id, run)

    async def find(self, query: Query) -> Page:
        """Return a page of executions."""
        return await self.storage.find(query)

    async def count(self, query: Query) -> Mapping[ExecutionStatus, int]:
        """Return how many executions match, by status."""
        return await self.storage.count(query)

    async def backlog(self) -> Backlog:
        """Return how much is due and claimed by nobody.

        Raises:
            NotSupported: the storage does not say.
        """
        if not isinstance(self.storage, Queued):
            raise NotSupported("this storage does not say how much is due")
        return await self.storage.backlog()

    # ---- telling ----------------------------------------------------------------------------------------------------

    async def _read(self, ids: Sequence[str], run: int | None) -> Sequence[Execution]:
        """Return those of the executions that can be read: what was done is done, whether or not it can be told."""
        found = await asyncio.gather(*(self.storage.get(each, run) for each in ids), return_exceptions=True)
        for execution_id, one in zip(ids, found, strict=True):
            if isinstance(one, BaseException):
                logger.warning("execution %s was cancelled, and watchers are not told: %s", execution_id, one)
        return [one for one in found if isinstance(one, Execution)]

    def _saved(self, commits: Sequence[Commit], answers: Sequence[Committed], seconds: float) -> None:
        said: list[Said] = []
        for commit, answer in zip(commits, answers, strict=False):
            holding = self._held.get(commit.token.key)
            said.append((holding if holding is not None and holding.claim.token == commit.token else None, commit, answer))
        self._tell(lambda each: each.committed(said, seconds))
        for speaker, commit, answer in said:
            if speaker is None:
                continue
            if answer.fate is Fate.LOST:
                self._drop(commit.token.key, speaker)
            elif answer.fate is Fate.APPLIED and commit.move is not None:
                self._drop(commit.token.key, speaker, commit)

    def _drop(self, key: int, holding: Holding, commit: Commit | None = None) -> None:
        # The heartbeat's thread may have been quicker: only one of the two finds it still held.
        if self._held.get(key) is holding and self._held.pop(key, None) is not None:
            move = None if commit is None else commit.move
            self._tell(lambda each: each.let_go(holding, move, self.clock.monotonic() - holding.since))

    def _tell(self, told: Callable[[Watcher], object]) -> None:
        for each in self.watchers:
            try:
                told(each)
            except Exception:
                logger.exception("%s could not take what it was told", type(each).__name__)


def _starter(tracing: Sequence[Watcher]) -> str | None:
    """Return under which `traceparent` something is started, as the first that knows says."""
    for each in tracing:
        try:
            if each.trace is not None and (told := each.trace()) is not None:
                return told
        except Exception:
            logger.exception("%s could not say under which trace something is started", type(each).__name__)
    return None


class _Within:
    """What speaks within a transaction of a watched storage: told when that has been committed."""

    def __init__(self, bound: Bound) -> None:
        self._bound = bound
        self.said: list[tuple[Sequence[Commit], Sequence[Committed]]] = []

    async def start(self, new: Sequence[NewExecution]) -> Sequence[Started]:
        return await self._bound.start(new)

    async def deliver(self, events: Sequence[Event]) -> Sequence[Delivery]:
        return await self._bound.deliver(events)

    async def commit(self, commits: Sequence[Commit]) -> Sequence[Committed]:
        answers = await self._bound.commit(commits)
        self.said.append((commits, answers))
        return answers


class WatchedTransactional(Watched):
    """A watched storage that has transactions."""

    def bind(self, connection: Any) -> Bound:
        """Return what speaks within the transaction of a connection to the same database."""
        return self._transactional.bind(connection)

    @asynccontextmanager
    async def transaction(self, limit: timedelta) -> AsyncIterator[tuple[Any, Bound]]:
        """Open a transaction of its own."""
        began = self.clock.monotonic()
        async with self._transactional.transaction(limit) as (connection, bound):
            within = _Within(bound)
            yield connection, within
        for commits, answers in within.said:
            self._tell(lambda each, commits=commits: each.committing(commits))  # type: ignore[misc] # bound now, not when called
            self._saved(commits, answers, self.clock.monotonic() - began)

    @property
    def _transactional(self) -> Transactional:
        assert isinstance(self.storage, Transactional)  # noqa: S101 # `watched` has looked
        return self.storage


def watched(storage: Storage, *watchers: Watcher, clock: Clock | None = None) -> Watched:
    """Return a storage that tells watchers what passes it; give it to workers, clients and servers in place of the other.

    Example:
        >>> storage = watched(connect("sqlite:///zart.db"), Metrics(), Traces())  # doctest: +SKIP
        >>> async with storage, Worker(storage, handlers): ...  # doctest: +SKIP
    """
    kind = WatchedTransactional if isinstance(storage, Transactional) else Watched
    return kind(storage, watchers, clock or SystemClock())
