"""A start as services and agents make it: the same id, task and data again are the same start."""

import json
from datetime import datetime
from typing import Any

from attrs import frozen

from zart.client import DurableScheduler
from zart.clock import moment
from zart.codec import ANY
from zart.durations import Duration
from zart.errors import ExecutionAlreadyExists, ExecutionNotFound, IdempotencyMismatch
from zart.handle import ScheduleResult
from zart.records import Reuse


@frozen
class Submission:
    """What a submission came to; `repeated` when the execution had been started before, by whomever."""

    start: ScheduleResult
    repeated: bool


async def submit(
    client: DurableScheduler,
    execution_id: str,
    task_name: str,
    data: Any,
    *,
    delay: Duration | None = None,
    at: datetime | None = None,
    queue: str | None = None,
    reuse: str = "never",
    start_key: str | None = None,
) -> Submission:
    """Start an execution, or find that the same one was started before: then its time and queue are left as they are.

    Raises:
        IdempotencyMismatch: the id belongs to another task or to other data.
        ExecutionAlreadyExists: `reuse` asks for another run, and the id is live or has ended otherwise.
        UndeclaredType: the data is not JSON-like.
        PayloadTooLarge: it is too large to save.
        ValueError: a bad id, name, duration or reuse; both `delay` and `at`.
    """
    try:
        handle = await client.start(
            execution_id, task_name, data, delay=delay, at=at, queue=queue, reuse=reuse, start_key=start_key
        )
    except ExecutionAlreadyExists as refusal:
        if reuse != Reuse.NEVER and refusal.status.is_terminal:
            raise
        return Submission(await _found_again(client, execution_id, task_name, data), repeated=True)
    return Submission(handle, repeated=False)


async def _found_again(client: DurableScheduler, execution_id: str, task_name: str, data: Any) -> ScheduleResult:
    there = await client.scheduler.get(execution_id)
    if there is None:  # pruned in between
        raise ExecutionNotFound(execution_id)
    if there.task != task_name:
        raise IdempotencyMismatch(execution_id, "task")
    text, _ = ANY.through(data, "the data")
    if there.payload != text and _canonical(there.payload) != _canonical(text):
        raise IdempotencyMismatch(execution_id, "data")
    return ScheduleResult(execution_id, there.task, there.run, there.status, moment(there.scheduled_at))


def _canonical(text: str) -> str:
    """Return stored data in a form that is the same for the same data, in whatever order its keys stand."""
    ANY.decode(text, "the data that it was started with")  # says so if there is no key to it
    return json.dumps(json.loads(text), sort_keys=True)
