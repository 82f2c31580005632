"""Executions as they are shown over HTTP: stored values made into what JSON can say."""

import json
from collections.abc import Callable
from typing import Any

import msgspec

from zart.clock import moment
from zart.codec.plain import plain
from zart.errors import DeserializationError
from zart.http import wire
from zart.outcome import error_summary
from zart.records import History, StepRecord
from zart.replay import body_record
from zart.report import DurableExecutionStatus, StepStatusInfo, shown
from zart.status import ExecutionStatus, Phase, StepKind

_to_json: Callable[[Any], bytes] = msgspec.json.Encoder().encode


def written(answer: Any) -> bytes:
    """Return an answer as JSON."""
    try:
        return _to_json(answer)
    except UnicodeEncodeError:  # a lone surrogate, which JSON can say in ASCII only
        return json.dumps(msgspec.to_builtins(answer), separators=(",", ":")).encode("ascii")


def summary_of(record: DurableExecutionStatus, *, stored: bool = False) -> wire.Summary:
    """Return an execution without its steps."""
    return wire.Summary(**_summary(record, stored=stored))


def execution_of(record: DurableExecutionStatus, *, stored: bool = False) -> wire.Execution:
    """Return an execution with its steps and what it waits for."""
    waits = tuple(wire.Waiting(name=each.name, kind=each.kind, deadline=each.deadline) for each in record.waiting_for)
    return wire.Execution(
        **_summary(record, stored=stored),
        current_step=record.waiting_for[0].name if record.waiting_for else None,
        waiting_for=waits,
        steps=tuple(map(_step, record.steps)),
    )


def snapshot_of(record: DurableExecutionStatus) -> wire.Snapshot:
    """Return an execution without its values."""
    return wire.Snapshot(**_snapshot(record))


def _snapshot(record: DurableExecutionStatus) -> dict[str, Any]:
    return {
        "execution_id": record.execution_id,
        "task": record.name,
        "status": record.status.value,
        "run": record.run,
        "attempt": record.attempt,
        "reason": record.reason,
        "scheduled_at": record.scheduled_at,
        "started_at": record.started_at,
        "completed_at": record.completed_at,
    }


def _summary(record: DurableExecutionStatus, *, stored: bool) -> dict[str, Any]:
    failed = record.status is ExecutionStatus.FAILED
    return _snapshot(record) | {
        "data": plain(record.payload),
        "output": None if failed else plain(record.result),
        "error": plain(record.result) if failed else None,
        "stored_result": record.raw_result if stored else msgspec.UNSET,
    }


def _step(step: StepStatusInfo) -> wire.Step:
    return wire.Step(
        name=step.name,
        kind=step.kind,
        status=step.status,
        attempts=step.attempts,
        result=plain(step.result),
        error=step.error,
        errors=step.errors,
        traceback=step.traceback,
        started_at=step.started_at,
        completed_at=step.completed_at,
    )


def turn_of(record: StepRecord, history: History) -> wire.Turn:
    """Return one line of a history."""
    result, error = _told(record, history)
    return wire.Turn(
        turn=record.seq,
        name=record.name,
        kind=record.kind.value,
        phase=record.phase.value,
        ok=record.phase is not Phase.ATTEMPT and record.ok,
        attempts=record.attempts,
        result=plain(result),
        error=error,
        due_at=None if record.due_at is None else moment(record.due_at),
        at=moment(record.at),
    )


def _told(record: StepRecord, history: History) -> tuple[Any, str | None]:
    """Return what came of it, and what went wrong."""
    if record.phase is Phase.OPENED:
        return None, None
    if record.kind is StepKind.BODY and record.phase is Phase.ATTEMPT:
        try:
            told = body_record(record)
        except DeserializationError as error:
            return None, str(error)
        failure = told.get("failure")
        return None, told["setback"] if "setback" in told else error_summary(failure) if isinstance(failure, str) else None
    payload = record.payload
    if record.mail is not None and record.phase is Phase.OUTCOME:
        payload = next((letter.payload for letter in history.mail if letter.seq == record.mail), None)
    if record.phase is Phase.ATTEMPT or not record.ok:
        return None, error_summary(payload or "")
    return (None if payload is None else shown(payload, "the result")), None
