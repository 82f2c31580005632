"""`zart schedule`."""

from zart.cli.access import executions
from zart.cli.errors import Exit, Refused
from zart.cli.fitting import check_input
from zart.cli.handlers import registry_of
from zart.cli.inputs import DataOption, read_data, read_length, read_moment, read_name
from zart.cli.output import put_record
from zart.cli.settings import DEFAULTS, AppOption, Settings
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

    Without --app nothing is known of the task: wrong data then fails the execution when a worker takes it. A worker ignores
    unknown fields, since they may come from a newer version of your code; only --app takes them for spelling mistakes.

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
    put_record(
        {
            "execution_id": execution_id,
            "task": task,
            "status": str(found.start.status),
            "run": found.start.run,
            "scheduled_at": found.start.scheduled_at,
            "repeated": found.repeated,
        },
        settings.format,
    )
