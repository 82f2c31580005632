"""Putting events into mailboxes in PostgreSQL (rule 5)."""

from collections.abc import Iterable, Sequence

from zart.records import Delivery, Event
from zart.schedulers.postgres.connections import Talk
from zart.schedulers.sql.deliveries import Mailbox, decide
from zart.schedulers.sql.news import News
from zart.status import ExecutionStatus


async def deliver(talk: Talk, events: Sequence[Event], news: News) -> list[Delivery]:
    """Append events to mailboxes: in one statement, unless some of them go to one execution."""
    if len({each.execution_id for each in events}) < len(events):
        async with talk.connection.transaction():
            return await _one_after_another(talk, events, news)
    return await _one_each(talk, events, news)


async def _one_each(talk: Talk, events: Sequence[Event], news: News) -> list[Delivery]:
    answers = [Delivery.UNKNOWN] * len(events)
    ended: dict[tuple[int, str], int] = {}
    rows = await talk.rows(
        "deliver.append",
        talk.now,
        [each.execution_id for each in events],
        [each.run for each in events],
        [each.event_id for each in events],
        [each.name for each in events],
        [each.payload.encode() for each in events],
    )
    for place, key, stored, worker, is_new in rows:
        status = ExecutionStatus(stored)
        if status.is_terminal:
            answers[place - 1] = Delivery.FINISHED
            ended[key, events[place - 1].event_id] = place - 1
        elif is_new:
            answers[place - 1] = Delivery.RECORDED
            _tell(news, status, worker)
        else:
            answers[place - 1] = Delivery.DUPLICATE
    for pair in await _duplicates(talk, ended):  # asked before whether the run has ended: rule 10
        answers[ended[pair]] = Delivery.DUPLICATE
    return answers


async def _one_after_another(talk: Talk, events: Sequence[Event], news: News) -> list[Delivery]:
    """Look up and lock the runs, decide on each event in order, append."""
    found = await talk.rows("deliver.find", [each.execution_id for each in events], [each.run for each in events])
    keys = {place - 1: key for place, key in found}
    runs = {
        key: Mailbox(key, ExecutionStatus(stored), mail, worker)
        for key, stored, mail, worker in await talk.rows("deliver.lock", sorted(set(keys.values())))
    }
    taken = await _duplicates(talk, [(key, events[place].event_id) for place, key in keys.items()])
    decided = decide(events, {place: runs[key] for place, key in keys.items() if key in runs}, taken)
    put, counts = decided.put, decided.counts
    if put:
        await talk.rows(
            "deliver.put",
            talk.now,
            [key for key, _, _ in put],
            [seq for _, seq, _ in put],
            [event.name for _, _, event in put],
            [event.event_id for _, _, event in put],
            [event.payload.encode() for _, _, event in put],
            list(counts),
            list(counts.values()),
        )
    news.hear_of_mail(decided)
    return decided.answers


async def _duplicates(talk: Talk, asked: Iterable[tuple[int, str]]) -> set[tuple[int, str]]:
    pairs = list(asked)
    if not pairs:
        return set()
    found = await talk.rows("deliver.duplicates", [key for key, _ in pairs], [event_id for _, event_id in pairs])
    return {(key, event_id) for key, event_id in found}


def _tell(news: News, status: ExecutionStatus, worker: str | None) -> None:
    if status is ExecutionStatus.WAITING:
        news.due.append((0, None, None))
    elif worker is not None:
        news.calls.add(("worker", worker))
