"""The storage port: seven operations that a backend offers, and the rules it keeps.

The runtime decides, the scheduler stores: it opens no payload and knows no state machine beyond what is said here. The
in-memory scheduler is the specification in code; `zart.testing.contract` is the specification as tests, and the numbers below
are in their titles.

An execution may be claimed exactly when its `due_at` is set and has passed by storage's clock. `due_at` is None while it runs,
when it waits without a deadline, and after its end.

1.  `start` opens a run where the id is new, or where its last run has ended and `reuse` allows another; otherwise it says what
    it found. A start whose `start_key` any run of the id has *is* that start, whatever has become of it. The answers come in
    the order of the starts; one id twice in one call is two starts in that order.
2.  `claim` returns at most `limit` executions of the queues and tasks asked for, those due longest first, never one to two
    callers, never waiting for another caller. A worker that is not registered, was declared dead, or whose lease has passed
    gets `WorkerNotAlive`. Each claimed execution gets `fence + 1`, status running, this worker, `due_at` None, its first
    `started_at` and, if its task has one, its deadline; and comes with its input and `trace`, all its records and all its mail.
    `Claim.seen` is the last mail really carried. At most `suspects` of them have `SUSPECT` or more crashes.
3.  `commit` is atomic per call, and answers in the order of the commits. A commit whose token's fence is not the stored one, or
    whose execution is not running, is *lost*: nothing of it is applied, the others are. A record whose `seq` the run already
    has is left as it is: the first one wins. Saved outcomes reset the crash count. A move whose fence is the stored one and
    whose execution no longer runs was applied before its reply was lost: *applied* again. A move ends the worker's hold; a
    terminal status absorbs everything and sets `completed_at`.
4.  A move with `seen` parks only if the mailbox has not grown past it; otherwise the execution becomes due now, with status
    pending. A record with `seen` is withheld if the mailbox has grown past it (unless its `seq` is already there), is named in
    `Committed.withheld`, and the new mail comes back. Every reply brings the mail past the commit's `seen`.
5.  `deliver` appends to the mailbox of the execution's current run in order, ignores an `event_id` that the run has, makes a
    *waiting* execution due now, and answers recorded, duplicate, finished or unknown, in the order of the events.
6.  `cancel` ends what is not finished, raises its fence, and reports for each known id the status now true and whether this
    call did it. With `run` it means that run: one of before the last has ended, and one that was never opened is not known.
7.  `beat` renews the worker's lease and, if it is in time and comes before that lease has passed, declares dead whose lease has
    passed, or lies more than two leases in the future. Whatever runs under a worker that is not alive is taken over: fence
    raised, status pending, due now, at most `TAKEOVER` of them per beat, in id order. Each counts one crash and remembers the
    worker; but if the dead worker held a suspect, only that one counts. An execution still running five seconds past its
    deadline is taken over from a living worker too, and counts nothing. A worker declared dead learns so from its next beat,
    and may never come back under that id. With
    `held_at`, whatever runs under the living worker itself, was claimed before then and is not in `held` under its present
    fence is handed back: fence raised, status pending, due now, at most `TAKEOVER` of them per beat, in id order, and counts
    nothing.
8.  What several rows need is locked in id order.
9.  One bad row never stops the others. What cannot be written is *refused* with its reason, and nothing of that commit is
    written. What is stored and cannot be read, because it is damaged or a newer version has written it, is handed out like the
    rest, with `Claim.damage` saying what it is; a record that cannot be read keeps its `seq` there, as one of kind `BODY` that
    says nothing. A letter that cannot be read is one whose payload is no JSON, wherever mail is told. Who looks is shown all of
    it among the rest, and `Execution.damage` or `History.damage` says what it is.
10. Every operation may be repeated after a lost reply and then answers as the first time, save that a claim's executions come
    back with a later beat of their worker's that says what it holds (`held_at`), or when its lease ends.

Faults of storage itself are `StorageUnavailable` after the backend's own bounded retries; nothing is half done then.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar
from datetime import timedelta
from types import TracebackType
from typing import Any, Protocol, Self, runtime_checkable

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
    Front,
    History,
    NewExecution,
    Page,
    Query,
    Started,
    WorkerBeat,
)
from zart.status import ExecutionStatus

TAKEOVER = 100
"""How many executions one beat takes over, and how many it hands back."""

DEADLINE_GRACE = 5_000_000
"""Microseconds past its deadline after which a running execution is taken over."""


@runtime_checkable
class Scheduler(Protocol):
    """Stores executions and hands out the due ones. See the module's docstring for the rules."""

    async def start(self, new: Sequence[NewExecution]) -> Sequence[Started]:
        """Open runs."""
        ...

    async def beat(self, beat: WorkerBeat) -> BeatReply:
        """Register or renew a worker, and take over from the dead. May be called from a thread and loop of its own."""
        ...

    async def claim(self, demand: Demand) -> Sequence[Claim]:
        """Hand out due executions.

        Raises:
            WorkerNotAlive: the worker must register (again) first.
        """
        ...

    async def commit(self, commits: Sequence[Commit]) -> Sequence[Committed]:
        """Write what workers have to say."""
        ...

    async def deliver(self, events: Sequence[Event]) -> Sequence[Delivery]:
        """Put events into mailboxes."""
        ...

    async def cancel(self, ids: Collection[str], run: int | None = None) -> Mapping[str, tuple[ExecutionStatus, bool]]:
        """End executions from outside: their last runs, or this run of each."""
        ...

    async def wait(self, interest: Demand | Collection[str], timeout: timedelta) -> None:
        """Return when something of interest may have happened: work for a demand, or the end of one of these executions.

        A hint and nothing more: it may return early, and late by at most `timeout`.
        """
        ...


