"""Handing out due executions from MySQL (rule 2)."""

from collections.abc import Iterable, Sequence
from operator import itemgetter

from attrs import define

from zart.clock import Instant
from zart.errors import WorkerNotAlive
from zart.records import Claim, Demand, Mail, Token
from zart.schedulers.mysql.queries import portions
from zart.schedulers.mysql.talk import Row, Talk, all_rows
from zart.schedulers.sql import damage, rows
from zart.schedulers.sql.again import Passing
from zart.schedulers.sql.crashed import workers

_SPARE = 16
"""So many more candidates than are wanted: others may be taking the first of them at this moment."""
_KEY, _TASK, _DUE_AT, _STARTED_AT, _MAIL = 0, 4, 12, 13, 14
"""Places in a row of `lock`."""


@define
class Handed:
    """What a claim got, and what a later wait should know."""

    claims: list[Claim]
    now: Instant
    news: int
    """The worker's."""
    due_at: Instant | None
    """When the next execution is due that this demand could take; known only of a claim that got less than it asked for."""


async def claim(talk: Talk, demand: Demand) -> Handed:
    """Take what is due.

    Raises:
        WorkerNotAlive: the worker must register (again) first.
    """
    limit, suspects = max(demand.limit, 0), max(demand.suspects, 0)
    cluster = talk.cluster
    nodes = 1 if cluster is None else cluster.size
    looking = lines(talk, demand, nodes * (2 * limit + _SPARE), nodes * (2 * suspects + _SPARE))
    worker, *fronts = await talk.ask(talk.say("claim.worker", worker=demand.worker), *looking)
    talk.now, news = _check_alive(demand, worker.rows)
    found = sorted(all_rows(fronts))
    ready = [row for row in found if row[0] <= talk.now]
    due_at = found[len(ready)][0] if len(ready) < len(found) else None
    if len(ready) >= nodes * (2 * limit + _SPARE):  # more may be due than was looked at; what was is another's
        due_at = talk.now
    if cluster is not None:
        ready.sort(key=lambda row: cluster.rank(row[0], row[1]))
    due = [(suspect, key) for _, key, suspect in ready]
    taken: list[Row] = []
    if due and limit:
        taken = await _lock(talk, demand, due, limit, suspects)
    if not taken:
        if talk.is_open:
            await talk.end()
        return Handed([], talk.now, news, found[0][0] if found else None)
    return Handed(await _take(talk, demand, taken), talk.now, news, due_at)


def lines(talk: Talk, demand: Demand, most: int, most_suspects: int) -> list[str]:
    """Return what to ask for the first of those that a demand could take, due or not."""
    kinds = ((0, most), (1, most_suspects)) if demand.suspects > 0 else ((0, most),)
    return talk.each(
        "claim.line",
        [
            {"queue": queue, "task": task, "suspect": suspect, "most": number}
            for queue in dict.fromkeys(demand.queues)
            for task in demand.tasks
            for suspect, number in kinds
        ],
    )


def _check_alive(demand: Demand, found: Sequence[Row]) -> tuple[Instant, int]:
    """Return storage's time, and the number that came with it."""
    if found:
        now, lease_until, *rest = found[0]
        if lease_until > now:
            return now, rest[0] if rest else 0
    raise WorkerNotAlive(
        f"worker {demand.worker!r} is not registered, was declared dead or let its lease pass; register it under a new id"
    )


async def _lock(talk: Talk, demand: Demand, due: list[tuple[int, int]], limit: int, suspects: int) -> list[Row]:
    """Lock as many as are wanted, those due longest first, and return their rows."""
    taken: list[Row] = []
    left = suspects
    while due and len(taken) < limit:
        # No more than are wanted: what is locked and not taken, nobody else could take meanwhile.
        asked: tuple[list[int], list[int]] = [], []
        rest: list[tuple[int, int]] = []
        for suspect, key in due:
            if len(asked[0]) + len(asked[1]) == limit - len(taken):
                rest.append((suspect, key))
            elif not suspect or len(asked[1]) < left:
                asked[suspect].append(key)
            else:
                rest.append((suspect, key))
        if not asked[0] and not asked[1]:
            break
        said = [each for suspect in (0, 1) for each in talk.over("claim.lock", asked[suspect], suspect=suspect)]
        if talk.is_open:
            answers = await talk.ask(*said)
        else:
            worker, *answers = await talk.begin(talk.say("claim.hold_worker", worker=demand.worker), *said)
            talk.now, _ = _check_alive(demand, worker.rows)
        locked = all_rows(answers)
        left -= sum(key in asked[1] for key, *_ in locked)
        taken += locked
        due = rest
    return taken


