"""`zart status`."""

from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from zart.cli.access import executions
from zart.cli.inputs import read_name
from zart.cli.settings import DEFAULTS, Settings
from zart.cli.views import put_execution


async def status(
    execution_id: str,
    /,
    *,
    steps: Annotated[bool, Parameter(negative=())] = False,
    run: Annotated[int | None, Parameter(validator=Number(gte=1))] = None,
    settings: Settings = DEFAULTS,
) -> None:
    """Show an execution as it is now.

    Prints `execution_id`, `task`, `status`, `step` (what it is at), `output` or `error`, `reason`, `run`, `attempt` and
    times.

    `reason` says in words why it failed, was set aside or waits for another attempt, that an event did not fit, that no
    worker knows its task, or that its worker has let its lease run out and nobody has taken over.

    `attempt` is how often the body was tried *again*: 0 is the first time, and tables do not show it. The `attempts` of a
    step count the calls of its function that came to something: one that was cut off when its worker died has left no
    trace, so a step that was begun twice may show 1.

    Args:
        execution_id: Which one.
        steps: With every step: attempts, deadlines of waits, errors.
        run: An earlier run instead of the current one.
        settings: What every command takes.
    """
    read_name(execution_id, "execution id")
    async with executions(settings, execution_id) as client:
        record = await client.status(execution_id, run)
    put_execution(record, settings.format, steps=steps)
