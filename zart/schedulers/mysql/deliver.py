"""Putting events into mailboxes in MySQL (rule 5)."""

from collections.abc import Sequence
from typing import Any

from asyncmy.errors import IntegrityError

from zart.clock import Instant
from zart.records import Delivery, Event
from zart.schedulers.mysql.faults import DUPLICATE, number_of
from zart.schedulers.mysql.talk import Row, Talk, all_rows
from zart.schedulers.sql.again import Passing
from zart.schedulers.sql.deliveries import Mailbox, decide
from zart.schedulers.sql.news import News
from zart.status import ExecutionStatus


async def deliver(talk: Talk, events: Sequence[Event], news: News) -> list[Delivery]:
    """Look up and lock the runs, decide on each event in order, append."""
    keys = await find(talk, [(each.execution_id, each.run) for each in events])
    if not keys:
        await talk.end()
        return [Delivery.UNKNOWN] * len(events)
    runs, taken = await _lock(talk, events, keys)
    found = {place: _mailbox(runs[key], events[place]) for place, key in keys.items() if key in runs}
    decided = decide(events, found, taken)
    rows = [(key, seq, talk.now_said, each.name, each.event_id, each.payload) for key, seq, each in decided.put]
    counting = [talk.say("deliver.count", key=key, mail=mail) for key, mail in decided.counts.items()]
    try:
        await talk.end(*talk.rows("deliver.append", rows), *counting)
    except IntegrityError as error:
        if number_of(error) != DUPLICATE:
            raise
        raise Passing(f"the same was delivered at the same moment: {error}") from error
    news.hear_of_mail(decided)
    return decided.answers


def _mailbox(run: Row, event: Event) -> Mailbox:
    key, execution_id, stored, mail, worker, is_current = run
    if event.run is None and not is_current:
        raise Passing(f"execution {execution_id!r} was started anew at the same moment")
    return Mailbox(key, ExecutionStatus(stored), mail, worker)


async def find(talk: Talk, asked: Sequence[tuple[str, int | None]]) -> dict[int, int]:
    """Begin, and return the keys of runs by the places of those who ask: of the last run of an id, or of this one."""
    last = [{"place": place, "id": name} for place, (name, run) in enumerate(asked) if run is None]
    pinned = [{"place": place, "id": name, "run": run} for place, (name, run) in enumerate(asked) if run is not None]
    said = talk.each("deliver.last", last) + talk.each("deliver.pinned", pinned)
    pairs: list[Any] = all_rows(await talk.begin(*said))
    return dict(pairs)


async def lock(talk: Talk, keys: dict[int, int], *said: str) -> tuple[dict[int, Row], list[Row]]:
    """Lock runs in the order of their keys; return them by key, and what something asked after that has answered."""
    locking = talk.over("deliver.lock", sorted(set(keys.values())))
    answers = await talk.ask(talk.say("beat.now"), *locking, *said)
    now: Instant = answers[0].rows[0][0]
    talk.now = now
    runs = {row[0]: row for row in all_rows(answers[1 : 1 + len(locking)])}
    return runs, all_rows(answers[1 + len(locking) :])


async def _lock(talk: Talk, events: Sequence[Event], keys: dict[int, int]) -> tuple[dict[int, Row], set[tuple[int, str]]]:
    """Lock runs, and look which of the events they have: whoever appends has the lock."""
    event_ids = sorted({events[place].event_id for place in keys})
    runs, found = await lock(talk, keys, *talk.over("deliver.duplicates", sorted(set(keys.values())), event_ids=event_ids))
    return runs, {(key, event_id) for key, event_id in found}
