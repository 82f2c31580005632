"""Opening runs in MySQL (rules 1 and 10)."""

from collections.abc import Sequence

from asyncmy.errors import IntegrityError
from attrs import define

from zart.clock import Instant
from zart.records import NewExecution, Reuse, Started
from zart.schedulers.mysql.faults import DUPLICATE, number_of
from zart.schedulers.mysql.queries import Sql
from zart.schedulers.mysql.talk import Talk, all_rows
from zart.schedulers.sql.again import Passing
from zart.schedulers.sql.news import News
from zart.status import TERMINAL, ExecutionStatus

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
    answers = await _insert_as_new(talk, new)
    if answers is None:
        answers = await _look_through(talk, new)
    news.now = talk.now
    _tell(news, new, answers)
    return answers


async def _insert_as_new(talk: Talk, new: Sequence[NewExecution]) -> list[Started] | None:
    """Return the answers, None if nothing was inserted because something is there already."""
    now = Sql("@zart_now")
    rows = []
    for each in new:
        at = Sql(f"@zart_now + {each.delay or 0:d}") if each.at is None else each.at
        rows.append(_row(each, 1, 0, now, at))
    said = talk.say("start.remember"), *talk.rows("start.insert", rows), talk.say("start.recall")
    try:
        *_, told = await talk.whole(*said)
    except IntegrityError as error:
        if number_of(error) != DUPLICATE:
            raise
        await talk.roll_back()
        return None
    talk.now = told.rows[0][0]
    times = [_due(each, talk.now) for each in new]
    return [Started(accepted=True, run=1, status=ExecutionStatus.PENDING, scheduled_at=at) for at in times]


async def _look_through(talk: Talk, new: Sequence[NewExecution]) -> list[Started]:
    """Answer each start by what is there; open runs, if any may be opened, under the locks of those before."""
    answers, opened, known = await _decide(talk, new)
    if not opened:
        return answers
    try:
        await talk.begin(*talk.over("start.lock", sorted(each.key for each in known.values() if each.key is not None)))
        answers, opened, known = await _decide(talk, new)
        retired = [known[each.id].key for each, *_ in opened if each.id in known]
        rows = [_row(each, run, fence, talk.now, at) for each, run, fence, at in opened]
        await talk.end(*talk.over("start.retire", retired), *talk.rows("start.insert", rows))
    except IntegrityError as error:
        if number_of(error) != DUPLICATE:
            raise
        raise Passing(f"somebody else has started the same at the same moment: {error}") from error
    return answers


async def _decide(talk: Talk, new: Sequence[NewExecution]) -> tuple[list[Started], list[Opened], dict[str, _Known]]:
    """Return the answers, what is to be opened for them to be true, and the last run there is of each id."""
    asked = [{"place": place, "id": each.id, "start_key": each.start_key} for place, each in enumerate(new)]
    last_of, same_as = talk.each("start.last", asked), talk.each("start.same", asked)
    answered = await talk.ask(talk.say("start.now"), *last_of, *same_as)
    talk.now = now = answered[0].rows[0][0]
    last: dict[str, _Known] = {}
    for place, key, run, status, fence, at in all_rows(answered[1 : 1 + len(last_of)]):
        last[new[place].id] = _Known(key, run, ExecutionStatus(status), fence, at)
    same: dict[tuple[str, str], Started] = {}
    for place, run, status, at in all_rows(answered[1 + len(last_of) :]):
        each = new[place]
        same[each.id, each.start_key] = Started(accepted=True, run=run, status=ExecutionStatus(status), scheduled_at=at)
    known = dict(last)
    answers: list[Started] = []
    opened: list[Opened] = []
    for each in new:
        before = last.get(each.id)
        answer = same.get((each.id, each.start_key))
        if answer is None and before is not None and before.status not in _REOPENED_BY[each.reuse]:
            answer = Started(accepted=False, run=before.run, status=before.status, scheduled_at=before.scheduled_at)
        if answer is None:
            at = _due(each, now)
            # A fence is never given twice, not even over runs.
            run, fence = (1, 0) if before is None else (before.run + 1, before.fence)
            answer = Started(accepted=True, run=run, status=ExecutionStatus.PENDING, scheduled_at=at)
            last[each.id] = _Known(None, run, ExecutionStatus.PENDING, fence, at)
            same[each.id, each.start_key] = answer
            opened.append((each, run, fence, at))
        answers.append(answer)
    return answers, opened, known


def _row(new: NewExecution, run: int, fence: int, now: object, at: object) -> tuple[object, ...]:
    status = ExecutionStatus.PENDING
    return (new.id, run, 1, status, fence, now, at, at, new.queue, new.task, new.start_key, "[]", new.payload)


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
