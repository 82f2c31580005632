"""The in-memory scheduler: the specification of the storage port in code, for tests and for work that may end with the process.

Where a rule of `zart.scheduler` is kept, its number is named. All state is plain data under one lock that is held over
synchronous code only: so each operation is atomic, and every rule about locks, busy rows and refused rows keeps itself.
"""

import heapq
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import timedelta
from operator import attrgetter
from types import TracebackType
from typing import Self

from attrs import evolve

from zart.clock import SECOND, Instant, Micros
from zart.errors import WorkerNotAlive
from zart.records import (
    BeatReply,
    Claim,
    Commit,
    Committed,
    Delivery,
    Demand,
    Event,
    Fate,
    Mail,
    Move,
    NewExecution,
    Reuse,
    Started,
    WorkerBeat,
)
from zart.scheduler import DEADLINE_GRACE, TAKEOVER
from zart.schedulers.due import Line, Run
from zart.schedulers.hints import Topic, Waiter
from zart.schedulers.ledger import Ledger, Life, Worker
from zart.status import TERMINAL, ExecutionStatus, Phase

_APPLIED = Committed()
_LOST = Committed(fate=Fate.LOST)
_REOPENED_BY = {
    Reuse.ENDED: TERMINAL,
    Reuse.FAILED: TERMINAL - {ExecutionStatus.COMPLETED},
    Reuse.NEVER: frozenset[ExecutionStatus](),
}


