"""Putting events into mailboxes in SQLite (rule 5)."""

from collections.abc import Sequence

from attrs import define

from zart.records import Delivery, Event
from zart.schedulers.sql.deliveries import Mailbox, decide
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
        decided = decide(self.events, *self._find(batch))
        if decided.put:
            rows = [(key, seq, batch.now, each.name, each.event_id, each.payload) for key, seq, each in decided.put]
            for sql, parameters in _SQL["append"].chunks(rows):
                batch.connection.execute(sql, parameters)
            counted = {"counts": to_json(list(decided.counts.items())), "now": batch.now}
            batch.connection.execute(_SQL["count"].sql, counted)
            if decided.wakes:
                batch.due.append((batch.now, None, None))
            tell(batch, decided.workers)
        return decided.answers

    def _find(self, batch: Batch) -> tuple[dict[int, Mailbox], set[tuple[int, str]]]:
        """Return the runs by the events' places, and which of the events they have."""
        asked = [(i, each.execution_id, each.run or 0, each.event_id) for i, each in enumerate(self.events, 1)]
        found: dict[int, Mailbox] = {}
        taken: set[tuple[int, str]] = set()
        for sql, parameters in _SQL["find"].chunks(asked):
            for number, key, status, mail, worker, duplicate in from_json(batch.json(sql, parameters)):
                found[number - 1] = Mailbox(key, ExecutionStatus(status), mail, worker)
                if duplicate:
                    taken.add((key, self.events[number - 1].event_id))
        return found, taken


def tell(batch: Batch, workers: set[str]) -> None:
    """Let workers know, in whatever process, that something came for them or was taken from them."""
    if workers:
        batch.connection.execute(_SQL["tell"].sql, {"workers": to_json(sorted(workers))})
        batch.calls |= {("worker", worker) for worker in workers}
