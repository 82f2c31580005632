"""What the tests of the contract are made of: the scheduler under test, and short ways to the states that they start from."""

# ruff: noqa: S101 (asserts are the point)

import asyncio
from abc import abstractmethod
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping
from itertools import count
from typing import Any, TypeVar

import pytest
import pytest_asyncio

from zart.clock import SECOND, Clock, Instant, Micros, SystemClock, instant
from zart.records import (
    Claim,
    Commit,
    Committed,
    Delivery,
    Demand,
    Event,
    Execution,
    Held,
    Move,
    NewExecution,
    StepRecord,
    WorkerBeat,
)
from zart.scheduler import Storage
from zart.status import ExecutionStatus, Phase, StepKind
from zart.testing.clock import FakeClock

T = TypeVar("T")

LEASE: Micros = 15 * SECOND
LONG: Micros = 30 * 24 * 3600 * SECOND
"""A lease that outlives every test but those about leases."""

HOSTILE = (
    "",
    "nul \x00 and \x01",
    "quotes ' \" ` ''",
    "'; DROP TABLE executions; --",
    "percent %s %(name)s {0} $1 :name ? \\ \\n",
    "emoji 🦊 and marks a\u0301 \u202e \ufeff",
    " spaces around \t\r\n",
    '{"b":-0.0,"a":1,"a":1e400}',
    "x" * 2**20,
    "\U0010ffff" * 2**16,
)
"""Payloads that some storage has been known to change or refuse."""

NAMES = (
    *("a", "A", "á", "a\u0301", "Á", "a ", " a", "a  ", "\uff41", "ß", "ss", "SS", "\u0131", "i", "I", "İ"),
    *("0", "00", "null", "NULL", "None", "a'b", 'a"b', "a`b", "a\\b", "a%b", "a_b", "axb", "a;--", "a,b", "{a,b}", "a\u00a0"),
    *("🦊", "🦊🦊", "x" * 255, "🦊" * 255),
)
"""Ids, names and keys, no two of which are the same."""

_keys = count(1)


class Scene:
    """Makes the scheduler and the clock of each test."""

    pytestmark: pytest.MarkDecorator = pytest.mark.asyncio

    @abstractmethod
    async def make(self, clock: Clock) -> Storage:
        """Return a scheduler on an empty storage of its own, not yet opened, that goes by this clock."""
        raise NotImplementedError

    @pytest.fixture
    def clock(self) -> FakeClock:
        """Return a clock that stands still."""
        return FakeClock()

    @pytest_asyncio.fixture
    async def scheduler(self, clock: FakeClock) -> AsyncIterator[Storage]:
        """Yield the opened and migrated scheduler."""
        async with await self.make(clock) as scheduler:
            await scheduler.migrate()
            yield scheduler


def now(clock: FakeClock) -> Instant:
    """Return the clock's time as an instant."""
    return instant(clock.now())


def new(execution_id: str = "a", task: str = "t", **options: Any) -> NewExecution:
    """Return a start with a key of its own."""
    options.setdefault("start_key", f"key-{next(_keys)}")
    return NewExecution(execution_id, task, options.pop("payload", "input"), **options)


def demand(
    worker: str = "w",
    tasks: Mapping[str, Micros | None] | None = None,
    *,
    queues: tuple[str, ...] = ("default",),
    limit: int = 1000,
    suspects: int = 1000,
) -> Demand:
    """Return a demand for everything of task t in the default queue."""
    return Demand(worker, queues, {"t": None} if tasks is None else tasks, limit, suspects)


def beat(worker: str = "w", *, lease: Micros = LONG, held: Iterable[Held] = (), **options: Any) -> WorkerBeat:
    """Return a worker's beat."""
    return WorkerBeat(worker, lease, ("default",), options.pop("tasks", ("t",)), tuple(held), **options)


def event(execution_id: str = "a", event_id: str = "e1", **options: Any) -> Event:
    """Return an event."""
    return Event(execution_id, options.pop("name", "news"), options.pop("payload", "fresh"), event_id, **options)


def outcome(seq: int, payload: str | None = "value", **options: Any) -> StepRecord:
    """Return the outcome of a step."""
    return StepRecord(seq, f"step {seq}", StepKind.STEP, Phase.OUTCOME, payload=payload, **options)


def completed(payload: str | None = "output") -> Move:
    """Return the move of an execution that is done."""
    return Move(ExecutionStatus.COMPLETED, payload=payload)