async def _take(talk: Talk, demand: Demand, taken: list[Row]) -> list[Claim]:
    by_length: dict[int | None, list[int]] = {}
    for row in taken:
        by_length.setdefault(demand.tasks[row[_TASK]], []).append(row[_KEY])
    taking = [
        said
        for length, keys in by_length.items()
        for said in talk.over("claim.take", keys, worker=demand.worker, length=length)
    ]
    past = talk.over("claim.past", [row[_KEY] for row in taken if row[_STARTED_AT] is not None])
    mail = talk.over("claim.mail", [row[_KEY] for row in taken if row[_MAIL]])
    answers = await talk.end(*taking, *past, *mail)
    if sum(each.count for each in answers[: len(taking)]) != len(taken):
        raise Passing(f"{talk.place} has let somebody else change what was locked")
    steps = _by_key(all_rows(answers[len(taking) : len(taking) + len(past)]))
    carried = _by_key(all_rows(answers[len(taking) + len(past) :]))
    return [
        _claim(_given(row, demand), steps.get(row[_KEY], ()), carried.get(row[_KEY], ()), talk.now or 0)
        for row in sorted(taken, key=itemgetter(_DUE_AT, _KEY))
    ]


def _given(row: Row, demand: Demand) -> Row:
    """Return an execution's row with the fence and the deadline that it was given."""
    key, execution_id, run, fence, task, queue, payload, attempt, crashes, crashed, scheduled_at, deadline, *_, trace = row
    length = demand.tasks[task]
    if deadline is None and length is not None:
        deadline = scheduled_at + length
    return key, execution_id, run, fence + 1, task, queue, payload, trace, attempt, crashes, crashed, scheduled_at, deadline


def _claim(row: Row, steps: Sequence[Row], letters: Sequence[Row], now: Instant) -> Claim:
    try:
        return _sound(row, steps, letters, now)
    except Exception:  # noqa: BLE001 # something of it cannot be read, and is now looked for
        return damage.claim(row, steps, letters, now)


def _sound(row: Row, steps: Sequence[Row], letters: Sequence[Row], now: Instant) -> Claim:
    key, execution_id, run, fence, task, queue, payload, trace, attempt, crashes, crashed, scheduled_at, deadline = row
    mail = [damage.letter(each) for each in letters]
    return Claim(
        token=Token(execution_id, run, key, fence),
        task=task,
        queue=queue,
        payload=payload,
        attempt=attempt,
        crashes=crashes,
        crashed_workers=workers(crashed) if crashes else (),
        scheduled_at=scheduled_at,
        deadline=deadline,
        steps=[rows.record(each) for each in steps],
        mail=mail,
        seen=mail[-1].seq if mail else 0,
        now=now,
        trace=trace,
    )


def _by_key(found: Iterable[Row]) -> dict[int, list[Row]]:
    """Return what stands behind a key in rows, in order."""
    by_key: dict[int, list[Row]] = {}
    for key, *row in found:
        by_key.setdefault(key, []).append(tuple(row))
    return by_key


async def mail_past(talk: Talk, seen: dict[int, int]) -> dict[int, list[Mail]]:
    """Return mail by key, past what was seen of each."""
    if not seen:
        return {}
    said = [talk.say("commit.mail", keys=part, seen=min(seen.values())) for part in portions(list(seen))]
    found = _by_key(all_rows(await talk.ask(*said)))
    return {key: [damage.letter(row) for row in letters if row[0] > seen[key]] for key, letters in found.items()}
