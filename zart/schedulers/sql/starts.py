"""What a start means where something is there already (rules 1 and 10): decided here, on what a dialect has found."""

from collections.abc import Iterable, Sequence

from attrs import define, field

from zart.clock import Instant
from zart.records import NewExecution, Reuse, Started
from zart.schedulers.outlook import Due
from zart.status import TERMINAL, ExecutionStatus

_REOPENED_BY = {
    Reuse.ENDED: TERMINAL,
    Reuse.FAILED: TERMINAL - {ExecutionStatus.COMPLETED},
    Reuse.NEVER: frozenset[ExecutionStatus](),
}

Opened = tuple[NewExecution, int, int, Instant]
"""A start, and the run, fence and time that it gets."""


@define
class Last:
    """The last run of an id; `key` is 0 for one that this call is to open."""

    key: int
    run: int
    status: ExecutionStatus
    fence: int
    scheduled_at: Instant


@define
class Decided:
    """The answers to a call, and what must be opened for them to be true."""

    answers: list[Started] = field(factory=list)
    opened: list[Opened] = field(factory=list)
    retired: list[int] = field(factory=list)
    """The keys of the runs that are the last of their ids no more."""


@define
class Found:
    """What is there of a call's ids and start keys."""

    _last: dict[str, Last] = field(factory=dict)
    _same: dict[tuple[str, str], Started] = field(factory=dict)

    @property
    def keys(self) -> list[int]:
        """The keys of the runs whose locks whoever opens others after them must have."""
        return [each.key for each in self._last.values()]

    def add_last(self, new: NewExecution, key: int, run: int, status: str, fence: int, scheduled_at: Instant) -> None:
        """Take note of the last run of an id."""
        self._last[new.id] = Last(key, run, ExecutionStatus(status), fence, scheduled_at)

    def add_same(self, new: NewExecution, run: int, status: str, scheduled_at: Instant) -> None:
        """Take note of the run that this very start has opened before."""
        found = Started(accepted=True, run=run, status=ExecutionStatus(status), scheduled_at=scheduled_at)
        self._same[new.id, new.start_key] = found

    def decide(self, new: Sequence[NewExecution], now: Instant) -> Decided:
        """Answer each start by what is there; an id twice is two starts, in their order."""
        last, same = dict(self._last), dict(self._same)
        decided = Decided()
        for each in new:
            before = last.get(each.id)
            answer = same.get((each.id, each.start_key))
            if answer is None and before is not None and before.status not in _REOPENED_BY[each.reuse]:
                answer = Started(accepted=False, run=before.run, status=before.status, scheduled_at=before.scheduled_at)
            if answer is None:
                at = due(each, now)
                # A fence is never given twice, not even over runs.
                run, fence = (1, 0) if before is None else (before.run + 1, before.fence)
                if before is not None:
                    decided.retired.append(before.key)
                answer = Started(accepted=True, run=run, status=ExecutionStatus.PENDING, scheduled_at=at)
                last[each.id] = Last(0, run, ExecutionStatus.PENDING, fence, at)
                same[each.id, each.start_key] = answer
                decided.opened.append((each, run, fence, at))
            decided.answers.append(answer)
        return decided


def due(new: NewExecution, now: Instant) -> Instant:
    """Return when a start is to run."""
    return now + (new.delay or 0) if new.at is None else new.at


def first_runs(times: Iterable[Instant]) -> list[Started]:
    """Return the answers where nothing was there: all have become first runs of new ids, due at these times."""
    return [Started(accepted=True, run=1, status=ExecutionStatus.PENDING, scheduled_at=at) for at in times]


def soonest(starts: Iterable[tuple[NewExecution, Instant]]) -> list[Due]:
    """Return what became due, once for each queue and task."""
    first: dict[tuple[str, str], Instant] = {}
    for each, at in starts:
        place = (each.queue, each.task)
        if at < first.get(place, at + 1):
            first[place] = at
    return [(at, queue, task) for (queue, task), at in first.items()]


def awaited(new: Sequence[NewExecution], answers: Sequence[Started]) -> list[Due]:
    """Return what workers are to hear of a call: of repeated starts too, whose first reply, and news, may be lost."""
    pairs = zip(new, answers, strict=True)
    return soonest(
        (each, answer.scheduled_at) for each, answer in pairs if answer.accepted and answer.status is ExecutionStatus.PENDING
    )