class Inspector(Protocol):
    """Reads what a scheduler stores, without touching it."""

    async def get(self, execution_id: str, run: int | None = None) -> Execution | None:
        """Return one run of an execution, the current one by default."""
        ...

    async def history(self, execution_id: str, run: int | None = None) -> History:
        """Return the records and mail of a run; empty when there is none."""
        ...

    async def find(self, query: Query) -> Page:
        """Return a page of executions."""
        ...

    async def count(self, query: Query) -> Mapping[ExecutionStatus, int]:
        """Return how many executions match, by status; `limit`, `offset` and `after` do not apply."""
        ...


@runtime_checkable
class Queued(Protocol):
    """A storage that knows how much is due without looking at all that it holds: for metrics."""

    async def backlog(self) -> Backlog:
        """Return how much is due and claimed by nobody."""
        ...


class Viewable(Protocol):
    """A storage that reads an execution and its history in one go, as of one moment: `zart.report.view` looks for it."""

    async def view(self, execution_id: str, run: int | None = None) -> tuple[Execution, History] | None:
        """Return one run of an execution, the current one by default, with its records and mail."""
        ...


@runtime_checkable
class Shardable(Protocol):
    """What a storage offers besides, if it may be one of the shards of a `ShardedScheduler`; see also `Query.started`."""

    async def remember(self, name: str, value: str) -> str:
        """Keep a short text about the storage as a whole, for good, and return what is kept: the first one wins."""
        ...

    async def recall(self, name: str) -> str | None:
        """Return what is kept under a name."""
        ...

    async def front(self, demand: Demand) -> Sequence[Front]:
        """Return what a claim would take at this moment, those due longest first, and take nothing."""
        ...


class Storage(Scheduler, Inspector, Protocol):
    """What every backend is: a scheduler and its inspector, opened with `async with`."""

    async def __aenter__(self) -> Self:
        """Open connections and check the schema."""
        ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close everything."""
        ...

    async def migrate(self) -> None:
        """Bring the schema to this version; safe to repeat and to run from several processes at once."""
        ...


class Bound(Protocol):
    """The part of a scheduler that can be said within somebody's transaction: it counts if that commits, and when it does."""

    async def start(self, new: Sequence[NewExecution]) -> Sequence[Started]:
        """Open runs."""
        ...

    async def deliver(self, events: Sequence[Event]) -> Sequence[Delivery]:
        """Put events into mailboxes."""
        ...

    async def commit(self, commits: Sequence[Commit]) -> Sequence[Committed]:
        """Write what workers have to say. Waits for the executions' locks, so that none is busy, and holds them to the end."""
        ...


class StoodStill(TimeoutError):
    """A transaction's time has passed while the process stood still: it was rolled back, and is to be begun again."""


TRANSACTING: ContextVar[str] = ContextVar("zart_transacting")
"""The execution that a transaction is opened for: where storage is in several places, it is opened in that execution's."""

OpenTransaction = Callable[[], AbstractAsyncContextManager[tuple[Any, Bound]]]


@runtime_checkable
class Transactional(Protocol):
    """A scheduler whose storage has transactions that users' own writes can be part of."""

    def bind(self, connection: Any) -> Bound:
        """Return what speaks within the transaction of a connection to the same database.

        Raises:
            TypeError: no connection, or one of another kind of database.
        """
        ...

    def transaction(self, limit: timedelta) -> AbstractAsyncContextManager[tuple[Any, Bound]]:
        """Open a transaction of its own: a SQLAlchemy `AsyncConnection`, and what speaks within it. It commits at the end.

        One that is idle, or holds up others, for longer than `limit` is rolled back.

        Raises:
            StorageUnavailable: it could not be opened, or nobody knows whether it was committed.
            TimeoutError: its time was up; `StoodStill` where it is known that the process stood still meanwhile.
        """
        ...
