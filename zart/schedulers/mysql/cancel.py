"""Ending executions from outside in MySQL (rule 6)."""

from collections.abc import Collection

from zart.schedulers.mysql.deliver import find, lock
from zart.schedulers.mysql.talk import Talk
from zart.schedulers.sql.again import Passing
from zart.schedulers.sql.news import News
from zart.status import ExecutionStatus


async def cancel(talk: Talk, ids: Collection[str], run: int | None, news: News) -> dict[str, tuple[ExecutionStatus, bool]]:
    """End what is not finished."""
    answers: dict[str, tuple[ExecutionStatus, bool]] = {}
    keys = await find(talk, [(each, run) for each in dict.fromkeys(ids)])
    if not keys:
        await talk.end()
        return answers
    runs, _ = await lock(talk, keys)
    ended = []
    for key, execution_id, stored, _, worker, is_current in runs.values():
        if run is None and not is_current:
            raise Passing(f"execution {execution_id!r} was started anew at the same moment")
        status = ExecutionStatus(stored)
        if status.is_terminal:
            answers[execution_id] = (status, False)
            continue
        ended.append(key)
        answers[execution_id] = (ExecutionStatus.CANCELLED, True)
        news.calls.add(("end", execution_id))
        if worker is not None:
            news.calls.add(("worker", worker))
    changed = await talk.end(*talk.over("cancel.cancel", ended))
    if sum(each.count for each in changed) != len(ended):
        raise Passing(f"{talk.place} has let somebody else change what was locked")
    return answers
