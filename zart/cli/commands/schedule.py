"""`zart schedule`."""

import sys
from contextlib import suppress

from zart.cli.access import Executions, executions
from zart.cli.errors import Exit, Refused
from zart.cli.fitting import check_input
from zart.cli.handlers import registry_of
from zart.cli.inputs import DataOption, read_data, read_length, read_moment, read_name
from zart.cli.output import put_record
from zart.cli.settings import DEFAULTS, AppOption, Settings
from zart.cli.terminal import visible
from zart.errors import ZartError
from zart.ids import SystemRandomness
from zart.status import ExecutionStatus


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
    """Start an execution; repeating it is the same start.

    It is durable when the command returns. Repeating the command with the same id, task and data is the same start, and says
    so; another task or other data under the id is refused (exit code 5), also when it has ended.

    Without --app nothing is known of the task: wrong data then fails the execution when a worker takes it, and of a task that
    no living worker knows there is only a word on stderr. A worker ignores unknown fields, since they may come from a newer
    version of your code; only --app takes them for spelling mistakes.

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
    async with executions(settings) as client:
        found = await client.submit(execution_id, task, value, delay=length, at=moment_, queue=queue)
        answer = {
            "execution_id": execution_id,
            "task": task,
            "status": str(found.start.status),
            "run": found.start.run,
            "scheduled_at": found.start.scheduled_at,
            "repeated": found.repeated,
        }
        put_record(answer, settings.format)
        sys.stdout.flush()  # an id that was made here must be known, whatever becomes of the look
        if app is None and found.start.status is ExecutionStatus.PENDING:
            await _tell_if_unknown(client, execution_id, task)


async def _tell_if_unknown(client: Executions, execution_id: str, task: str) -> None:
    """Say on stderr if nobody could take what was started: most likely the name is misspelt, or no worker runs yet."""
    with suppress(ZartError):  # it is started, and that is what was asked
        record = await client.status(execution_id)
        if record.status is ExecutionStatus.PENDING and (record.reason or "").startswith(f"no worker for {task}"):
            sys.stderr.write(visible(f"zart: no worker that is alive knows {task!r}; it waits until one does") + "\n")
            sys.stderr.flush()
