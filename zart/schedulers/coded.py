"""A storage behind a payload codec: what users' values are made of is sealed on its way in and opened on its way out.

The storage itself knows nothing of it, nor does the engine. What a worker is handed and cannot open, it must not work on: an
input that does not decode fails its execution, and an event that does not decode is passed over. So such a claim goes back into
storage as it was, with the reason, and is due again half a minute later: when the key is there, the execution goes on.
"""

import logging
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from types import TracebackType
from typing import Any, Protocol, Self, cast

from attrs import evolve

from zart.checkup import Finding
from zart.clock import SECOND, Instant
from zart.errors import NotSupported, SchedulerError, SealedPayload
from zart.payloads import PayloadCodec
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
    Front,
    History,
    Move,
    NewExecution,
    Page,
    Query,
    Started,
    Token,
    WorkerBeat,
)
from zart.scheduler import Bound, Queued, Shardable, Storage, Transactional
from zart.schedulers.sealed import Records
from zart.status import ExecutionStatus

logger: logging.Logger = logging.getLogger("zart.schedulers")

PAUSE = 30 * SECOND
"""How long an execution that cannot be opened is left alone."""


class Database(Storage, Transactional, Shardable, Protocol):
    """A SQL backend."""

    async def schema_version(self) -> int:
        """Return the schema's version."""
        ...

    async def migration_script(self) -> str:
        """Return the SQL that `migrate` would run now."""
        ...

    async def examine(self, held_for: timedelta = ...) -> Sequence[Finding]:
        """Look at the database."""
        ...


class _CodedBound:
    """What speaks within somebody's transaction, through a payload codec."""

    def __init__(self, bound: Bound, records: Records) -> None:
        self._bound = bound
        self._records = records

    async def start(self, new: Sequence[NewExecution]) -> Sequence[Started]:
        return await self._bound.start([self._records.new(each) for each in new])

    async def deliver(self, events: Sequence[Event]) -> Sequence[Delivery]:
        return await self._bound.deliver([self._records.event(each) for each in events])

    async def commit(self, commits: Sequence[Commit]) -> Sequence[Committed]:
        answers = await self._bound.commit([self._records.commit(each) for each in commits])
        return [
            evolve(answer, mail=self._records.legible(each.token.execution_id, answer.mail)) if answer.mail else answer
            for each, answer in zip(commits, answers, strict=True)
        ]


