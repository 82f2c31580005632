"""The in-memory scheduler's books: what it holds, what may be read of it, and the few changes that all rules are made of."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from heapq import nsmallest
from itertools import count, islice
from threading import Lock

from attrs import define

from zart.clock import Clock, Instant, Micros, SystemClock, instant
from zart.records import Backlog, Demand, Execution, Front, History, Page, Query
from zart.schedulers.due import Line, Run
from zart.schedulers.hints import Hints
from zart.status import ExecutionStatus


class Life(Enum):
    """How a worker is."""

    ALIVE = "alive"
    LEFT = "left"
    DEAD = "dead"


@define
class Worker:
    """A worker that registered: its lease, until when it holds, and the tasks it can do."""

    lease: Micros
    until: Instant
    tasks: tuple[str, ...]
    life: Life = Life.ALIVE
    held_suspect: bool = False
    """Whether a suspect ran under it when it was declared dead: then nothing else is to blame, in whatever batch it comes."""


class Ledger:
    """All data of an in-memory scheduler, under one lock, and its inspector. Methods with an underscore want the lock held."""

    def __init__(self, *, clock: Clock | None = None) -> None:
        self._clock: Clock = SystemClock() if clock is None else clock
        self._lock = Lock()
        self._runs: dict[str, Run] = {}
        """The current runs by id, in the order in which they were started."""
        self._by_key: dict[int, Run] = {}
        self._running: dict[int, Run] = {}
        places = count(1)
        self._lines: defaultdict[tuple[str, str, bool], Line] = defaultdict(lambda: Line(places))
        """By queue, task, and whether the executions in it are suspects: so neither hides the other from a claim."""
        self._workers: dict[str, Worker] = {}
        self._news: set[str] = set()
        """Workers that something was sent to or taken from since they last waited."""
        self._hints = Hints()
        self._kept: dict[str, str] = {}

    async def get(self, execution_id: str, run: int | None = None) -> Execution | None:
        """Return one run of an execution, the current one by default."""
        with self._lock:
            found = self._find(execution_id, run)
            return None if found is None else found.seen_from_outside(served=found.task in self._served())

    async def history(self, execution_id: str, run: int | None = None) -> History:
        """Return the records and mail of a run; empty when there is none."""
        with self._lock:
            found = self._find(execution_id, run)
            return History((), ()) if found is None else History(found.history(), found.mail_past(0))

    async def find(self, query: Query) -> Page:
        """Return a page of executions; one after an unknown id is empty."""
        with self._lock:
            served = self._served()
            matching = self._matching(query)
            if query.after is not None:
                last = self._find(query.after, None)
                if last is None:
                    return Page((), more=False)
                matching = (run for run in matching if (run.key < last.key if query.descending else run.key > last.key))
            runs = list(islice(matching, query.offset, query.offset + query.limit + 1))
            page = tuple(run.seen_from_outside(served=run.task in served) for run in runs[: query.limit])
            return Page(page, more=len(runs) > query.limit)

    async def count(self, query: Query) -> Mapping[ExecutionStatus, int]:
        """Return how many executions match, by status; `limit`, `offset` and `after` do not apply."""
        with self._lock:
            return dict(Counter(run.status for run in self._matching(query)))

    async def backlog(self) -> Backlog:
        """Return how much is due and claimed by nobody."""
        with self._lock:
            now = self._now()
            due = [run.due_at for run in self._runs.values() if run.due_at is not None and run.due_at <= now]
            return Backlog(len(due), now - min(due, default=now))

    # ---- what a shard is asked besides ------------------------------------------------------------------------------

    async def remember(self, name: str, value: str) -> str:
        """Keep a short text about the storage as a whole, for good, and return what is kept: the first one wins."""
        with self._lock:
            return self._kept.setdefault(name, value)

    async def recall(self, name: str) -> str | None:
        """Return what is kept under a name."""
        return self._kept.get(name)

    async def front(self, demand: Demand) -> Sequence[Front]:
        """Return what a claim would take at this moment, those due longest first, and take nothing."""
        with self._lock:
            now, found = self._now(), []
            for is_suspect, most in ((False, demand.limit), (True, min(demand.limit, demand.suspects))):
                places = ((queue, task, is_suspect) for queue in dict.fromkeys(demand.queues) for task in demand.tasks)
                due = (due_at for place in places if place in self._lines for due_at in self._lines[place].due(now))
                found += [(due_at, is_suspect) for due_at in nsmallest(max(most, 0), due)]
            return sorted(found)[: max(demand.limit, 0)]

    # -----------------------------------------------------------------------------------------------------------------

    def _matching(self, query: Query) -> Iterator[Run]:
        """Yield the current runs that match, in the order asked for."""
        for run in reversed(self._runs.values()) if query.descending else self._runs.values():
            if (not query.statuses or run.status in query.statuses) and (not query.tasks or run.task in query.tasks):
                bound = run.created_at if query.started is None else query.started
                if run.created_at <= bound if query.descending else run.created_at >= bound:
                    yield run

    def _served(self) -> set[str]:
        """Return the tasks that living workers have registered."""
        now = self._now()
        living = (each for each in self._workers.values() if each.life is Life.ALIVE and each.until > now)
        return {task for worker in living for task in worker.tasks}

    # ---- what the rules are made of ---------------------------------------------------------------------------------

    def _now(self) -> Instant:
        return instant(self._clock.now())

    def _find(self, execution_id: str, run: int | None) -> Run | None:
        found = self._runs.get(execution_id)
        while found is not None and run is not None and found.run != run:
            found = found.before
        return found

    def _line_up(self, run: Run, due_at: Instant) -> None:
        """Make a run due, whether or not it was."""
        line = self._lines[run.queue, run.task, run.suspect]
        if run.place:
            line.leave(run)
        line.add(run, due_at)
        self._hints.call("due", run.queue, run.task)

    def _let_go(self, run: Run, status: ExecutionStatus, due_at: Instant | None) -> None:
        """End a worker's hold of a run."""
        del self._running[run.key]
        run.worker = None
        run.status = status
        if due_at is not None:
            self._line_up(run, due_at)

    def _end(self, run: Run, status: ExecutionStatus, now: Instant) -> None:
        """End a run, whatever it does."""
        if run.place:
            self._lines[run.queue, run.task, run.suspect].leave(run)
        self._running.pop(run.key, None)
        run.worker = None
        run.status = status
        run.completed_at = now
        self._hints.call("end", run.id)

    def _tell(self, worker: str) -> None:
        """Let a worker know, in its present wait or its next, that something came for it or was taken from it."""
        self._news.add(worker)
        self._hints.call("worker", worker)