class InMemoryScheduler(Ledger):
    """A scheduler in the memory of this process: complete, fast, and gone with it.

    The specification of `zart.scheduler` in code, and the storage of `zart.testing`. Safe to use from several threads and
    loops. Opening and closing it keeps what it holds. Without a `clock` it goes by the machine's.
    """

    async def __aenter__(self) -> Self:
        """Open nothing."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close nothing."""

    async def migrate(self) -> None:
        """Do nothing: there is no schema."""

    # ---- rule 1 -----------------------------------------------------------------------------------------------------

    async def start(self, new: Sequence[NewExecution]) -> Sequence[Started]:
        """Open runs."""
        with self._lock:
            now = self._now()
            return [self._start(each, now) for each in new]

    def _start(self, new: NewExecution, now: Instant) -> Started:
        last = run = self._runs.get(new.id)
        while run is not None:
            if run.start_key == new.start_key:  # rules 1 and 10: it is that start, whatever has become of it
                return Started(accepted=True, run=run.run, status=run.status, scheduled_at=run.scheduled_at)
            run = run.before
        number, fence = 1, 0
        if last is not None:
            if last.status not in _REOPENED_BY[new.reuse]:
                return Started(accepted=False, run=last.run, status=last.status, scheduled_at=last.scheduled_at)
            number, fence = last.run + 1, last.fence  # a fence is never given twice, not even over runs
            del self._runs[new.id]  # to the end of the order
        due_at = new.at if new.at is not None else now + (new.delay or 0)
        key = len(self._by_key) + 1
        run = Run(new.id, number, key, new.task, new.queue, new.payload, new.start_key, fence, now, due_at, last)
        run.trace = new.trace
        self._runs[new.id] = self._by_key[key] = run
        self._line_up(run, due_at)
        return Started(accepted=True, run=number, status=run.status, scheduled_at=due_at)

    # ---- rule 2 -----------------------------------------------------------------------------------------------------

    async def claim(self, demand: Demand) -> Sequence[Claim]:
        """Hand out due executions.

        Raises:
            WorkerNotAlive: the worker must register (again) first.
        """
        with self._lock:
            now = self._now()
            worker = self._workers.get(demand.worker)
            if worker is None or worker.life is not Life.ALIVE or worker.until <= now:
                raise WorkerNotAlive(
                    f"worker {demand.worker!r} is not registered, was declared dead or let its lease pass; "
                    "register it under a new id"
                )
            return [self._hand_out(run, demand, now) for run in self._take(demand, now)]

    def _take(self, demand: Demand, now: Instant) -> Iterator[Run]:
        """Take due executions from the front of the lines that are asked for, those due longest first."""
        fronts = [(*first, line) for line in self._lines_of(demand) if (first := line.first())]
        heapq.heapify(fronts)
        left, suspects = demand.limit, demand.suspects
        while left > 0 and fronts and fronts[0][0] <= now:
            _, _, run, line = fronts[0]
            if run.suspect and suspects <= 0:
                heapq.heappop(fronts)  # all in its line are suspects
                continue
            line.leave(run)
            left -= 1
            suspects -= run.suspect
            if (first := line.first()) is not None:
                heapq.heapreplace(fronts, (*first, line))
            else:
                heapq.heappop(fronts)
            yield run

    def _hand_out(self, run: Run, demand: Demand, now: Instant) -> Claim:
        run.fence += 1
        run.status = ExecutionStatus.RUNNING
        run.worker = demand.worker
        run.claimed_at = now
        if run.started_at is None:
            run.started_at = now
        if run.deadline is None and (length := demand.tasks[run.task]) is not None:
            run.deadline = run.scheduled_at + length
        self._running[run.key] = run
        mail = run.mail_past(0)
        return Claim(
            run.token,
            run.task,
            run.queue,
            run.payload,
            run.attempt,
            run.crashes,
            run.crashed_workers,
            run.scheduled_at,
            run.deadline,
            run.history(),
            mail,
            len(mail),
            now,
            trace=run.trace,
        )

    # ---- rules 3 and 4 ----------------------------------------------------------------------------------------------

    async def commit(self, commits: Sequence[Commit]) -> Sequence[Committed]:
        """Write what workers have to say."""
        with self._lock:
            now = self._now()
            return [self._commit(each, now) for each in commits]

    def _commit(self, commit: Commit, now: Instant) -> Committed:
        run = self._by_key.get(commit.token.key)
        if run is None or run.fence != commit.token.fence:
            return _LOST
        if run.status is ExecutionStatus.RUNNING:
            self._write(run, commit)
            if commit.move is not None:
                self._move(run, commit.move, now)
        elif commit.move is None:
            return _LOST
        # Else its move was applied before the reply was lost, with all that is still to be told here.
        if not run.mail:
            return _APPLIED
        withheld = tuple(step.seq for step in commit.steps if step.seen is not None and step.seq not in run.steps)
        return Committed(mail=run.mail_past(commit.seen), withheld=withheld)

    def _write(self, run: Run, commit: Commit) -> None:
        steps, mail = run.steps, len(run.mail)
        for step in commit.steps:
            if step.seq in steps:
                continue  # the first one wins
            if step.seen is not None and mail > step.seen:
                continue  # withheld
            steps[step.seq] = step if step.seen is None else evolve(step, seen=None)
            if step.phase is Phase.OUTCOME and run.crashes:
                run.crashes, run.crashed_workers = 0, ()

    def _move(self, run: Run, move: Move, now: Instant) -> None:
        if move.attempt is not None:
            run.attempt = move.attempt
        if move.deadline is not None:
            run.deadline = move.deadline
        run.reason = move.reason
        if move.seen is not None and len(run.mail) > move.seen:
            self._let_go(run, ExecutionStatus.PENDING, now)
        elif move.status.is_terminal:
            run.result = move.payload
            self._end(run, move.status, now)
        else:
            self._let_go(run, move.status, move.due_at)

    # ---- rule 5 -----------------------------------------------------------------------------------------------------

    async def deliver(self, events: Sequence[Event]) -> Sequence[Delivery]:
        """Put events into mailboxes."""
        with self._lock:
            now = self._now()
            return [self._deliver(each, now) for each in events]

    def _deliver(self, event: Event, now: Instant) -> Delivery:
        run = self._find(event.execution_id, event.run)
        if run is None:
            return Delivery.UNKNOWN
        if event.event_id in run.mail:  # asked before whether the run has ended: rule 10
            return Delivery.DUPLICATE
        if run.status.is_terminal:
            return Delivery.FINISHED
        run.mail[event.event_id] = Mail(len(run.mail) + 1, event.name, event.payload, now)
        if run.status is ExecutionStatus.WAITING and (run.due_at is None or run.due_at > now):
            self._line_up(run, now)  # one that is due already keeps its turn: a flood of events must not hold it back
        elif run.worker is not None:
            self._tell(run.worker)
        return Delivery.RECORDED

    # ---- rule 6 -----------------------------------------------------------------------------------------------------

    async def cancel(self, ids: Collection[str], run: int | None = None) -> Mapping[str, tuple[ExecutionStatus, bool]]:
        """End executions from outside: their last runs, or this run of each."""
        with self._lock:
            now = self._now()
            found = {each: self._find(each, run) for each in dict.fromkeys(ids)}
            return {each: self._cancel(meant, now) for each, meant in found.items() if meant is not None}

    def _cancel(self, run: Run, now: Instant) -> tuple[ExecutionStatus, bool]:
        if run.status.is_terminal:
            return run.status, False
        run.fence += 1  # else a commit of its worker could pass for one that was applied
        if run.worker is not None:
            self._tell(run.worker)
        self._end(run, ExecutionStatus.CANCELLED, now)
        return run.status, True

    # ---- rule 7 -----------------------------------------------------------------------------------------------------

    async def beat(self, beat: WorkerBeat) -> BeatReply:
        """Register or renew a worker, and take over from the dead. May be called from a thread and loop of its own."""
        with self._lock:
            now = self._now()
            worker = self._workers.get(beat.worker)
            # It may have been on its way for as long as storage could not be reached by anybody.
            in_time = beat.in_time and (worker is None or now < worker.until)
            if beat.leaving:
                return BeatReply(alive=worker is not None and self._leave(beat.worker, worker, now), now=now)
            if worker is None and beat.register:
                worker = self._workers[beat.worker] = Worker(beat.lease, now, beat.tasks)
            if worker is None or worker.life is not Life.ALIVE:
                return BeatReply(alive=False, now=now)
            worker.lease, worker.until, worker.tasks = beat.lease, now + beat.lease, beat.tasks
            if in_time:
                self._declare_dead(now)
            taken_over = self._take_over(now)
            self._hand_back(beat, now)
            lost, mail = [], {}
            for held in beat.held:
                run = self._by_key.get(held.token.key)
                if run is None or run.fence != held.token.fence:
                    lost.append(held.token)
                elif news := run.mail_past(held.seen):
                    mail[run.key] = news
            return BeatReply(alive=True, now=now, lost=lost, mail=mail, taken_over=taken_over)

    def _leave(self, name: str, worker: Worker, now: Instant) -> bool:
        """Hand back what a worker still holds; false if others have seen to that already."""
        if worker.life is Life.ALIVE:
            worker.life = Life.LEFT
            for run in [run for run in self._running.values() if run.worker == name]:
                self._take_from_worker(run, now)
        return worker.life is Life.LEFT

    def _declare_dead(self, now: Instant) -> None:
        for name, worker in self._workers.items():
            # A lease far in the future means that the clock was put back: without this its executions would hang for as long.
            if worker.life is Life.ALIVE and not now < worker.until <= now + 2 * worker.lease:
                worker.life = Life.DEAD
                worker.held_suspect = any(run.suspect for run in self._running.values() if run.worker == name)

    def _take_over(self, now: Instant) -> int:
        """Take over one batch, in id order; return how many of it were held by dead workers."""
        batch = [run for run in self._running.values() if self._killer(run) is not None or _overdue(run, now)]
        orphans = 0
        for run in heapq.nsmallest(TAKEOVER, batch, key=attrgetter("id")):
            if (dead := self._killer(run)) is not None:
                orphans += 1
                if run.suspect or not dead.held_suspect:
                    run.crashes += 1
                    run.crashed_workers = (*run.crashed_workers, str(run.worker))
            self._take_from_worker(run, now)
        return orphans

    def _hand_back(self, beat: WorkerBeat, now: Instant) -> None:
        """Hand back one batch, in id order, of what the worker was given without ever hearing of it."""
        if beat.held_at is None:
            return
        held = {(each.token.key, each.token.fence) for each in beat.held}
        own = (run for run in self._running.values() if run.worker == beat.worker and run.claimed_at < beat.held_at)
        unheard = (run for run in own if (run.key, run.fence) not in held)
        for run in heapq.nsmallest(TAKEOVER, unheard, key=attrgetter("id")):
            self._take_from_worker(run, now)

    def _killer(self, run: Run) -> Worker | None:
        """Return the dead worker that holds a run, None if its worker is alive."""
        worker = self._workers[str(run.worker)]
        return worker if worker.life is Life.DEAD else None

    def _take_from_worker(self, run: Run, now: Instant) -> None:
        run.fence += 1  # a commit in flight under the old token is lost
        self._tell(str(run.worker))
        self._let_go(run, ExecutionStatus.PENDING, now)

    # ---- hints ------------------------------------------------------------------------------------------------------

    async def wait(self, interest: Demand | Collection[str], timeout: timedelta) -> None:
        """Return when something of interest may have happened: work for a demand, or the end of one of these executions.

        For a demand also when mail came for an execution that its worker holds, or one was taken from it; nothing is lost that
        happens between two waits of a worker. With a `limit` of 0 due work is of no interest.
        """
        waiter = Waiter(_topics(interest))
        expiry = self._clock.call_later(timeout.total_seconds(), waiter.expire)
        with self._lock:
            self._hints.enter(waiter)
        try:
            while not waiter.expired:
                with self._lock:
                    waiter.rest()
                    due_in = self._due_in(interest)
                if due_in is None:
                    await waiter.called()
                elif due_in > 0:
                    timer = self._clock.call_later(due_in / SECOND, waiter.call)
                    try:
                        await waiter.called()
                    finally:
                        timer.cancel()
                else:
                    return
        finally:
            expiry.cancel()
            with self._lock:
                self._hints.leave(waiter)

    def _due_in(self, interest: Demand | Collection[str]) -> Micros | None:
        """Return how long it is until something of interest, nothing or less if it has happened, None if it is not in sight."""
        if not isinstance(interest, Demand):
            return 0 if any(each in self._runs and self._runs[each].status.is_terminal for each in interest) else None
        if interest.worker in self._news:
            self._news.discard(interest.worker)
            return 0
        soonest = min((first[0] for line in self._lines_of(interest) if (first := line.first())), default=None)
        return None if soonest is None or interest.limit <= 0 else soonest - self._now()

    def _lines_of(self, demand: Demand) -> list[Line]:
        kinds = (False, True) if demand.suspects > 0 else (False,)
        keys = ((queue, task, kind) for queue in dict.fromkeys(demand.queues) for task in demand.tasks for kind in kinds)
        return [self._lines[key] for key in keys if key in self._lines]


def _overdue(run: Run, now: Instant) -> bool:
    """Whether a run's own worker should have ended it long ago."""
    return run.deadline is not None and now > run.deadline + DEADLINE_GRACE


def _topics(interest: Demand | Collection[str]) -> Iterator[Topic]:
    """Yield what to wake up for."""
    if not isinstance(interest, Demand):
        yield from (("end", each) for each in interest)
        return
    yield "worker", interest.worker
    if interest.limit > 0:
        yield from (("due", queue, task) for queue in interest.queues for task in interest.tasks)
