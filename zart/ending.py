"""How a claim ends: the Move, and the record that goes with it. Pure: no clock, no await.

A failure is saved before anything is made of it. An execution that is tried again, or goes on to `on_failure`, is let go and
claimed anew, by whatever worker is first: so body and `on_failure` can never both run, whoever crashes when.
"""

from collections.abc import Callable, Sequence
from typing import Any

from attrs import evolve, frozen

from zart.clock import SECOND, Instant, Micros, micros, moment
from zart.codec import check_size
from zart.errors import (
    DeserializationError,
    ExecutionFailure,
    NonRetryable,
    RetriesExhausted,
    RetryAfter,
    SealedPayload,
    TaskError,
)
from zart.outcome import error_summary, failure_of, failure_reason, load_failure, save_failure
from zart.records import Claim, Move, StepRecord
from zart.registry import Task
from zart.replay import Replay, body_payload, body_record
from zart.status import ExecutionStatus, Phase, StepKind

_FIRST_SETBACK, _LONGEST_SETBACK = SECOND, 300 * SECOND
_WITHOUT_KEY = 30 * SECOND


@frozen
class Ending:
    """The last word about a claim."""

    move: Move
    records: tuple[StepRecord, ...] = ()
    stands_for: int = 0
    """How many other last words storage has refused before this one."""


def capped(due_at: Instant | None, deadline: Instant | None) -> Instant | None:
    """Return the earlier of a time and the execution's deadline."""
    return due_at if deadline is None else deadline if due_at is None else min(due_at, deadline)


def crash_loop(claim: Claim) -> ExecutionFailure:
    """Return the failure of an execution that its workers do not survive."""
    workers = ", ".join(claim.crashed_workers)
    return failure_of(TaskError(f"crash loop: {claim.crashes} workers died over it without a saved step: {workers}"))


def set_aside(claim: Claim, setbacks: int, reason: str, now: Instant) -> Ending:
    """It cannot go on as things are: it is tried again with growing delays, so that the right code heals it."""
    due_at = now + min(_FIRST_SETBACK << min(setbacks, 16), _LONGEST_SETBACK)
    record = _record(claim, Phase.ATTEMPT, body_payload(setback=reason), due_at, now)
    return Ending(Move(ExecutionStatus.WAITING, capped(due_at, claim.deadline), reason=reason), (record,))


def completed(claim: Claim, task: Task, result: Any, limit: int) -> Ending:
    """It has come to a result.

    Raises:
        ZartError: the result cannot be saved.
    """
    what = f"the result of execution {claim.token.execution_id!r}"
    payload, _ = task.output.through(result, what)
    check_size(payload, limit, what)
    return Ending(Move(ExecutionStatus.COMPLETED, payload=payload))


def instead(
    refused: Ending | None, claim: Claim, task: Task, past: Replay, reason: str, now: Instant, returned: Sequence[int] = ()
) -> Ending | None:
    """Return a last word in place of one that storage has refused, or where there was none; None if there is no other left.

    First the same without users' values: a result or a failure becomes a plain failure. Then it is set aside.
    """
    before = 0 if refused is None else refused.stands_for
    if refused is not None and before == 0 and (refused.move.status is not ExecutionStatus.WAITING or refused.move.attempt):
        failure = failure_of(TaskError(f"storage refused to save how it ended: {reason}"))
        if refused.move.attempt is None:
            return evolve(failed(claim, task, past, failure, now, returned), stands_for=1)
        payload = save_failure(failure, ())
        (record,) = refused.records
        plain = evolve(record, payload=body_payload(**body_record(record) | {"failure": payload}))
        return Ending(evolve(refused.move, reason=error_summary(payload)), (plain,), stands_for=1)
    return None if before == 2 else evolve(set_aside(claim, past.setbacks, reason, now), stands_for=2)  # the two above


