"""Executions as the commands show them: flat records with stable keys."""

from typing import Any

from zart.report import DurableExecutionStatus, StepStatusInfo
from zart.status import ExecutionStatus

LIST_COLUMNS = ("execution_id", "task", "status", "scheduled_at", "completed_at", "reason")


def summary(record: DurableExecutionStatus, *, steps: bool = False) -> dict[str, Any]:
    """Return what `status` and `wait` print; with `steps` also every step with its attempts, deadline and errors."""
    failed = record.status is ExecutionStatus.FAILED
    shown = {
        "execution_id": record.execution_id,
        "task": record.name,
        "status": str(record.status),
        "step": step_of(record),
        "output": None if failed else record.result,
        "error": record.result if failed else None,
        "reason": record.reason,
        "run": record.run,
        "attempt": record.attempt,
        "scheduled_at": record.scheduled_at,
        "started_at": record.started_at,
        "completed_at": record.completed_at,
    }
    if steps:
        deadlines = {wait.name: wait.deadline for wait in record.waiting_for}
        shown["steps"] = [_step(step, deadlines.get(step.name) if step.completed_at is None else None) for step in record.steps]
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
        "deadline": deadline,
        "started_at": step.started_at,
        "completed_at": step.completed_at,
    }
