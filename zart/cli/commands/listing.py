"""`zart list`."""

import sys
from typing import Annotated, Any, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from zart.cli.database import ELSEWHERE, client_of, is_absent
from zart.cli.inputs import read_name
from zart.cli.output import put_records
from zart.cli.settings import DEFAULTS, Settings, masked
from zart.cli.terminal import visible
from zart.cli.views import LIST_COLUMNS, reason_note, summary
from zart.status import ExecutionStatus

_UNKNOWN_WITHOUT_HISTORY = "step"


async def listing(
    *,
    status: Literal["pending", "running", "waiting", "completed", "failed", "cancelled"] | None = None,
    task: str | None = None,
    limit: Annotated[int, Parameter(validator=Number(gte=1, lte=10_000))] = 100,
    after: str | None = None,
    order: Literal["desc", "asc"] = "desc",
    settings: Settings = DEFAULTS,
) -> None:
    """List executions, newest first.

    Args:
        status: Only those with this status.
        task: Only those of this task.
        limit: How many at most.
        after: Go on after this execution id, the last one of the page before; after an unknown id there is nothing.
        order: Newest first (desc) or oldest first (asc).
        settings: What every command takes.
    """
    if task is not None:
        read_name(task, "task name")
    if after is not None:
        read_name(after, "execution id")
    if is_absent(settings.database_url):
        sys.stderr.write(visible(f"zart: there is no database {masked(settings.database_url)}; {ELSEWHERE}") + "\n")
        put_records((), settings.format, LIST_COLUMNS)
        return
    async with client_of(settings.database_url) as client:
        found = await client.list_executions(
            status=None if status is None else ExecutionStatus(status), task_name=task, limit=limit, after=after, order=order
        )
    rows: list[dict[str, Any]] = []
    for record in found:
        row = summary(record)
        del row[_UNKNOWN_WITHOUT_HISTORY]
        rows.append(row)
    put_records(rows, settings.format, LIST_COLUMNS, reason_note)
