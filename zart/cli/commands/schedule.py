"""`zart schedule`."""

import json
from typing import Any

from zart.cli.database import client_of
from zart.cli.errors import Exit, Refused
from zart.cli.fitting import check_input
from zart.cli.handlers import registry_of
from zart.cli.inputs import DataOption, read_data, read_length, read_moment, read_name
from zart.cli.output import put_record
from zart.cli.settings import DEFAULTS, AppOption, Settings
from zart.client import DurableScheduler
from zart.clock import moment
from zart.codec import ANY
from zart.errors import ExecutionAlreadyExists, ExecutionNotFound, IdempotencyMismatch
from zart.ids import SystemRandomness


async def schedule(
    task: str,
    /,
    *,
    data: DataOption = None,
    id: str | None = None,  # noqa: A002 # the option's name
    delay: str | None = None,
    at: str | None = None,
    queue: str | None = None,
    app: AppOption = None,
    settings: Settings = DEFAULTS,
) -> None:
    """Start an execution; it is durable when the command returns.

    Repeating the command with the same id, task and data is the same start, and says so; another task or other data under
    the id is refused (exit code 5).

    Args:
        task: The task's name.
        data: The input: JSON, @file, or - for stdin.
        id: The execution's id; one is made when it is not given.
        delay: Start so much later: seconds, or e.g. 30s, 5m, 1h30m.
        at: Start at that time, e.g. 2030-01-31T08:00:00+01:00.
        queue: The queue; default: the handler's with --app, else "default".
        app: Where the handlers are, as package.module:name: an unknown task or wrong data is then refused.
        settings: What every command takes.
    """
    read_name(task, "task name")
    if delay is not None and at is not None:
        raise Refused("usage", "--delay and --at exclude each other", "give one of the two", Exit.USAGE)
    value = read_data(data)
    if app is not None:
        known = registry_of(app)[task]
        check_input(known, value, given=data is not None)
        queue = queue or known.queue
    execution_id = str(SystemRandomness().uuid()) if id is None else read_name(id, "execution id")
    length = None if delay is None else read_length(delay, "--delay")
    moment_ = None if at is None else read_moment(at)
    if queue is not None:
        read_name(queue, "queue")
    async with client_of(settings.database_url) as client:
        try:
            handle = await client.start(execution_id, task, value, delay=length, at=moment_, queue=queue, reuse="never")
        except ExecutionAlreadyExists:
            found = await _found_again(client, execution_id, task, value)
        else:
            found = _answer(execution_id, task, str(handle.status), handle.run, handle.scheduled_at, repeated=False)
    put_record(found, settings.format)


async def _found_again(client: DurableScheduler, execution_id: str, task: str, value: Any) -> dict[str, Any]:
    """Return the execution that has the id already, if it is what was asked for."""
    there = await client.scheduler.get(execution_id)
    if there is None:
        raise ExecutionNotFound(execution_id)
    if there.task != task:
        raise IdempotencyMismatch(execution_id, "task")
    text, _ = ANY.through(value, "the data")
    if there.payload != text and _canonical(there.payload) != _canonical(text):
        raise IdempotencyMismatch(execution_id, "data")
    return _answer(execution_id, task, str(there.status), there.run, moment(there.scheduled_at), repeated=True)


def _canonical(text: str) -> str:
    """Return stored data in a form that is the same for the same data, in whatever order its keys stand."""
    return json.dumps(json.loads(text), sort_keys=True)


def _answer(execution_id: str, task: str, status: str, run: int, scheduled_at: Any, *, repeated: bool) -> dict[str, Any]:
    return {
        "execution_id": execution_id,
        "task": task,
        "status": status,
        "run": run,
        "scheduled_at": scheduled_at,
        "repeated": repeated,
    }
