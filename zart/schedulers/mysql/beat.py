"""Workers' signs of life in MySQL, and taking over from the dead (rule 7)."""

from collections.abc import Iterable
from typing import Any

import msgspec
from asyncmy.errors import IntegrityError

from zart.clock import SECOND, Instant, Micros
from zart.records import BeatReply, WorkerBeat
from zart.scheduler import DEADLINE_GRACE, TAKEOVER
from zart.schedulers.mysql.claim import mail_past
from zart.schedulers.mysql.faults import DUPLICATE, number_of
from zart.schedulers.mysql.talk import Row, Talk, all_rows
from zart.schedulers.sql.again import Passing
from zart.schedulers.sql.news import News

_KEPT: Micros = 24 * 3600 * SECOND
"""How long a worker that has ended stays on record."""


async def beat(talk: Talk, beat: WorkerBeat, news: News) -> BeatReply:
    """Register, renew or say goodbye; then do what there is to do for the others."""
    answers = await talk.begin(talk.say("beat.now"), talk.say("beat.worker", worker=beat.worker))
    now: Instant = answers[0].rows[0][0]
    talk.now = news.now = now
    state, listed, lease_until = answers[1].rows[0] if answers[1].rows else (None, None, None)
    if beat.leaving:
        return await _leave(talk, beat, news, state, now)
    if state != "alive" and (state is not None or not beat.register):
        await talk.end()
        return BeatReply(alive=False, now=now)
    # It may have been on its way for as long as storage could not be reached by anybody.
    in_time = beat.in_time and (lease_until is None or now < lease_until)
    found = await _renew(talk, beat, listed, is_new=state is None)
    if in_time and (expired := found["expired"]):
        await _declare_dead(talk, [row[0] for row in expired])
        found |= await _look(talk, beat, "doomed")
    taken_over = await _take_over(talk, found["doomed"], news) if found["doomed"] else 0
    held = {(each.token.key, each.token.fence) for each in beat.held}
    unheard = [row for row in found["under"] if tuple(row) not in held][:TAKEOVER]
    if unheard:
        await _release(talk, [row[0] for row in unheard], [row[1] for row in unheard])
        news.due.append((0, None, None))
    if taken_over or unheard or found["doomed"]:
        found |= await _look(talk, beat, "held")
    return await _reply(talk, beat, found["held"], taken_over)


def _looks(talk: Talk, beat: WorkerBeat, *names: str) -> dict[str, list[str]]:
    """Return what to ask for what there is to do, by names."""
    said = {
        "expired": lambda: [talk.say("beat.expired", worker=beat.worker)],
        "doomed": lambda: [talk.say("beat.doomed", overdue=(talk.now or 0) - DEADLINE_GRACE, most=TAKEOVER)],
        "under": lambda: [] if beat.held_at is None else [talk.say("beat.under", worker=beat.worker, held_at=beat.held_at)],
        "held": lambda: talk.over("beat.held", [each.token.key for each in beat.held]),
    }
    return {name: said[name]() for name in names}


async def _look(talk: Talk, beat: WorkerBeat, *names: str) -> dict[str, list[Row]]:
    said = _looks(talk, beat, *names)
    return _parted(said, await talk.ask(*(each for some in said.values() for each in some)))


def _parted(said: dict[str, list[str]], answers: list[Any]) -> dict[str, list[Row]]:
    """Return the rows of answers by the names of what was asked."""
    left = iter(answers)
    return {name: all_rows([next(left) for _ in some]) for name, some in said.items()}


async def _renew(talk: Talk, beat: WorkerBeat, listed: str | None, *, is_new: bool) -> dict[str, list[Row]]:
    """Write the worker's row and commit; and look, in the same round trip, what there is to do."""
    tasks = msgspec.json.encode(beat.tasks).decode()
    about = {
        "worker": beat.worker,
        "lease": beat.lease,
        "queues": msgspec.json.encode(beat.queues).decode(),
        "tasks": tasks,
        "about": beat.about,
    }
    writing = [talk.say("beat.register" if is_new else "beat.renew", **about)]
    if tasks != listed:
        writing.append(talk.say("beat.forget_tasks", workers=[beat.worker]))
        writing += talk.rows("beat.list_tasks", [(task, beat.worker) for task in dict.fromkeys(beat.tasks)])
    said = _looks(talk, beat, "expired", "doomed", "under", "held")
    try:
        answers = await talk.ask(*writing, "COMMIT", *(each for some in said.values() for each in some))
    except IntegrityError as error:
        if number_of(error) != DUPLICATE:
            raise
        raise Passing(f"the same worker registers at the same moment: {error}") from error
    talk.is_open = False
    if is_new:
        await _forget(talk)
    return _parted(said, answers[len(writing) + 1 :])


