"""Bugs to plant: each breaks one rule of the storage or the engine, and the simulation must catch it.

They are the mistakes of this field: the fence that is not checked, the wake-up that gets lost between looking and parking, the
attempt that nobody remembers, the result that is replaced. A net that catches none of them catches nothing. Some do harm only
together with another, because each rule is a second line of defence for its neighbour.
"""

# ruff: noqa: ARG001, ARG005 # a wrong function need not look at all that the right one is given

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from attrs import evolve, frozen

from zart.clock import instant
from zart.errors import SchedulerError
from zart.heartbeat import Heartbeat, StorageTime
from zart.journal import Journal
from zart.records import Committed
from zart.run import Run
from zart.schedulers.ledger import Ledger, Life
from zart.schedulers.memory import InMemoryScheduler
from zart.stage import Stage
from zart.status import ExecutionStatus, Phase
from zart.testing.simulation.simulation import Report, simulate
from zart.turns import Turns
from zart.worker import Worker

Change = Callable[[Any], Any]
"""Takes the right function and returns the wrong one."""


@frozen
class Bug:
    """One mistake: where it is planted and what stands there instead."""

    name: str
    owner: type
    attribute: str
    change: Change
    calm: bool = False
    """Whether it shows in runs in which nothing goes wrong: chaos hides slowness."""
    alone: bool = True
    """Whether it does harm without another; if not, one of `PAIRS` has it."""
    seed: int = 0
    """A seed known to have caught it: where to look first."""


# ---- in the storage ---------------------------------------------------------------------------------------------------


def _records_without_fence(right: Any) -> Any:
    def commit(self: Any, said: Any, now: int) -> Any:
        run = self._by_key.get(said.token.key)
        if run is not None and run.status is ExecutionStatus.RUNNING and said.move is None:
            said = evolve(said, token=run.token)
        return right(self, said, now)

    return commit


def _moves_without_fence(right: Any) -> Any:
    def commit(self: Any, said: Any, now: int) -> Any:
        run = self._by_key.get(said.token.key)
        if run is not None and run.status is ExecutionStatus.RUNNING and said.move is not None:
            said = evolve(said, token=run.token)
        return right(self, said, now)

    return commit


def _last_write_wins(right: Any) -> Any:
    def write(self: Any, run: Any, said: Any) -> Any:
        right(self, run, said)
        for step in said.steps:
            if step.seen is None:
                run.steps[step.seq] = step

    return write


def _timeout_unseen(right: Any) -> Any:
    def write(self: Any, run: Any, said: Any) -> Any:
        return right(self, run, evolve(said, steps=[evolve(step, seen=None) for step in said.steps]))

    return write


def _park_unseen(right: Any) -> Any:
    return lambda self, run, move, now: right(self, run, evolve(move, seen=None), now)


def _park_loses_mail(right: Any) -> Any:
    def move(self: Any, run: Any, to: Any, now: int) -> Any:
        if to.seen is not None:
            run.mail = dict(list(run.mail.items())[: to.seen])
        return right(self, run, to, now)

    return move


def _park_keeps_running(right: Any) -> Any:
    def move(self: Any, run: Any, to: Any, now: int) -> Any:
        return None if to.status is ExecutionStatus.WAITING else right(self, run, to, now)

    return move


def _fence_forgotten(right: Any) -> Any:
    def let_go(self: Any, run: Any, status: Any, due_at: Any) -> Any:
        right(self, run, status, due_at)
        run.fence = 0

    return let_go


def _takeover_keeps_fence(right: Any) -> Any:
    def take(self: Any, run: Any, now: int) -> Any:
        right(self, run, now)
        run.fence -= 1

    return take


def _claim_keeps_fence(right: Any) -> Any:
    def hand_out(self: Any, run: Any, demand: Any, now: int) -> Any:
        if run.fence:
            run.fence -= 1
        return right(self, run, demand, now)

    return hand_out


def _cancel_keeps_fence(right: Any) -> Any:
    def cancel(self: Any, run: Any, now: int) -> Any:
        answer = right(self, run, now)
        run.fence -= answer[1]
        return answer

    return cancel


def _cancel_overwrites(right: Any) -> Any:
    def cancel(self: Any, run: Any, now: int) -> Any:
        if run.status.is_terminal:
            run.status = ExecutionStatus.CANCELLED
            return run.status, True
        return right(self, run, now)

    return cancel


