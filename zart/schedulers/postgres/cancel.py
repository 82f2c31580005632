"""Ending executions from outside in PostgreSQL (rule 6)."""

from collections.abc import Collection

from zart.schedulers.postgres.connections import Talk
from zart.schedulers.sql.news import News
from zart.status import ExecutionStatus


async def cancel(talk: Talk, ids: Collection[str], run: int | None, news: News) -> dict[str, tuple[ExecutionStatus, bool]]:
    """End what is not finished."""
    answers: dict[str, tuple[ExecutionStatus, bool]] = {}
    for execution_id, stored, worker in await talk.rows("cancel.cancel", talk.now, list(dict.fromkeys(ids)), run):
        status = ExecutionStatus(stored)
        if status.is_terminal:
            answers[execution_id] = (status, False)
            continue
        answers[execution_id] = (ExecutionStatus.CANCELLED, True)
        news.calls.add(("end", execution_id))
        if worker is not None:
            news.calls.add(("worker", worker))
    return answers
