"""What the in-memory scheduler holds of one run, and the line in which runs wait to be claimed."""

import heapq
from collections.abc import Iterator
from itertools import islice
from operator import attrgetter

from attrs import Factory, define

from zart.clock import Instant
from zart.records import SUSPECT, Execution, Mail, StepRecord, Token
from zart.status import ExecutionStatus


@define(eq=False)
class Run:
    """All that is stored of one run.

    `before` is the run of the same execution that ended before it began, `place` its number in the line, 0 when it is in none.
    """

    id: str
    run: int
    key: int
    task: str
    queue: str
    payload: str
    start_key: str
    fence: int
    created_at: Instant
    scheduled_at: Instant
    before: "Run | None" = None
    due_at: Instant | None = None
    place: int = 0
    status: ExecutionStatus = ExecutionStatus.PENDING
    worker: str | None = None
    attempt: int = 0
    crashes: int = 0
    crashed_workers: tuple[str, ...] = ()
    reason: str | None = None
    result: str | None = None
    started_at: Instant | None = None
    claimed_at: Instant = 0
    """Of the last claim."""
    completed_at: Instant | None = None
    deadline: Instant | None = None
    trace: str | None = None
    steps: dict[int, StepRecord] = Factory(dict)
    """By `seq`."""
    mail: dict[str, Mail] = Factory(dict)
    """By event id, in the order of arrival."""

    @property
    def token(self) -> Token:
        """The right to write to this run, as of now."""
        return Token(self.id, self.run, self.key, self.fence)

    @property
    def suspect(self) -> bool:
        """Whether it has brought so many workers down that it is handed out one at a time."""
        return self.crashes >= SUSPECT

    def history(self) -> tuple[StepRecord, ...]:
        """Return the records in the order of their `seq`; one that was withheld at first may have come late."""
        return tuple(sorted(self.steps.values(), key=attrgetter("seq"))) if self.steps else ()

    def mail_past(self, seen: int) -> tuple[Mail, ...]:
        """Return the mail with a `seq` above `seen`."""
        return tuple(islice(self.mail.values(), seen, None)) if len(self.mail) > seen else ()

    def seen_from_outside(self, *, served: bool) -> Execution:
        """Return this run as people and programs read it."""
        return Execution(
            id=self.id,
            run=self.run,
            task=self.task,
            queue=self.queue,
            status=self.status,
            payload=self.payload,
            result=self.result,
            attempt=self.attempt,
            fence=self.fence,
            worker=self.worker,
            crashes=self.crashes,
            crashed_workers=self.crashed_workers,
            reason=self.reason,
            created_at=self.created_at,
            scheduled_at=self.scheduled_at,
            started_at=self.started_at,
            completed_at=self.completed_at,
            due_at=self.due_at,
            deadline=self.deadline,
            mail=len(self.mail),
            served=served,
        )


class Line:
    """Runs of one queue and task that are or will be due, those due longest first, and among equals those lined up first.

    A run that leaves stays in the heap as a dead entry and is dropped when it comes to the front, or when dead entries are most
    of the heap: an execution that parks for a year and is woken every second must not leave a year of them behind. All lines of
    a scheduler take their places from one counter.
    """

    __slots__ = ("_alive", "_heap", "_places")

    def __init__(self, places: Iterator[int]) -> None:
        self._heap: list[tuple[Instant, int, Run]] = []
        self._alive = 0
        self._places = places

    def add(self, run: Run, due_at: Instant) -> None:
        """Line a run up that stands in no line."""
        if len(self._heap) > 2 * self._alive + 64:
            self._heap = [entry for entry in self._heap if entry[2].place == entry[1]]
            heapq.heapify(self._heap)
        self._alive += 1
        run.due_at, run.place = due_at, next(self._places)
        heapq.heappush(self._heap, (due_at, run.place, run))

    def leave(self, run: Run) -> None:
        """Take a run out that stands in this line."""
        run.due_at, run.place = None, 0
        self._alive -= 1

    def due(self, now: Instant) -> Iterator[Instant]:
        """Yield when those that are due now have been due, in no order; all stay."""
        yield from (due_at for due_at, place, run in self._heap if due_at <= now and run.place == place)

    def first(self) -> tuple[Instant, int, Run] | None:
        """Return when the first run is due, its place, and the run; it stays. Places are unique over all lines."""
        heap = self._heap
        while heap:
            if heap[0][2].place == heap[0][1]:
                return heap[0]
            heapq.heappop(heap)
        return None
