"""Opening runs in SQLite (rules 1 and 10)."""

import sqlite3
from collections.abc import Sequence

from attrs import define

from zart.clock import Instant
from zart.records import NewExecution, Reuse, Started
from zart.schedulers.sqlite.queries import LARGEST, from_json, statements, to_json
from zart.schedulers.sqlite.writer import Batch, Job, Unsettled
from zart.status import TERMINAL, ExecutionStatus

_SQL = statements("start")
_REOPENED_BY = {
    Reuse.ENDED: TERMINAL,
    Reuse.FAILED: TERMINAL - {ExecutionStatus.COMPLETED},
    Reuse.NEVER: frozenset[ExecutionStatus](),
}


@define
class _Known:
    """A run that is there."""

    key: int
    run: int
    status: ExecutionStatus
    fence: int
    scheduled_at: Instant


@define
class Start(Job[list[Started]]):
    """Open runs; what is already there is looked at only where inserting fails."""

    new: Sequence[NewExecution]

    def settle(self, batch: Batch) -> list[Started]:
        """Insert all as first runs of new ids."""
        if len(self.new) > LARGEST:
            raise Unsettled
        try:
            return _insert_as_new(batch, self.new)
        except sqlite3.IntegrityError as error:
            raise Unsettled from error

    def work(self, batch: Batch) -> list[Started]:
        """Insert all, in parts; a part in which something is there already is looked through."""
        answers: list[Started] = []
        for start in range(0, len(self.new), LARGEST):
            part = self.new[start : start + LARGEST]
            try:
                answers += _insert_as_new(batch, part)
            except sqlite3.IntegrityError:
                answers += _look_through(batch, part)
        return answers


def _insert_as_new(batch: Batch, new: Sequence[NewExecution]) -> list[Started]:
    times = [_due(each, batch.now) for each in new]
    _insert(batch, [(each, 1, 0, at) for each, at in zip(new, times, strict=True)])
    return [Started(accepted=True, run=1, status=ExecutionStatus.PENDING, scheduled_at=at) for at in times]


def _look_through(batch: Batch, new: Sequence[NewExecution]) -> list[Started]:
    """Answer each start by what is there, and open what may be opened; an id twice is two starts, in their order."""
    last: dict[str, _Known] = {}
    same: dict[tuple[str, str], Started] = {}
    for sql, parameters in _SQL["find"].chunks([(i, each.id, each.start_key) for i, each in enumerate(new, 1)]):
        for number, key, run, status, fence, at, same_run, same_status, same_at in from_json(batch.json(sql, parameters)):
            each = new[number - 1]
            if key is not None:
                last[each.id] = _Known(key, run, ExecutionStatus(status), fence, at)
            if same_run is not None:
                found = Started(accepted=True, run=same_run, status=ExecutionStatus(same_status), scheduled_at=same_at)
                same[each.id, each.start_key] = found
    answers: list[Started] = []
    opened: list[tuple[NewExecution, int, int, Instant]] = []
    retired: list[int] = []
    for each in new:
        known = last.get(each.id)
        answer = same.get((each.id, each.start_key))
        if answer is None and known is not None and known.status not in _REOPENED_BY[each.reuse]:
            answer = Started(accepted=False, run=known.run, status=known.status, scheduled_at=known.scheduled_at)
        if answer is None:
            at = _due(each, batch.now)
            # A fence is never given twice, not even over runs.
            run, fence = (1, 0) if known is None else (known.run + 1, known.fence)
            if known is not None:
                retired.append(known.key)
            answer = Started(accepted=True, run=run, status=ExecutionStatus.PENDING, scheduled_at=at)
            last[each.id] = _Known(0, run, ExecutionStatus.PENDING, fence, at)
            same[each.id, each.start_key] = answer
            opened.append((each, run, fence, at))
        answers.append(answer)
    if retired:
        batch.connection.execute(_SQL["retire"].sql, {"keys": to_json(retired)})
    _insert(batch, opened)
    return answers


def _insert(batch: Batch, opened: Sequence[tuple[NewExecution, int, int, Instant]]) -> None:
    now = batch.now
    rows = [
        (each.id, run, fence, now, at, each.queue, each.task, each.start_key, each.payload) for each, run, fence, at in opened
    ]
    for sql, parameters in _SQL["insert"].chunks(rows):
        batch.connection.execute(sql, parameters)
    soonest: dict[tuple[str, str], Instant] = {}
    for each, _, _, at in opened:
        place = (each.queue, each.task)
        if at < soonest.get(place, at + 1):
            soonest[place] = at
    batch.due += [(at, queue, task) for (queue, task), at in soonest.items()]


def _due(new: NewExecution, now: Instant) -> Instant:
    return now + (new.delay or 0) if new.at is None else new.at
