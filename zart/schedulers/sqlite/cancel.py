"""Ending executions from outside in SQLite (rule 6)."""

from collections.abc import Collection

from attrs import define

from zart.schedulers.sqlite.deliver import tell
from zart.schedulers.sqlite.queries import from_json, statements, to_json
from zart.schedulers.sqlite.writer import Batch, Job
from zart.status import ExecutionStatus

_SQL = statements("cancel")


@define
class Cancel(Job[dict[str, tuple[ExecutionStatus, bool]]]):
    """End what is not finished."""

    ids: Collection[str]
    run: int | None = None

    def work(self, batch: Batch) -> dict[str, tuple[ExecutionStatus, bool]]:
        """Look the executions up and cancel those that have not ended."""
        ids = list(dict.fromkeys(self.ids))
        answers: dict[str, tuple[ExecutionStatus, bool]] = {}
        cancelled: list[int] = []
        told: set[str] = set()
        asked = [(number, each, self.run or 0) for number, each in enumerate(ids, 1)]
        for sql, parameters in _SQL["find"].chunks(asked):
            for number, key, stored, worker in from_json(batch.json(sql, parameters)):
                execution_id, status = ids[number - 1], ExecutionStatus(stored)
                if status.is_terminal:
                    answers[execution_id] = (status, False)
                    continue
                answers[execution_id] = (ExecutionStatus.CANCELLED, True)
                cancelled.append(key)
                batch.calls.add(("end", execution_id))
                if worker is not None:
                    told.add(worker)
        if cancelled:
            keys = to_json(cancelled)
            batch.connection.execute(_SQL["cancel"].sql, {"keys": keys, "now": batch.now})
            tell(batch, told)
        return answers