async def _forget(talk: Talk) -> None:
    """Forget workers that ended long ago and hold nothing any more."""
    before = (talk.now or 0) - _KEPT
    gone = [row[0] for row in all_rows(await talk.ask(talk.say("beat.forgettable", before=before)))]
    if gone:
        gone.sort()
        forgetting = talk.over("beat.forget", gone, "workers", before=before)
        await talk.whole(*forgetting, *talk.over("beat.forget_tasks", gone, "workers"))


async def _leave(talk: Talk, beat: WorkerBeat, news: News, state: str | None, now: Instant) -> BeatReply:
    if state not in {"alive", "left"}:
        await talk.end()
        return BeatReply(alive=False, now=now)
    # The lock waited for a claim of the worker's in flight; after it there is none.
    *_, found = await talk.end(
        talk.say("beat.leave", worker=beat.worker),
        talk.say("beat.all_under", worker=beat.worker),
    )
    keys = sorted(row[0] for row in found.rows)
    if keys:
        locked = all_rows(await talk.begin(*talk.over("beat.hand_back", keys, worker=beat.worker)))
        await talk.end(*talk.over("beat.release", [row[0] for row in locked]))
        if locked:
            news.due.append((0, None, None))
    return BeatReply(alive=True, now=now)


async def _declare_dead(talk: Talk, workers: list[str]) -> None:
    locked = all_rows(await talk.begin(*talk.over("beat.lock_expired", sorted(workers), "workers")))
    await talk.end(*talk.over("beat.declare_dead", [row[0] for row in locked], "workers"))


async def _take_over(talk: Talk, doomed: list[Row], news: News) -> int:
    """Take over one batch; return how many of it were held by workers that are gone."""
    seen = {key: (fence, worker, orphaned, blamed) for _, key, fence, worker, orphaned, blamed in doomed}
    locked = all_rows(await talk.begin(*talk.over("beat.lock", sorted(seen))))
    taken = [row for row in locked if seen[row[0]][:2] == (row[1], row[2])]
    blaming = [
        talk.say("beat.blame", key=key, fence=fence, crashed_workers=_with(crashed, worker))
        for key, fence, worker, crashed in taken
        if seen[key][3]
    ]
    changed = await talk.end(*blaming, *talk.over("beat.release", [row[0] for row in taken]))
    if sum(each.count for each in changed) != len(blaming) + len(taken):
        raise Passing(f"{talk.place} has let somebody else change what was locked")
    if taken:
        news.due.append((0, None, None))
        news.calls |= {("worker", worker) for _, _, worker, _ in taken}
    return sum(seen[row[0]][2] for row in taken)


def _with(crashed_workers: str, worker: str) -> str:
    """Return a list with one more in it. It is not read: one that is damaged must stop no takeover, and a claim will tell."""
    one_more = msgspec.json.encode(worker).decode()
    return f"[{one_more}]" if crashed_workers == "[]" else f"{crashed_workers[:-1]},{one_more}]"


async def _release(talk: Talk, keys: Iterable[int], fences: Iterable[int]) -> None:
    """Hand back what the worker was given without ever hearing of it."""
    seen = dict(zip(keys, fences, strict=True))
    locked = all_rows(await talk.begin(*talk.over("beat.lock", sorted(seen))))
    await talk.end(*talk.over("beat.release", [row[0] for row in locked if seen[row[0]] == row[1]]))


async def _reply(talk: Talk, beat: WorkerBeat, found: list[Row], taken_over: int) -> BeatReply:
    stored = {key: (fence, mail) for key, fence, mail in found}
    lost = []
    news = {}
    for each in beat.held:
        fence, mail = stored.get(each.token.key, (None, 0))
        if fence != each.token.fence:
            lost.append(each.token)
        elif mail > each.seen:
            news[each.token.key] = each.seen
    return BeatReply(alive=True, now=talk.now or 0, lost=lost, mail=await mail_past(talk, news), taken_over=taken_over)
