"""What an execution looks like from outside: its record, its steps, and what it waits for."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any

from attrs import evolve, field, frozen

from zart.clock import Instant, moment
from zart.codec import ANY
from zart.errors import DeserializationError, RetryExhausted, SealedPayload, StepFailed
from zart.outcome import attempt_summary, error_summary, failure_fields, failure_traceback, load_error
from zart.records import Execution, History, StepRecord
from zart.replay import body_record
from zart.scheduler import Inspector
from zart.status import ExecutionStatus, Phase, StepKind


@frozen
class StepStatusInfo:
    """One operation of an execution.

    `status` is "completed", "failed", "waiting" (a timer, an event, or the next attempt), "running" (begun and not settled),
    "abandoned" (begun, and the execution or its body ended without it), or "retried" (failed, and run again by a later attempt
    of the execution). `result` is the saved value as JSON-like data, `error` the last error in one line, `errors` those of all
    failed attempts, oldest first, `traceback` that of the function's last error as text. `attempts` counts the calls that came
    to something, on whatever workers; one that was cut off by the death of its worker has left no trace. `started_at` is when
    it began first, as far as that was saved: waits, steps with a timeout and steps that take over a second say so when they
    begin, others with their first failed attempt; what was cut off before began with the worker that took over. A timeout or a
    wait keeps its deadline over all of that.
    """

    name: str
    kind: str
    status: str
    attempts: int
    result: Any = None
    error: str | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    errors: tuple[str, ...] = ()
    traceback: str | None = None


@frozen
class Waiting:
    """Something that an execution waits for: the name of a step or wait, its kind, and its deadline if it has one."""

    name: str
    kind: str
    deadline: datetime | None = None


@frozen
class DurableExecutionStatus:
    """An execution as of one moment; see `DurableScheduler.status`. It may be a key of a dict, whatever its values are."""

    name: str
    """The task's name."""
    execution_id: str
    payload: Any = field(hash=False)
    """The input as JSON-like data."""
    status: ExecutionStatus
    result: Any = field(hash=False)
    """The output as JSON-like data when completed; the failure's fields when failed; else None."""
    scheduled_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    attempt: int
    """The attempt of the body, counted from 0."""
    run: int
    waiting_for: tuple[Waiting, ...] = ()
    reason: str | None = None
    """Why it is set aside, waits for a retry, or failed, and what of it is stored and cannot be read, in words."""
    steps: list[StepStatusInfo] = field(factory=list, hash=False)
    raw_result: str | None = field(default=None, repr=False, eq=False)
    """The output or failure as it is stored."""
    traceback: str | None = field(default=None, repr=False, eq=False)
    """That of the body's last failure as text, where users' code raised it; None once it has completed."""


async def view(storage: Inspector, execution_id: str, run: int | None = None) -> tuple[Execution, History] | None:
    """Return one run of an execution with its history, in one go where the storage can; None if there is no such run."""
    look: Callable[..., Awaitable[tuple[Execution, History] | None]] | None = getattr(storage, "view", None)  # see `Viewable`
    if look is not None:
        return await look(execution_id, run)
    execution = await storage.get(execution_id, run)
    return None if execution is None else (execution, await storage.history(execution_id, execution.run))


def report(execution: Execution, history: History | None = None) -> DurableExecutionStatus:
    """Return the record of an execution; with its history also its steps and what it waits for."""
    damage = [each for each in (execution.damage, None if history is None else history.damage) if each is not None]
    settled, open_, abandoned = ([], [], []) if history is None else _operations(history, damage)
    if execution.status.is_terminal:  # whatever had begun then came to nothing: a lost race, or the end itself
        open_, abandoned = [], abandoned + open_
    waits = tuple(Waiting(each[-1].name, str(each[-1].kind), _deadline(each)) for each in open_)
    steps = [*settled, *(_unsettled(each, "abandoned") for each in abandoned), *(_unsettled(each) for each in open_)]
    payload, result = shown(execution.payload, "the input"), _result(execution)
    return DurableExecutionStatus(
        execution.task,
        execution.id,
        payload,
        execution.status,
        result,
        moment(execution.scheduled_at),
        _moment(execution.started_at),
        _moment(execution.completed_at),
        execution.attempt,
        execution.run,
        waits,
        _with_damage(_reason(execution, steps), damage),
        steps,
        execution.result,
        _failure_traceback(execution, history),
    )


def as_of(record: DurableExecutionStatus, now: datetime) -> DurableExecutionStatus:
    """Return a record with the steps as running whose next attempt was due by then, and which a worker has in memory.

    That a step runs again is saved when it has come to something, and not before.
    """
    if record.status is not ExecutionStatus.RUNNING:
        return record
    due = {
        wait.name
        for wait in record.waiting_for
        if wait.kind == StepKind.STEP and wait.deadline is not None and wait.deadline <= now
    }
    steps = [evolve(step, status="running") if step.name in due and step.status == "waiting" else step for step in record.steps]
    again = {step.name for step, before in zip(steps, record.steps, strict=True) if step is not before}
    waits = tuple(evolve(wait, deadline=None) if wait.name in again else wait for wait in record.waiting_for)
    return evolve(record, steps=steps, waiting_for=waits)


def shown(text: str, what: str) -> Any:
    """Return a saved value as JSON-like data. Where it cannot be had, the rest of the record is still worth seeing."""
    try:
        return ANY.decode(text, what)
    except SealedPayload as why:
        return {"sealed": str(why)}
    except DeserializationError as why:
        return {"damaged": str(why)}


def _with_damage(reason: str | None, damage: Sequence[str]) -> str | None:
    """Return a reason with what cannot be read; a worker may have said the same in it."""
    told = "; ".join(each for each in damage if each not in (reason or ""))
    return f"{f'{reason}; ' if reason else ''}what is stored of it cannot be read: {told}" if told else reason


