"""Executions as the commands show them: flat records with stable keys for programs, less of them for people."""

import sys
from typing import Any

from rich.text import Text

from zart.cli.output import Record, console, put_record, put_table
from zart.cli.settings import Format
from zart.cli.terminal import visible
from zart.clock import SystemClock
from zart.report import DurableExecutionStatus, StepStatusInfo, as_of
from zart.status import ExecutionStatus, StepKind

LIST_COLUMNS = ("execution_id", "task", "status", "scheduled_at")
_STEP_COLUMNS = ("name", "kind", "status", "attempts", "started_at", "took", "deadline")


def put_execution(record: DurableExecutionStatus, form: Format, *, steps: bool = False) -> None:
    """Print what `status` and `wait` show."""
    record = as_of(record, SystemClock().now())
    shown = summary(record, steps=steps)
    if form == "table":
        shown.pop("steps", None)
        shown.pop("traceback", None)
        if record.reason is not None:
            del shown["error"]  # the same in words
        if not record.attempt:
            del shown["attempt"]  # the first one is nothing to speak of
    put_record(shown, form)
    if form == "table" and steps and record.traceback is not None:
        _put_traceback(record.traceback)
    if form == "table" and steps and record.steps:
        rows = [_row(step, _deadline(record, step)) for step in record.steps]
        put_table(rows, _STEP_COLUMNS, title="steps", notes=[_notes(step) for step in record.steps])


def _put_traceback(traceback: str) -> None:
    screen = console(sys.stdout)
    screen.print()
    screen.print(Text("traceback", style="bold"))
    for line in traceback.splitlines():
        screen.print(Text(visible(line)), soft_wrap=True)


def reason_note(row: Record) -> Record:
    """Return what is said under an execution in a list."""
    return {"reason": row["reason"]}


def summary(record: DurableExecutionStatus, *, steps: bool = False) -> dict[str, Any]:
    """Return what `status` and `wait` print; with `steps` also the body's traceback and every step with its errors."""
    failed = record.status is ExecutionStatus.FAILED
    shown = {
        "execution_id": record.execution_id,
        "task": record.name,
        "status": str(record.status),
        "step": step_of(record),
        "output": None if failed else record.result,
        "error": record.result if failed else None,
        "reason": record.reason,
        **({"traceback": record.traceback} if steps else {}),
        "run": record.run,
        "attempt": record.attempt,
        "scheduled_at": record.scheduled_at,
        "started_at": record.started_at,
        "completed_at": record.completed_at,
    }
    if steps:
        shown["steps"] = [_step(step, _deadline(record, step)) for step in record.steps]
    return shown


def step_of(record: DurableExecutionStatus) -> str | None:
    """Return the name of the step that an execution is at: the first one begun and not settled."""
    return record.waiting_for[0].name if record.waiting_for else None


def _step(step: StepStatusInfo, deadline: Any) -> dict[str, Any]:
    return {
        "name": step.name,
        "kind": step.kind,
        "status": step.status,
        "attempts": step.attempts,
        "result": step.result,
        "error": step.error,
        "errors": list(step.errors),
        "traceback": step.traceback,
        "deadline": deadline,
        "started_at": step.started_at,
        "completed_at": step.completed_at,
    }


def _deadline(record: DurableExecutionStatus, step: StepStatusInfo) -> Any:
    if step.completed_at is not None:
        return None
    return next((wait.deadline for wait in record.waiting_for if wait.name == step.name), None)


def _row(step: StepStatusInfo, deadline: Any) -> dict[str, Any]:
    took = None
    if step.started_at is not None and step.completed_at is not None:
        took = f"{(step.completed_at - step.started_at).total_seconds():.1f} s"
    # Timers and events have no attempts, and one is what everybody expects.
    attempts = step.attempts if step.kind == StepKind.STEP and step.attempts != 1 else None
    return _step(step, deadline) | {"attempts": attempts, "took": took}


def _notes(step: StepStatusInfo) -> dict[str, Any]:
    told: dict[str, Any] = {"result": step.result}
    if len(step.errors) > 1:
        told |= {f"error {number}": error for number, error in enumerate(step.errors, 1)}
    else:
        told["error"] = step.error
    # That of a step which runs, or has come to its end, is of a call that matters no more.
    trace = () if step.traceback is None or step.status in {"completed", "running"} else tuple(step.traceback.splitlines())
    return told | {"traceback": trace}