def _never_taken_over(right: Any) -> Any:
    return lambda self, now: 0


def _never_handed_back(right: Any) -> Any:
    return lambda self, beat, now: None


def _dead_revived(right: Any) -> Any:
    async def beat(self: Any, sign: Any) -> Any:
        worker = self._workers.get(sign.worker)
        if worker is not None and worker.life is Life.DEAD:
            worker.life = Life.ALIVE
        return await right(self, sign)

    return beat


def _claim_without_lease(right: Any) -> Any:
    async def claim(self: Any, demand: Any) -> Any:
        worker = self._workers.get(demand.worker)
        if worker is None:
            return await right(self, demand)
        until, worker.until = worker.until, self._now() + 1
        try:
            return await right(self, demand)
        finally:
            worker.until = until

    return claim


def _start_key_ignored(right: Any) -> Any:
    def start(self: Any, new: Any, now: int) -> Any:
        return right(self, evolve(new, start_key=f"{new.start_key} {len(self._by_key)}"), now)

    return start


def _unexpected_mail_dropped(right: Any) -> Any:
    def deliver(self: Any, event: Any, now: int) -> Any:
        run = self._find(event.execution_id, event.run)
        kept = run.mail if run is not None else {}
        answer = right(self, event, now)
        if run is not None and run.status is ExecutionStatus.RUNNING and event.event_id in kept:
            del kept[event.event_id]
        return answer

    return deliver


def _mail_repeated(right: Any) -> Any:
    def deliver(self: Any, event: Any, now: int) -> Any:
        run = self._find(event.execution_id, event.run)
        if run is not None and event.event_id in run.mail:
            event = evolve(event, event_id=f"{event.event_id} {len(run.mail)}")
        return right(self, event, now)

    return deliver


def _mail_wakes_nobody(right: Any) -> Any:
    def deliver(self: Any, event: Any, now: int) -> Any:
        run = self._find(event.execution_id, event.run)
        due_at = None if run is None else run.due_at
        answer = right(self, event, now)
        if run is not None and run.status is ExecutionStatus.WAITING and run.due_at != due_at:
            if due_at is None:
                self._lines[run.queue, run.task, run.suspect].leave(run)
            else:
                self._line_up(run, due_at)
        return answer

    return deliver


# ---- in the engine ----------------------------------------------------------------------------------------------------


def _own_wall_clock(right: Any) -> Any:
    return lambda self: instant(self._clock.now())


def _time_never_corrected(right: Any) -> Any:
    def tell(self: Any, now: int) -> None:
        if now > self.now():
            right(self, now)

    return tell


def _lease_not_looked_at(right: Any) -> Any:
    return lambda self: True


def _lost_claims_kept(right: Any) -> Any:
    return lambda self, reply: right(self, evolve(reply, lost=()))


def _no_crash_limit(right: Any) -> Any:
    def make(self: Any, claim: Any, task: Any, host: Any, most: int) -> None:
        right(self, claim, task, host, 10**9)

    return make


def _attempt_unsaved(right: Any) -> Any:
    def note(self: Any, operation: Any, phase: Any, due_at: Any, payload: Any = None, mail: Any = None) -> None:
        if phase is Phase.ATTEMPT and mail is None:
            operation.noted()
        else:
            right(self, operation, phase, due_at, payload, mail)

    return note


def _saved_too_soon(right: Any) -> Any:
    async def commit(self: Any, commits: Any) -> Any:
        self.unfinished = asyncio.ensure_future(right(self, commits))
        await asyncio.sleep(0)
        return [Committed()] * len(commits)

    return commit


def _unsaved_forgotten(right: Any) -> Any:
    async def commit(self: Any, commits: Any) -> Any:
        try:
            return list(await self._scheduler.commit(commits))
        except SchedulerError:
            return [Committed()] * len(commits)

    return commit


def _turns_overlap(right: Any) -> Any:
    return property(lambda self: True)