def _result(execution: Execution) -> Any:
    if execution.result is None:
        return None
    match execution.status:
        case ExecutionStatus.COMPLETED:
            return shown(execution.result, "the output")
        case ExecutionStatus.FAILED:
            return failure_fields(execution.result)
        case _:
            return None


def _failure_traceback(execution: Execution, history: History | None) -> str | None:
    if execution.status is ExecutionStatus.FAILED:
        return failure_traceback(execution.result or "")
    if execution.status is ExecutionStatus.COMPLETED or history is None:
        return None
    for record in reversed(history.steps):
        if record.kind is StepKind.BODY:
            failure = record.payload if record.phase is Phase.OUTCOME else _body(record, []).get("failure")
            if failure is not None:
                return failure_traceback(failure)
    return None


def _reason(execution: Execution, steps: Sequence[StepStatusInfo]) -> str | None:
    if execution.status is ExecutionStatus.RUNNING and not execution.served:
        # Its own worker would serve it. Somebody else's would take over from it within a beat.
        return f"worker {execution.worker} has let its lease run out, and there is no other for {execution.task}"
    if execution.reason is not None:
        return execution.reason
    if execution.status is ExecutionStatus.PENDING and not execution.served:
        return f"no worker for {execution.task}"
    # A letter that nobody could read was the reason of one park only; who looks later wants to know of it as well.
    misfits = (f"an event for wait {step.name!r} was set aside: {step.error}" for step in steps if _is_misfit(step))
    return next(misfits, None)


def _is_misfit(step: StepStatusInfo) -> bool:
    return step.kind == StepKind.EVENT and step.status == "waiting" and step.error is not None


def _moment(at: Instant | None) -> datetime | None:
    return None if at is None else moment(at)


def _operations(
    history: History, damage: list[str]
) -> tuple[list[StepStatusInfo], list[list[StepRecord]], list[list[StepRecord]]]:
    """Return what is settled, what is open, and what the body has abandoned; the last two as records. Note what is damaged."""
    bodies = {
        record.seq: _body(record, damage)
        for record in history.steps
        if record.kind is StepKind.BODY and record.phase is Phase.ATTEMPT
    }
    reopened = {seq for told in bodies.values() for seq in told.get("reopened", ())}
    settled: list[StepStatusInfo] = []
    abandoned: list[list[StepRecord]] = []
    gathered: dict[str, list[StepRecord]] = {}
    for record in history.steps:
        if record.kind is StepKind.BODY:
            if record.phase is Phase.OUTCOME:
                abandoned += gathered.values()
                gathered = {}
            elif (left := gathered.pop(bodies.get(record.seq, {}).get("abandoned") or "", None)) is not None:
                abandoned.append(left)
            continue
        gathered.setdefault(record.name, []).append(record)
        if record.phase is Phase.OUTCOME:
            settled.append(_settled(gathered.pop(record.name), history, damage, retried=record.seq in reopened))
    return settled, list(gathered.values()), abandoned


def _body(record: StepRecord, damage: list[str]) -> dict[str, Any]:
    try:
        return body_record(record)
    except DeserializationError as error:
        damage.append(str(error))
        return {}


def _settled(records: Sequence[StepRecord], history: History, damage: list[str], *, retried: bool) -> StepStatusInfo:
    last = records[-1]
    payload = last.payload
    if last.mail is not None:
        letter = next((each for each in history.mail if each.seq == last.mail), None)
        if letter is None:
            damage.append(f"letter {last.mail}, which record {last.seq} has taken, is not there")
        else:
            payload = letter.payload
    spotless = last.ok and len(records) == 1  # as nearly all are
    errors, trace = ((), None) if spotless else (_errors(records), _traceback(records))
    status = "retried" if retried else "completed" if last.ok else "failed"
    result = shown(payload, "the result") if last.ok and payload is not None else None
    error = None if last.ok else error_summary(payload or "")
    # The outcome's own beginning is that of the last claim; one that was parked or taken over has begun long before.
    began = last.started_at if len(records) == 1 else min(records[0].at, last.started_at or records[0].at)
    return StepStatusInfo(
        last.name, str(last.kind), status, last.attempts, result, error, _moment(began or None), moment(last.at), errors, trace
    )


def _unsettled(records: Sequence[StepRecord], status: str | None = None) -> StepStatusInfo:
    last = records[-1]
    waits = last.phase is Phase.ATTEMPT or last.kind is not StepKind.STEP
    errors = _errors(records)
    error = errors[-1] if errors else None
    found = status or ("waiting" if waits else "running")
    began, trace = moment(records[0].at), _traceback(records)
    return StepStatusInfo(last.name, str(last.kind), found, last.attempts, None, error, began, None, errors, trace)


def _traceback(records: Sequence[StepRecord]) -> str | None:
    payloads = (record.payload for record in reversed(records) if record.phase is not Phase.OPENED and not record.ok)
    failed = next(payloads, None)
    if failed is None:
        return None
    error = load_error(failed, ())
    if isinstance(error, RetryExhausted):
        error = error.last_error
    return error.traceback or None if isinstance(error, StepFailed) else None


def _deadline(records: Sequence[StepRecord]) -> datetime | None:
    return _moment(next((record.due_at for record in reversed(records) if record.due_at is not None), None))


def _errors(records: Sequence[StepRecord]) -> tuple[str, ...]:
    found = [error_summary(record.payload or "") for record in records if record.phase is Phase.ATTEMPT]
    last = records[-1]
    if last.phase is Phase.OUTCOME and not last.ok and last.attempts and (error := attempt_summary(last.payload or "")):
        found.append(error)
    return tuple(found)
