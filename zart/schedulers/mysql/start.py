"""Opening runs in MySQL (rules 1 and 10)."""

from collections.abc import Sequence

from asyncmy.errors import IntegrityError

from zart.records import NewExecution, Started
from zart.schedulers.mysql.faults import DUPLICATE, number_of
from zart.schedulers.mysql.queries import Sql
from zart.schedulers.mysql.talk import Talk, all_rows
from zart.schedulers.sql.again import Passing
from zart.schedulers.sql.news import News
from zart.schedulers.sql.starts import Decided, Found, awaited, due, first_runs
from zart.status import ExecutionStatus


async def start(talk: Talk, new: Sequence[NewExecution], news: News) -> list[Started]:
    """Insert all as first runs of new ids; where something is there already, look through it."""
    answers = await _insert_as_new(talk, new)
    if answers is None:
        answers = await _look_through(talk, new)
    news.now = talk.now
    news.due += awaited(new, answers)
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
    return first_runs([due(each, talk.now) for each in new])


async def _look_through(talk: Talk, new: Sequence[NewExecution]) -> list[Started]:
    """Answer each start by what is there; open runs, if any may be opened, under the locks of those before."""
    found, decided = await _decide(talk, new)
    if not decided.opened:
        return decided.answers
    try:
        await talk.begin(*talk.over("start.lock", sorted(found.keys)))
        _, decided = await _decide(talk, new)
        rows = [_row(each, run, fence, talk.now, at) for each, run, fence, at in decided.opened]
        await talk.end(*talk.over("start.retire", decided.retired), *talk.rows("start.insert", rows))
    except IntegrityError as error:
        if number_of(error) != DUPLICATE:
            raise
        raise Passing(f"somebody else has started the same at the same moment: {error}") from error
    return decided.answers


async def _decide(talk: Talk, new: Sequence[NewExecution]) -> tuple[Found, Decided]:
    """Return what is there, and what that means."""
    asked = [{"place": place, "id": each.id, "start_key": each.start_key} for place, each in enumerate(new)]
    last_of, same_as = talk.each("start.last", asked), talk.each("start.same", asked)
    answered = await talk.ask(talk.say("start.now"), *last_of, *same_as)
    talk.now = now = answered[0].rows[0][0]
    found = Found()
    for place, *last in all_rows(answered[1 : 1 + len(last_of)]):
        found.add_last(new[place], *last)
    for place, *same in all_rows(answered[1 + len(last_of) :]):
        found.add_same(new[place], *same)
    return found, found.decide(new, now)


def _row(new: NewExecution, run: int, fence: int, now: object, at: object) -> tuple[object, ...]:
    status = ExecutionStatus.PENDING
    return (new.id, run, 1, status, fence, now, at, at, new.queue, new.task, new.start_key, "[]", new.payload, new.trace)