BUGS = (
    Bug("records are written without looking at the fence", InMemoryScheduler, "_commit", _records_without_fence, seed=74),
    Bug("a move is made without looking at the fence", InMemoryScheduler, "_commit", _moves_without_fence, seed=16),
    Bug("the last record of a number wins", InMemoryScheduler, "_write", _last_write_wins, alone=False),
    Bug("a timeout is saved over mail that has come", InMemoryScheduler, "_write", _timeout_unseen, seed=38),
    Bug("mail is looked for in one transaction, parked in another", InMemoryScheduler, "_move", _park_unseen, seed=25),
    Bug("parking loses the mail that has just come", InMemoryScheduler, "_move", _park_loses_mail, seed=25),
    Bug("a parked execution stays running", InMemoryScheduler, "_move", _park_keeps_running),
    Bug("the fence begins anew after a release", Ledger, "_let_go", _fence_forgotten),
    Bug("a takeover leaves the fence", InMemoryScheduler, "_take_from_worker", _takeover_keeps_fence),
    Bug("a claim leaves the fence", InMemoryScheduler, "_hand_out", _claim_keeps_fence),
    Bug("a cancel leaves the fence", InMemoryScheduler, "_cancel", _cancel_keeps_fence),
    Bug("a cancel overwrites the end", InMemoryScheduler, "_cancel", _cancel_overwrites),
    Bug("nobody takes over from the dead", InMemoryScheduler, "_take_over", _never_taken_over),
    Bug("a claim whose reply was lost stays lost", InMemoryScheduler, "_hand_back", _never_handed_back),
    Bug("a beat revives the dead", InMemoryScheduler, "beat", _dead_revived, seed=6),
    Bug("a worker without a lease may claim", InMemoryScheduler, "claim", _claim_without_lease),
    Bug("the start key is not compared", InMemoryScheduler, "_start", _start_key_ignored),
    Bug("mail that nobody waits for is dropped", InMemoryScheduler, "_deliver", _unexpected_mail_dropped),
    Bug("mail that is sent twice comes twice", InMemoryScheduler, "_deliver", _mail_repeated),
    Bug("mail wakes nobody", InMemoryScheduler, "_deliver", _mail_wakes_nobody, calm=True),
    Bug("due times go by the worker's wall clock", StorageTime, "now", _own_wall_clock),
    Bug("a fast clock is never corrected", StorageTime, "tell", _time_never_corrected, seed=59),
    Bug("functions start without a lease", Heartbeat, "is_fresh", _lease_not_looked_at, seed=143),
    Bug("what a beat reports as lost goes on", Worker, "_told", _lost_claims_kept, calm=True, seed=105),
    Bug("crashes are not limited", Run, "__init__", _no_crash_limit, seed=6),
    Bug("a failed attempt is not saved before the next", Stage, "note", _attempt_unsaved),
    Bug("outcomes are handed over before they are durable", Journal, "_commit", _saved_too_soon),
    Bug("what could not be saved is forgotten", Journal, "_commit", _unsaved_forgotten),
    Bug("outcomes are handed over while the body moves", Turns, "resting", _turns_overlap, seed=6),
)


@frozen
class Pair:
    """Two bugs that only together do some harm, and the invariant that shows it."""

    first: Bug
    second: Bug
    shows: str
    seed: int = 0
    """A seed known to have caught it: where to look first."""


def _pair(first: str, second: str, shows: str, seed: int = 0) -> Pair:
    by_name = {bug.name: bug for bug in BUGS}
    return Pair(by_name[first], by_name[second], shows, seed)


PAIRS = (
    _pair("records are written without looking at the fence", "the last record of a number wins", "I1", 74),
    _pair("a takeover leaves the fence", "a claim leaves the fence", "I10", 77),
    _pair("a cancel leaves the fence", "a move is made without looking at the fence", "I3"),
    _pair("a claim whose reply was lost stays lost", "nobody takes over from the dead", "I6"),
    _pair("mail is looked for in one transaction, parked in another", "mail wakes nobody", "I13"),
)


@contextmanager
def planted(*bugs: Bug) -> Iterator[None]:
    """Have the whole process run with these bugs; never do this but to see them caught."""
    rights: list[tuple[Bug, Any]] = []
    try:
        for bug in bugs:
            right = bug.owner.__dict__[bug.attribute]
            rights.append((bug, right))
            setattr(bug.owner, bug.attribute, bug.change(right))
        yield
    finally:
        for bug, right in reversed(rights):
            setattr(bug.owner, bug.attribute, right)


def hunt(*bugs: Bug, seeds: Iterable[int], shows: str = "") -> Report | None:
    """Return the first report that has caught the bugs, by this invariant if one is named; None if no seed does."""
    calm = any(bug.calm for bug in bugs)
    with planted(*bugs):
        for seed in seeds:
            report = simulate(seed, calm=calm)
            if any(violation.startswith(f"{shows}:" if shows else "") for violation in report.violations):
                return report
    return None