def undecoded(claim: Claim, task: Task, past: Replay, error: DeserializationError, now: Instant) -> Ending:
    """Its input does not decode: it fails; but if only the key is missing here, a worker that has it can go on.

    If it is not the input but storage, or its history, that is damaged, nothing may be made of it until that is mended.
    """
    if isinstance(error, SealedPayload):
        # Without a record: what is saved here is as plain as the key is missing, and nobody would take it later.
        return Ending(Move(ExecutionStatus.WAITING, now + _WITHOUT_KEY, reason=str(error)))
    if error is past.damage:
        return set_aside(claim, past.setbacks, str(error), now)
    return raised(claim, task, past, failure_of(error), now)


def next_attempt(
    claim: Claim, task: Task, error: BaseException, reopened: Sequence[int], delay: Micros, now: Instant
) -> Ending:
    """The body failed and runs again after a delay; the failures that ended it are reopened."""
    due_at = now + delay
    failure = save_failure(failure_of(error), task.raises)
    record = _record(claim, Phase.ATTEMPT, body_payload(failure=failure, reopened=list(reopened)), due_at, now)
    number = claim.attempt + 1
    reason = f"attempt {number} failed, the next is due at {moment(due_at).isoformat()}: {failure_reason(failure)}"
    return Ending(Move(ExecutionStatus.WAITING, capped(due_at, claim.deadline), attempt=number, reason=reason), (record,))


def body_failed(
    claim: Claim,
    task: Task,
    past: Replay,
    error: BaseException,
    now: Instant,
    reopened: Sequence[int],
    returned: Sequence[int],
    chance: Callable[[], float],
) -> Ending:
    """The body, or `on_failure`, raised: it is tried again if its policy says so. `chance` decides the jitter."""
    again = not isinstance(error, NonRetryable) and task.retry.retries(error, task.raises)
    if again and past.failure is None and claim.attempt < task.retry.max_retries:
        delay = task.retry.delay_before(claim.attempt + 1, chance())
        if isinstance(error, RetryAfter):
            delay = micros(error.delay)
        return next_attempt(claim, task, error, reopened, delay, now)
    failure = failure_of(error)
    limit = task.retry.max_retries
    if past.failure is None and limit > 0 and claim.attempt >= limit:
        failure = RetriesExhausted(claim.attempt + 1, failure)
    return raised(claim, task, past, failure, now, returned)


def raised(
    claim: Claim, task: Task, past: Replay, failure: ExecutionFailure, now: Instant, returned: Sequence[int] = ()
) -> Ending:
    """It fails with what its body raised, or its `on_failure`: if that is the failure it was given, nothing new went wrong.

    A failure that was given may have been made anew since it was raised. So it is known by its words.
    """
    if past.failure is not None:
        first = past.failure.payload or ""
        if failure == failure_of(load_failure(first, task.raises).error):
            return Ending(Move(ExecutionStatus.FAILED, payload=first, reason=failure_reason(first)))
    return failed(claim, task, past, failure, now, returned)


def failed(
    claim: Claim, task: Task, past: Replay, failure: ExecutionFailure, now: Instant, returned: Sequence[int] = ()
) -> Ending:
    """It fails; or, if there is an `on_failure` that has not run, the failure is saved and a next claim runs that.

    `returned` are the outcomes of waits that were handed to nobody: `on_failure` may take their letters.
    """
    payload = save_failure(failure, task.raises)
    if past.failure is not None:
        first = past.failure.payload or ""
        reason = f"{failure_reason(first)}; on_failure failed too: {failure_reason(payload)}"
        return Ending(Move(ExecutionStatus.FAILED, payload=first, reason=reason))
    reason = failure_reason(payload)
    if not task.compensates:
        return Ending(Move(ExecutionStatus.FAILED, payload=payload, reason=reason))
    deadline = now + task.failure_timeout
    records = [_record(claim, Phase.OUTCOME, payload, deadline, now)]
    if returned:
        records.insert(0, _record(claim, Phase.ATTEMPT, body_payload(returned=list(returned)), now, now))
    return Ending(Move(ExecutionStatus.PENDING, now, deadline=deadline, reason=reason), tuple(records))


def _record(claim: Claim, phase: Phase, payload: str, due_at: Instant, now: Instant) -> StepRecord:
    return StepRecord(0, "", StepKind.BODY, phase, False, payload, claim.attempt + 1, due_at, at=now)