class CodedStorage:
    """A storage whose payloads go through a codec. Get it from `connect(url, payload_codec=...)` or `coded`."""

    def __init__(self, storage: Storage, codec: PayloadCodec) -> None:
        self.storage: Storage = storage
        self._records = Records(codec)
        self._now: Instant = 0

    def __repr__(self) -> str:
        """Name both."""
        return f"<{self.storage!r} through {self._records.codec!r}>"

    async def __aenter__(self) -> Self:
        """Open the storage."""
        await self.storage.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the storage."""
        await self.storage.__aexit__(kind, error, trace)

    async def migrate(self) -> None:
        """Bring the schema to this version; the payloads stay as they are."""
        await self.storage.migrate()

    # ---- Scheduler --------------------------------------------------------------------------------------------------

    async def start(self, new: Sequence[NewExecution]) -> Sequence[Started]:
        """Open runs."""
        return await self.storage.start([self._records.new(each) for each in new])

    async def beat(self, beat: WorkerBeat) -> BeatReply:
        """Register or renew a worker. New mail comes up to the first that cannot be opened."""
        reply = await self.storage.beat(beat)
        self._now = max(self._now, reply.now)
        if not reply.mail:
            return reply
        ids = {each.token.key: each.token.execution_id for each in beat.held}
        mail = {key: self._records.legible(ids[key], letters) for key, letters in reply.mail.items() if key in ids}
        return evolve(reply, mail=mail)

    async def claim(self, demand: Demand) -> Sequence[Claim]:
        """Hand out due executions; those that cannot be opened go back.

        Raises:
            WorkerNotAlive: the worker must register (again) first.
        """
        claims: list[Claim] = []
        unopened: list[tuple[Token, SealedPayload]] = []
        for claim in await self.storage.claim(demand):
            self._now = max(self._now, claim.now)
            try:
                claims.append(self._records.claim(claim))
            except SealedPayload as why:
                unopened.append((claim.token, why))
        await self._give_back(unopened)
        return claims

    async def commit(self, commits: Sequence[Commit]) -> Sequence[Committed]:
        """Write what workers have to say. An execution with mail that cannot be opened is lost to its worker, and goes back."""
        answers = await self.storage.commit([self._records.commit(each) for each in commits])
        opened: list[Committed] = []
        unopened: list[tuple[Token, SealedPayload]] = []
        for commit, answer in zip(commits, answers, strict=True):
            if not answer.mail:
                opened.append(answer)
            elif commit.move is not None and answer.fate is Fate.APPLIED:
                # It is let go; what cannot be opened is met by its next claim.
                opened.append(evolve(answer, mail=self._records.legible(commit.token.execution_id, answer.mail)))
            else:
                try:
                    mail = [self._records.letter(commit.token.execution_id, each, self._records.must) for each in answer.mail]
                    opened.append(evolve(answer, mail=mail))
                except SealedPayload as why:
                    # Left out it would withhold the timeout of its wait again and again.
                    unopened.append((commit.token, why))
                    opened.append(Committed(fate=Fate.LOST))
        await self._give_back(unopened)
        return opened

    async def deliver(self, events: Sequence[Event]) -> Sequence[Delivery]:
        """Put events into mailboxes."""
        return await self.storage.deliver([self._records.event(each) for each in events])

    async def cancel(self, ids: Collection[str], run: int | None = None) -> Mapping[str, tuple[ExecutionStatus, bool]]:
        """End executions from outside: their last runs, or this run of each."""
        return await self.storage.cancel(ids, run)

    async def wait(self, interest: Demand | Collection[str], timeout: timedelta) -> None:
        """Return when something of interest may have happened."""
        await self.storage.wait(interest, timeout)

    async def _give_back(self, unopened: Sequence[tuple[Token, SealedPayload]]) -> None:
        """Set executions aside. One that this does not reach comes back with its worker's next beats."""
        if not unopened:
            return
        moves = []
        for token, why in unopened:
            logger.warning("execution %s is set aside: %s", token.execution_id, why)
            move = Move(ExecutionStatus.WAITING, self._now + PAUSE, reason=str(why))
            moves.append(Commit(token, [], 0, move))
        try:
            await self.storage.commit(moves)
        except SchedulerError as error:  # the others, whose claims were granted in the same answer, go on
            ids = ", ".join(token.execution_id for token, _ in unopened)
            logger.warning("not set aside yet, and lost to this worker with its next beats: %s: %s", ids, error)

    # ---- Inspector --------------------------------------------------------------------------------------------------

    async def get(self, execution_id: str, run: int | None = None) -> Execution | None:
        """Return one run of an execution, the current one by default."""
        found = await self.storage.get(execution_id, run)
        return None if found is None else self._records.execution(found)

    async def history(self, execution_id: str, run: int | None = None) -> History:
        """Return the records and mail of a run; empty when there is none."""
        if run is None:
            # A record's place has its run in it.
            found = await self.storage.get(execution_id)
            if found is None:
                return History((), ())
            run = found.run
        return self._records.history(execution_id, run, await self.storage.history(execution_id, run))

    async def find(self, query: Query) -> Page:
        """Return a page of executions."""
        page = await self.storage.find(query)
        return evolve(page, executions=[self._records.execution(each) for each in page.executions])

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


class CodedDatabase(CodedStorage):
    """The same of a SQL backend."""

    storage: Database

    def bind(self, connection: Any) -> Bound:
        """Return what speaks within the transaction of a connection to the same database.

        Raises:
            TypeError: no connection, or one of another kind of database.
        """
        return _CodedBound(self.storage.bind(connection), self._records)

    @asynccontextmanager
    async def transaction(self, limit: timedelta) -> AsyncIterator[tuple[Any, Bound]]:
        """Open a transaction of its own, see `Transactional`."""
        async with self.storage.transaction(limit) as (connection, bound):
            yield connection, _CodedBound(bound, self._records)

    async def remember(self, name: str, value: str) -> str:
        """Keep a short text about the database as a whole, see `Shardable`; it is no payload."""
        return await self.storage.remember(name, value)

    async def recall(self, name: str) -> str | None:
        """Return what is kept under a name."""
        return await self.storage.recall(name)

    async def front(self, demand: Demand) -> Sequence[Front]:
        """Return what a claim would take at this moment."""
        return await self.storage.front(demand)

    async def schema_version(self) -> int:
        """Return the schema's version, 0 where there is none yet; may be asked before the storage is opened."""
        return await self.storage.schema_version()

    async def migration_script(self) -> str:
        """Return the SQL that `migrate` would run now, empty when there is nothing to do; may be asked as early."""
        return await self.storage.migration_script()

    async def examine(self, held_for: timedelta = timedelta(minutes=1)) -> Sequence[Finding]:
        """Look at the database, the way to it and the tables; see the backend."""
        return await self.storage.examine(held_for)


def coded(storage: Storage, codec: PayloadCodec) -> Storage:
    """Return a storage whose payloads go through a codec on their way in and out."""
    return (
        CodedDatabase(cast("Database", storage), codec) if isinstance(storage, Transactional) else CodedStorage(storage, codec)
    )
