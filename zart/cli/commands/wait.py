"""`zart wait`."""

import sys
from shlex import quote
from typing import Annotated

from cyclopts import Parameter

from zart.cli.access import executions
from zart.cli.errors import Exit, Problem, complain, explain
from zart.cli.inputs import read_length, read_name
from zart.cli.progress import watch
from zart.cli.settings import DEFAULTS, Settings
from zart.cli.views import put_execution
from zart.errors import WaitTimedOut
from zart.status import ExecutionStatus


async def wait(
    execution_id: str,
    /,
    *,
    timeout: str = "1h",
    steps: Annotated[bool, Parameter(negative=())] = False,
    settings: Settings = DEFAULTS,
) -> int:
    """Wait until an execution has ended, and show it.

    It is shown as by `zart status`. On a terminal there are meanwhile the steps with their times, and what is waited for. Exit
    code 4 when it failed or was cancelled, 75 when it has not ended in time: it goes on, wait again.

    Args:
        execution_id: Which one.
        timeout: How long: seconds, or e.g. 30s, 5m, 1h30m.
        steps: With every step: attempts, deadlines of waits, errors.
        settings: What every command takes.
    """
    read_name(execution_id, "execution id")
    patience = read_length(timeout, "--timeout")
    form = settings.format
    late: WaitTimedOut | None = None
    async with executions(settings, execution_id) as client:
        try:
            if sys.stderr.isatty():
                record = await watch(client, execution_id, patience)
            else:
                record = await client.wait(execution_id, patience)
        except WaitTimedOut as error:
            late, record = error, await client.status(execution_id)
    put_execution(record, form, steps=steps)
    if late is not None:
        return _leave(explain(late), form != "table")
    shown = f"`zart status {quote(execution_id)} --steps` shows how far it came"
    match record.status:
        case ExecutionStatus.FAILED:
            message = f"execution {execution_id!r} failed" + (f": {record.reason}" if record.reason else "")
            return _leave(
                Problem("execution_failed", message, shown, Exit.ENDED_BADLY),
                form != "table",
            )
        case ExecutionStatus.CANCELLED:
            return _leave(
                Problem("execution_cancelled", f"execution {execution_id!r} was cancelled", shown, Exit.ENDED_BADLY),
                form != "table",
            )
        case _:
            return Exit.DONE


def _leave(problem: Problem, as_json: bool) -> int:
    sys.stdout.flush()  # the record first, then the complaint
    complain(problem, as_json=as_json)
    return problem.exit
