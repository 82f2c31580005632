"""Workers' signs of life in PostgreSQL, and taking over from the dead (rule 7)."""

import msgspec

from zart.clock import SECOND, Micros
from zart.records import BeatReply, WorkerBeat
from zart.scheduler import DEADLINE_GRACE, TAKEOVER
from zart.schedulers.postgres.commit import mail_past
from zart.schedulers.postgres.connections import Row, Talk
from zart.schedulers.sql.news import News

_KEPT: Micros = 24 * 3600 * SECOND
"""How long a worker that has ended stays on record."""


async def beat(talk: Talk, beat: WorkerBeat, news: News) -> BeatReply:
    """Register, renew or say goodbye; then do what there is to do for the others."""
    if beat.leaving:
        return await _leave(talk, beat, news)
    tasks = msgspec.json.encode(beat.tasks).decode()
    seen = await _look(talk, beat, tasks)
    if seen["state"] is None and beat.register:
        await talk.rows("beat.register", talk.now, beat.worker, beat.lease, beat.about, _KEPT)
        seen = await _look(talk, beat, tasks)
    news.now = seen["now"]
    if not seen["is_renewed"]:
        return BeatReply(alive=False, now=seen["now"])
    if seen["has_other_tasks"]:
        await talk.rows("beat.list_tasks", beat.worker, list(beat.tasks), tasks)
    taken_over = await _take_over(talk, news) if seen["has_doomed"] else 0
    if seen["has_unheard"] and await _hand_back_unheard(talk, beat):
        news.due.append((0, None, None))
    lost, fresh = ([beat.held[place - 1] for place in seen[name] or ()] for name in ("lost", "news"))
    return BeatReply(
        alive=True,
        now=seen["now"],
        lost=[each.token for each in lost],
        mail=await mail_past(talk, {each.token.key: each.seen for each in fresh}),
        taken_over=taken_over,
    )


async def _look(talk: Talk, beat: WorkerBeat, tasks: str) -> Row:
    row = await talk.row(
        "beat.beat",
        talk.now,
        beat.worker,
        beat.lease,
        msgspec.json.encode(beat.queues).decode(),
        tasks,
        beat.about,
        beat.in_time,
        -DEADLINE_GRACE,
        beat.held_at,
        [each.token.key for each in beat.held],
        [each.token.fence for each in beat.held],
        [each.seen for each in beat.held],
    )
    assert row is not None  # noqa: S101 # it selects one row, whatever there is
    return row


async def _leave(talk: Talk, beat: WorkerBeat, news: News) -> BeatReply:
    row = await talk.row("beat.leave", talk.now, beat.worker)
    assert row is not None  # noqa: S101 # as above
    now, state = row
    if state in {"alive", "left"} and await talk.value("beat.hand_back", talk.now, beat.worker):
        news.due.append((0, None, None))
    return BeatReply(alive=state in {"alive", "left"}, now=now)


async def _take_over(talk: Talk, news: News) -> int:
    """Take over one batch; return how many of it were held by workers that are gone."""
    taken = await talk.rows("beat.take_over", talk.now, -DEADLINE_GRACE, TAKEOVER)
    if taken:
        news.due.append((0, None, None))
        news.calls |= {("worker", worker) for worker, _ in taken}
    return sum(orphaned for _, orphaned in taken)


async def _hand_back_unheard(talk: Talk, beat: WorkerBeat) -> int:
    """Hand back one batch of what the worker was given without ever hearing of it; return how many."""
    count: int = await talk.value(
        "beat.unheard",
        talk.now,
        beat.worker,
        beat.held_at,
        [each.token.key for each in beat.held],
        [each.token.fence for each in beat.held],
        TAKEOVER,
    )
    return count
