"""Putting events into mailboxes in SQLite (rule 5)."""

from collections.abc import Sequence

from attrs import define

from zart.records import Delivery, Event
from zart.schedulers.sqlite.queries import from_json, statements, to_json
from zart.schedulers.sqlite.writer import Batch, Job
from zart.status import ExecutionStatus

_SQL = statements("deliver")


@define
class Deliver(Job[list[Delivery]]):
    """Append events to mailboxes."""

    events: Sequence[Event]

    def work(self, batch: Batch) -> list[Delivery]:
        """Look up the runs, decide on each event in order, append."""
        found = self._find(batch)
        answers: list[Delivery] = []
        counts: dict[int, int] = {}
        taken: set[tuple[int, str]] = set()
        rows: list[tuple[object, ...]] = []
        told: set[str] = set()
        for number, event in enumerate(self.events, 1):
            if number not in found:
                answers.append(Delivery.UNKNOWN)
                continue
            key, status, mail, worker, duplicate = found[number]
            if duplicate or (key, event.event_id) in taken:  # asked before whether the run has ended: rule 10
                answers.append(Delivery.DUPLICATE)
                continue
            if status.is_terminal:
                answers.append(Delivery.FINISHED)
                continue
            taken.add((key, event.event_id))
            seq = counts[key] = counts.get(key, mail) + 1
            rows.append((key, seq, batch.now, event.name, event.event_id, event.payload))
            if status is ExecutionStatus.WAITING:
                batch.due.append((batch.now, None, None))
            elif worker is not None:
                told.add(worker)
            answers.append(Delivery.RECORDED)
        if rows:
            for sql, parameters in _SQL["append"].chunks(rows):
                batch.connection.execute(sql, parameters)
            counted = {"counts": to_json(list(counts.items())), "now": batch.now}
            batch.connection.execute(_SQL["count"].sql, counted)
            tell(batch, told)
        return answers

    def _find(self, batch: Batch) -> dict[int, tuple[int, ExecutionStatus, int, str | None, bool]]:
        """Return by the event's number, from 1: key, status and mail of its run, its worker, whether the run has the event."""
        asked = [(i, each.execution_id, each.run or 0, each.event_id) for i, each in enumerate(self.events, 1)]
        found: dict[int, tuple[int, ExecutionStatus, int, str | None, bool]] = {}
        for sql, parameters in _SQL["find"].chunks(asked):
            for number, key, status, mail, worker, duplicate in from_json(batch.json(sql, parameters)):
                found[number] = (key, ExecutionStatus(status), mail, worker, duplicate == 1)
        return found


def tell(batch: Batch, workers: set[str]) -> None:
    """Let workers know, in whatever process, that something came for them or was taken from them."""
    if workers:
        batch.connection.execute(_SQL["tell"].sql, {"workers": to_json(sorted(workers))})
        batch.calls |= {("worker", worker) for worker in workers}