def waiting(due_at: Instant | None = None, **options: Any) -> Move:
    """Return the move of an execution that parks."""
    return Move(ExecutionStatus.WAITING, due_at, **options)


async def register(scheduler: Storage, *workers: str, lease: Micros = LONG) -> None:
    """Register workers, without declaring anybody dead."""
    for worker in workers or ("w",):
        assert (await scheduler.beat(beat(worker, lease=lease, register=True, in_time=False))).alive


async def running(
    scheduler: Storage, *ids: str, worker: str = "w", lease: Micros = LONG, task: str = "t", **options: Any
) -> list[Claim]:
    """Start executions of a task and let a worker claim all that is due of it; the claims come in the order of the ids."""
    await register(scheduler, worker, lease=lease)
    await scheduler.start([new(each, task, **options) for each in ids])
    claims = {claim.token.execution_id: claim for claim in await scheduler.claim(demand(worker, {task: None}))}
    assert set(claims) == set(ids)
    return [claims[each] for each in ids]


async def claim(scheduler: Storage, worker: str = "w") -> Claim:
    """Claim the one execution that is due."""
    (only,) = await scheduler.claim(demand(worker))
    return only


async def commit(
    scheduler: Storage, claim: Claim, *steps: StepRecord, move: Move | None = None, seen: int | None = None
) -> Committed:
    """Commit for one execution; by default with the mail known that came with the claim."""
    (only,) = await scheduler.commit([Commit(claim.token, list(steps), claim.seen if seen is None else seen, move)])
    return only


async def deliver(scheduler: Storage, *events: Event) -> None:
    """Deliver events that nothing stands against."""
    assert list(await scheduler.deliver(events)) == [Delivery.RECORDED] * len(events)


async def ended(scheduler: Storage, status: ExecutionStatus, **options: Any) -> Claim:
    """Start and claim execution `a`, and let it end."""
    (claimed,) = await running(scheduler, "a", **options)
    if status is ExecutionStatus.CANCELLED:
        await scheduler.cancel(["a"])
    else:
        await commit(scheduler, claimed, outcome(1), move=Move(status, payload="the end"))
    return claimed


async def in_status(scheduler: Storage, status: ExecutionStatus, **options: Any) -> None:
    """Bring execution `a` into a status."""
    if status is ExecutionStatus.PENDING:
        await register(scheduler)
        await scheduler.start([new(**options)])
    elif status.is_terminal:
        await ended(scheduler, status, **options)
    else:
        (claimed,) = await running(scheduler, "a", **options)
        if status is ExecutionStatus.WAITING:
            await commit(scheduler, claimed, move=waiting())


async def crash(scheduler: Storage, clock: FakeClock, worker: str) -> None:
    """Let a registered worker with a `LEASE` die, and the others take over from it."""
    clock.advance(LEASE / SECOND + 1)
    await scheduler.beat(beat(f"reaper of {worker}", register=True))


async def crashed(scheduler: Storage, clock: FakeClock, times: int, *ids: str) -> None:
    """Start executions and let up to `SUSPECT` workers die over all of them at once."""
    await scheduler.start([new(each) for each in ids])
    for number in range(times):
        worker = f"victim {number} of {ids[0]}"
        await register(scheduler, worker, lease=LEASE)
        assert len(await scheduler.claim(demand(worker))) == len(ids)
        await crash(scheduler, clock, worker)


async def read(scheduler: Storage, execution_id: str = "a", run: int | None = None) -> Execution:
    """Return an execution that is there."""
    execution = await scheduler.get(execution_id, run)
    assert execution is not None
    return execution


async def history(scheduler: Storage, execution_id: str = "a", run: int | None = None) -> list[StepRecord]:
    """Return the records of a run."""
    return list((await scheduler.history(execution_id, run)).steps)


async def mailbox(scheduler: Storage, execution_id: str = "a", run: int | None = None) -> list[tuple[int, str]]:
    """Return the mail of a run: `seq` and payload."""
    return [(mail.seq, mail.payload) for mail in (await scheduler.history(execution_id, run)).mail]


async def returns(call: Coroutine[Any, Any, T]) -> T:
    """Await something that must come back without the clock being moved; ten real seconds mean that it never will."""
    task = asyncio.ensure_future(call)
    patience = SystemClock().call_later(10, task.cancel)
    try:
        await asyncio.wait({task})
    finally:
        patience.cancel()
    if task.cancelled():
        pytest.fail("it did not return")
    return task.result()
