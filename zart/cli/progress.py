"""What `zart wait` shows a person while it waits: the steps with their times, and what is being waited for."""

import sys
from datetime import datetime, timedelta

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from zart.cli.access import Executions
from zart.cli.output import cell, console
from zart.clock import SystemClock
from zart.errors import WaitTimedOut
from zart.report import DurableExecutionStatus, StepStatusInfo

_GLANCE = timedelta(milliseconds=500)
_SHOWN = 20
"""Steps on the screen: the last ones."""


async def watch(client: Executions, execution_id: str, timeout: timedelta) -> DurableExecutionStatus:
    """Wait as `DurableScheduler.wait` does, and show live on stderr what happens meanwhile; nothing is left on the screen."""
    clock = SystemClock()
    end = clock.monotonic() + timeout.total_seconds()
    record = await client.status(execution_id)
    if record.status.is_terminal:
        return record
    with Live(
        console=console(sys.stderr), auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
    ) as screen:
        while not record.status.is_terminal:
            screen.update(picture(record, clock.now()), refresh=True)
            left = timedelta(seconds=max(0.0, end - clock.monotonic()))
            try:
                record = await client.wait(execution_id, min(left, _GLANCE), run=record.run)
            except WaitTimedOut:
                if left <= _GLANCE:
                    raise WaitTimedOut(execution_id, timeout.total_seconds()) from None
                record = await client.status(execution_id, record.run)
    return record


def picture(record: DurableExecutionStatus, now: datetime) -> Group:
    """Return an execution as it is shown while somebody waits for it."""
    head = Text.assemble(cell(record.execution_id), " ", cell(str(record.status)))
    if record.reason:
        head.append_text(Text.assemble(": ", cell(record.reason)))
    lines = Table.grid(padding=(0, 2))
    if len(record.steps) > _SHOWN:
        lines.add_row(Text(f"… {len(record.steps) - _SHOWN} more"))
    deadlines = {wait.name: wait.deadline for wait in record.waiting_for}
    for step in record.steps[-_SHOWN:]:
        deadline = deadlines.get(step.name) if step.completed_at is None else None
        until = f"until {deadline:%Y-%m-%d %H:%M:%S} UTC" if deadline else ""
        lines.add_row(
            cell(step.name), cell(step.status), Text(taken(step, now), justify="right"), Text(until), cell(step.error)
        )
    return Group(head, lines)


def taken(step: StepStatusInfo, now: datetime) -> str:
    """Return how long a step took, or has taken so far."""
    if step.started_at is None:
        return ""
    return f"{max(0.0, ((step.completed_at or now) - step.started_at).total_seconds()):.1f} s"
