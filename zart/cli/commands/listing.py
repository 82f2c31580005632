"""`zart list`."""

import sys
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from zart.cli.access import ELSEWHERE, absent, executions
from zart.cli.inputs import read_name
from zart.cli.output import Record, put_records
from zart.cli.settings import DEFAULTS, Settings
from zart.cli.terminal import visible
from zart.cli.views import LIST_COLUMNS, reason_note, summary
from zart.cli.watching import keep_up, tell_changes
from zart.status import ExecutionStatus

_UNKNOWN_WITHOUT_HISTORY = "step"


async def listing(
    *,
    status: Literal["pending", "running", "waiting", "completed", "failed", "cancelled"] | None = None,
    task: str | None = None,
    limit: Annotated[int, Parameter(validator=Number(gte=1, lte=10_000))] = 100,
    after: str | None = None,
    order: Literal["desc", "asc"] = "desc",
    watch: Annotated[bool, Parameter(name=("--watch", "-w"), negative=())] = False,
    settings: Settings = DEFAULTS,
) -> None:
    """List executions, newest first.

    With --watch what no longer fits --status or --task leaves the table; a program is not told of that.

    Args:
        status: Only those with this status.
        task: Only those of this task.
        limit: How many at most.
        after: Go on after this execution id, the last one of the page before; after an unknown id there is nothing.
        order: Newest first (desc) or oldest first (asc).
        watch: Go on looking every second until Ctrl-C: a live table on a terminal, else a line of JSON for whatever is new or
            has changed.
        settings: What every command takes.
    """
    if task is not None:
        read_name(task, "task name")
    if after is not None:
        read_name(after, "execution id")
    if (missing := absent(settings)) is not None:
        sys.stderr.write(visible(f"zart: there is no database {missing}; {ELSEWHERE}") + "\n")
        put_records((), settings.format, LIST_COLUMNS)
        return
    async with executions(settings) as client:

        async def look() -> list[Record]:
            wanted = None if status is None else ExecutionStatus(status)
            found = await client.list_executions(status=wanted, task_name=task, limit=limit, after=after, order=order)
            return [{key: value for key, value in summary(each).items() if key != _UNKNOWN_WITHOUT_HISTORY} for each in found]

        if not watch:
            put_records(await look(), settings.format, LIST_COLUMNS, reason_note)
        elif settings.format == "table" and sys.stdout.isatty():
            await keep_up(look)
        else:
            await tell_changes(look)
