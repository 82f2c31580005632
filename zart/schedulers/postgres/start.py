"""Opening runs in PostgreSQL (rules 1 and 10)."""

from collections.abc import Sequence

import asyncpg

from zart.clock import Instant
from zart.records import NewExecution, Started
from zart.schedulers.postgres.connections import Talk
from zart.schedulers.postgres.queries import Payloads, numbers, some_texts, texts
from zart.schedulers.sql.again import Passing
from zart.schedulers.sql.news import News
from zart.schedulers.sql.starts import Decided, Found, Opened, awaited, due, first_runs

_LARGEST = 5000
"""How many starts one statement takes: enough that more make nothing cheaper."""


async def start(talk: Talk, new: Sequence[NewExecution], news: News) -> list[Started]:
    """Insert all as first runs of new ids; where something is there already, look through it."""
    answers: list[Started] = []
    for first in range(0, len(new), _LARGEST):
        part = new[first : first + _LARGEST]
        now = await (_insert(talk, part) if len(part) > 1 else _insert_one(talk, part[0]))
        if now is not None:
            news.now = now
            answers += first_runs([due(each, now) for each in part])
        else:
            answers += await _look_through(talk, part)
        news.due += awaited(part, answers[first:])
    return answers


async def _insert_one(talk: Talk, new: NewExecution) -> Instant | None:
    """Insert one start, and return storage's time; None if something is there already."""
    payload = new.payload.encode()
    now: Instant | None = await talk.value(
        "start.one", talk.now, new.id, new.at, new.delay, new.queue, new.task, new.start_key, payload, new.trace
    )
    return now


async def _insert(talk: Talk, new: Sequence[NewExecution]) -> Instant | None:
    """Insert those that are not there, and return storage's time; None if that was not all of them."""
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
        some_texts([each.trace for each in new]),
    )
    assert row is not None  # noqa: S101 # one row of counts, always
    return row[0] if row[1] == len(new) else None


async def _look_through(talk: Talk, new: Sequence[NewExecution]) -> list[Started]:
    """Answer each start by what is there; open runs, if any may be opened, under the locks of those before."""
    found, decided = await _decide(talk, new)
    if not decided.opened:
        await talk.rows("repeat.settle")
        return decided.answers
    try:
        async with talk.connection.transaction():
            await talk.rows("start.lock", found.keys)
            _, decided = await _decide(talk, new)
            if decided.opened:
                await _reopen(talk, decided.opened, decided.retired)
            else:
                await talk.rows("repeat.settle")
    except asyncpg.UniqueViolationError as error:
        raise Passing(f"somebody else has started the same at the same moment: {error}") from error
    return decided.answers


async def _decide(talk: Talk, new: Sequence[NewExecution]) -> tuple[Found, Decided]:
    """Return what is there, and what that means."""
    rows = await talk.rows("start.find", talk.now, [each.id for each in new], [each.start_key for each in new])
    found = Found()
    for each, (_, key, run, status, fence, at, same_run, same_status, same_at) in zip(new, rows, strict=True):
        if key is not None:
            found.add_last(each, key, run, status, fence, at)
        if same_run is not None:
            found.add_same(each, same_run, same_status, same_at)
    return found, found.decide(new, rows[0]["now"])


async def _reopen(talk: Talk, opened: Sequence[Opened], retired: Sequence[int]) -> None:
    await talk.rows(
        "start.reopen",
        retired,
        talk.now,
        [each.id for each, *_ in opened],
        [run for _, run, _, _ in opened],
        [fence for _, _, fence, _ in opened],
        [at for _, _, _, at in opened],
        [each.queue for each, *_ in opened],
        [each.task for each, *_ in opened],
        [each.start_key for each, *_ in opened],
        [each.payload.encode() for each, *_ in opened],
        [each.trace for each, *_ in opened],
    )
