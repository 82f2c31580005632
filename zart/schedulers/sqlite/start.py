"""Opening runs in SQLite (rules 1 and 10)."""

import sqlite3
from collections.abc import Sequence

from attrs import define

from zart.records import NewExecution, Started
from zart.schedulers.sql.starts import Found, Opened, due, first_runs, soonest
from zart.schedulers.sqlite.queries import LARGEST, from_json, statements, to_json
from zart.schedulers.sqlite.writer import Batch, Job, Unsettled

_SQL = statements("start")


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
    times = [due(each, batch.now) for each in new]
    _insert(batch, [(each, 1, 0, at) for each, at in zip(new, times, strict=True)])
    return first_runs(times)


def _look_through(batch: Batch, new: Sequence[NewExecution]) -> list[Started]:
    """Answer each start by what is there, and open what may be opened."""
    found = Found()
    for sql, parameters in _SQL["find"].chunks([(i, each.id, each.start_key) for i, each in enumerate(new, 1)]):
        for number, key, run, status, fence, at, same_run, same_status, same_at in from_json(batch.json(sql, parameters)):
            if key is not None:
                found.add_last(new[number - 1], key, run, status, fence, at)
            if same_run is not None:
                found.add_same(new[number - 1], same_run, same_status, same_at)
    decided = found.decide(new, batch.now)
    if decided.retired:
        batch.connection.execute(_SQL["retire"].sql, {"keys": to_json(decided.retired)})
    _insert(batch, decided.opened)
    return decided.answers


def _insert(batch: Batch, opened: Sequence[Opened]) -> None:
    now = batch.now
    rows = [
        (each.id, run, fence, now, at, each.queue, each.task, each.start_key, each.payload, each.trace)
        for each, run, fence, at in opened
    ]
    for sql, parameters in _SQL["insert"].chunks(rows):
        batch.connection.execute(sql, parameters)
    batch.due += soonest([(each, at) for each, _, _, at in opened])
