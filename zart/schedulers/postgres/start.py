"""Opening runs in PostgreSQL (rules 1 and 10)."""

from collections.abc import Sequence

import asyncpg
from attrs import define

from zart.clock import Instant
from zart.records import NewExecution, Reuse, Started
from zart.schedulers.postgres.connections import Row, Talk
from zart.schedulers.postgres.queries import Payloads, numbers, texts
from zart.schedulers.sql.again import Passing
from zart.schedulers.sql.news import News
from zart.status import TERMINAL, ExecutionStatus

_LARGEST = 5000
"""How many starts one statement takes: enough that more make nothing cheaper."""

_REOPENED_BY = {
    Reuse.ENDED: TERMINAL,
    Reuse.FAILED: TERMINAL - {ExecutionStatus.COMPLETED},
    Reuse.NEVER: frozenset[ExecutionStatus](),
}


@define
class _Known:
    """A run that is there; `key` is None for one that this call is to open."""

    key: int | None
    run: int
    status: ExecutionStatus
    fence: int
    scheduled_at: Instant


Opened = tuple[NewExecution, int, int, Instant]
"""A start, and the run, fence and time that it gets."""


async def start(talk: Talk, new: Sequence[NewExecution], news: News) -> list[Started]:
    """Insert all as first runs of new ids; where something is there already, look through it."""
    answers: list[Started] = []
    for first in range(0, len(new), _LARGEST):
        part = new[first : first + _LARGEST]
        now, opened = await _insert(talk, part)
        news.now = now
        if opened == len(part):
            times = [_due(each, now) for each in part]
            answers += [Started(accepted=True, run=1, status=ExecutionStatus.PENDING, scheduled_at=at) for at in times]
        else:
            answers += await _look_through(talk, part)
        _tell(news, part, answers[first:])
    return answers


async def _insert(talk: Talk, new: Sequence[NewExecution]) -> tuple[Instant, int]:
    payloads = Payloads()
    payloads.add([each.payload for each in new])
    (told,) = payloads.told()
    row = await talk.row(
        "start.insert",
        talk.now,
        texts([each.id for each in new]),
        texts([each.task for each in new]),
        texts([each.queue for each in new]),
        texts([each.start_key for each in new]),
        numbers([each.delay for each in new]),
        numbers([each.at for each in new]),
        told,
        len(new),
        payloads.in_hex,
    )
    assert row is not None  # noqa: S101 # one row of counts, always
    return row[0], row[1]


async def _look_through(talk: Talk, new: Sequence[NewExecution]) -> list[Started]:
    """Answer each start by what is there; open runs, if any may be opened, under the locks of those before."""
    answers, opened, known = await _decide(talk, new)
    if not opened:
        return answers
    try:
        async with talk.connection.transaction():
            await talk.rows("start.lock", [each.key for each in known.values() if each.key is not None])
            answers, opened, known = await _decide(talk, new)
            if opened:
                await _reopen(talk, opened, known)
    except asyncpg.UniqueViolationError as error:
        raise Passing(f"somebody else has started the same at the same moment: {error}") from error
    return answers


async def _decide(talk: Talk, new: Sequence[NewExecution]) -> tuple[list[Started], list[Opened], dict[str, _Known]]:
    """Return the answers, what is to be opened for them to be true, and the last run there is of each id."""
    found = await talk.rows("start.find", talk.now, [each.id for each in new], [each.start_key for each in new])
    last: dict[str, _Known] = {}
    same: dict[tuple[str, str], Started] = {}
    for each, row in zip(new, found, strict=True):
        _note(each, row, last, same)
    known = dict(last)
    answers: list[Started] = []
    opened: list[Opened] = []
    for each in new:
        before = last.get(each.id)
        answer = same.get((each.id, each.start_key))
        if answer is None and before is not None and before.status not in _REOPENED_BY[each.reuse]:
            answer = Started(accepted=False, run=before.run, status=before.status, scheduled_at=before.scheduled_at)
        if answer is None:
            at = _due(each, found[0]["now"])
            # A fence is never given twice, not even over runs.
            run, fence = (1, 0) if before is None else (before.run + 1, before.fence)
            answer = Started(accepted=True, run=run, status=ExecutionStatus.PENDING, scheduled_at=at)
            last[each.id] = _Known(None, run, ExecutionStatus.PENDING, fence, at)
            same[each.id, each.start_key] = answer
            opened.append((each, run, fence, at))
        answers.append(answer)
    return answers, opened, known


def _note(new: NewExecution, row: Row, last: dict[str, _Known], same: dict[tuple[str, str], Started]) -> None:
    _, key, run, status, fence, at, same_run, same_status, same_at = row
    if key is not None:
        last[new.id] = _Known(key, run, ExecutionStatus(status), fence, at)
    if same_run is not None:
        same[new.id, new.start_key] = Started(
            accepted=True, run=same_run, status=ExecutionStatus(same_status), scheduled_at=same_at
        )


async def _reopen(talk: Talk, opened: Sequence[Opened], known: dict[str, _Known]) -> None:
    before = [known[each.id].key for each, *_ in opened if each.id in known]
    await talk.rows(
        "start.reopen",
        before,
        talk.now,
        [each.id for each, *_ in opened],
        [run for _, run, _, _ in opened],
        [fence for _, _, fence, _ in opened],
        [at for _, _, _, at in opened],
        [each.queue for each, *_ in opened],
        [each.task for each, *_ in opened],
        [each.start_key for each, *_ in opened],
        [each.payload.encode() for each, *_ in opened],
    )


def _tell(news: News, new: Sequence[NewExecution], answers: Sequence[Started]) -> None:
    soonest: dict[tuple[str, str], Instant] = {}
    for each, answer in zip(new, answers, strict=True):
        if answer.accepted and answer.status is ExecutionStatus.PENDING:
            place, at = (each.queue, each.task), answer.scheduled_at
            if at < soonest.get(place, at + 1):
                soonest[place] = at
    news.due += [(at, queue, task) for (queue, task), at in soonest.items()]


def _due(new: NewExecution, now: Instant) -> Instant:
    return now + (new.delay or 0) if new.at is None else new.at
