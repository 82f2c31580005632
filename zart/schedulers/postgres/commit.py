"""Writing what workers have to say into PostgreSQL (rules 3, 4 and 9)."""

from collections.abc import Sequence
from operator import attrgetter

import asyncpg
from attrs import evolve

from zart.records import Commit, Committed, Fate, Mail, Move
from zart.schedulers.postgres.claim import mail_of
from zart.schedulers.postgres.connections import Talk
from zart.schedulers.postgres.queries import Payloads, booleans, numbers, texts
from zart.schedulers.sql.again import Passing
from zart.schedulers.sql.news import News
from zart.status import ExecutionStatus

_APPLIED = Committed()
_LOST = Committed(fate=Fate.LOST)
_BUSY = Committed(fate=Fate.BUSY)

_by_key = attrgetter("token.key")


async def commit(talk: Talk, commits: Sequence[Commit], news: News) -> list[Committed]:
    """Write all that may be written, in one statement; then look up what is to be told of the rest, if there is a rest."""
    if len(commits) == 1 and await _write_alone(talk, commits[0]):
        if commits[0].move is not None:
            _announce(news, commits[0], commits[0].move, 0)
        return [_APPLIED]
    if len({each.token.key for each in commits}) < len(commits):  # what the first one does decides about the second
        async with talk.connection.transaction():
            return [answer for each in commits for answer in await commit(talk, [each], news)]
    order = sorted(commits, key=_by_key)
    counts = await _write_or_repeat(talk, order)
    for place, each in enumerate(order):
        if each.move is not None:
            _announce(news, each, each.move, 0 if counts is None else counts[place])
    if counts is None:
        return [_APPLIED] * len(commits)
    answers = dict(zip(map(_by_key, order), await _answers(talk, order, counts), strict=True))
    return [answers[each.token.key] for each in commits]


async def _write_alone(talk: Talk, commit: Commit) -> bool:
    """Write one record or one move of a quiet execution; return whether it was that, and is written.

    An execution that runs alone says nothing else, and for so little the great statement would take twice as long.
    """
    token, move = commit.token, commit.move
    if move is None and len(commit.steps) == 1 and not talk.connection.is_in_transaction():
        (step,) = commit.steps
        payload = None if step.payload is None else step.payload.encode()
        which = (step.seq, step.name, step.kind, step.phase, step.ok, step.attempts, step.due_at, step.mail, step.started_at)
        try:
            return await talk.value("commit.record", token.key, token.fence, *which, step.at, payload) is not None
        except asyncpg.UniqueViolationError:
            return False  # it is being said again
    if move is not None and move.reason is None and not commit.steps:
        payload = None if move.payload is None else move.payload.encode()
        to = (move.status, move.due_at, move.attempt, move.deadline, payload)
        return await talk.value("commit.move", talk.now, token.key, token.fence, *to) is not None
    return False


async def _write_or_repeat(talk: Talk, commits: list[Commit]) -> list[int] | None:
    if not talk.connection.is_in_transaction():  # which a failure would end
        try:
            return await _write(talk, commits)
        except asyncpg.UniqueViolationError:
            pass  # some of it is being said again, and nothing of it was written now
    try:
        return await _write(talk, [_without_repeats(each) for each in commits], again=True)
    except asyncpg.UniqueViolationError as error:
        raise Passing(f"the same was being said at the same moment: {error}") from error


def _without_repeats(commit: Commit) -> Commit:
    """Return a commit in which the first record of a seq is the only one."""
    steps = {step.seq: step for step in reversed(commit.steps)}
    return evolve(commit, steps=[steps[seq] for seq in sorted(steps)])


async def _write(talk: Talk, commits: list[Commit], *, again: bool = False) -> list[int] | None:
    places: list[int] = []
    steps = []
    movers: list[int] = []
    moves: list[Move] = []
    for place, commit in enumerate(commits, 1):
        if len(commit.steps) == 1:  # as nearly always
            places.append(place)
            steps.append(commit.steps[0])
        else:
            places += [place] * len(commit.steps)
            steps += commit.steps
        if commit.move is not None:
            movers.append(place)
            moves.append(commit.move)
    payloads = Payloads()
    payloads.add([each.payload for each in steps])
    payloads.add([each.reason for each in moves])
    payloads.add([each.payload for each in moves])
    step_payloads, reasons, move_payloads = payloads.told()
    counts: list[int] | None = await talk.value(
        "commit.write",
        talk.now,
        payloads.in_hex,
        numbers([each.token.key for each in commits]),
        numbers([each.token.fence for each in commits]),
        numbers(places),
        numbers([each.seq for each in steps]),
        texts([each.name for each in steps]),
        texts([each.kind for each in steps]),
        texts([each.phase for each in steps]),
        booleans([each.ok for each in steps]),
        numbers([each.attempts for each in steps]),
        numbers([each.due_at for each in steps]),
        numbers([each.mail for each in steps]),
        numbers([each.started_at for each in steps]),
        numbers([each.at for each in steps]),
        step_payloads,
        numbers([each.seen for each in steps]),
        numbers(movers),
        texts([each.status for each in moves]),
        numbers([each.due_at for each in moves]),
        numbers([each.seen for each in moves]),
        numbers([each.attempt for each in moves]),
        numbers([each.deadline for each in moves]),
        reasons,
        move_payloads,
        again,
    )
    return counts


def _announce(news: News, commit: Commit, move: Move, mail: int) -> None:
    """Tell whom a move concerns, as if it were applied: a hint too many does no harm."""
    if move.seen is not None and mail > move.seen:
        news.due.append((0, None, None))
    elif move.status.is_terminal:
        news.calls.add(("end", commit.token.execution_id))
    elif move.due_at is not None:
        news.due.append((move.due_at, None, None))


async def _answers(talk: Talk, commits: list[Commit], counts: list[int]) -> list[Committed]:
    """Say what became of each commit: of those that were written, and of those that were not."""
    counts = list(counts)
    answers = [_APPLIED] * len(commits)
    unwritten = [each.token.key for each, count in zip(commits, counts, strict=True) if count < 0]
    if unwritten:
        is_repeated = False
        stored = {key: rest for key, *rest in await talk.rows("commit.states", unwritten)}
        for place, (commit, count) in enumerate(zip(commits, counts, strict=True)):
            if count >= 0:
                continue
            fence, status, mail = stored.get(commit.token.key, (None, None, 0))
            if fence != commit.token.fence or (status != ExecutionStatus.RUNNING and commit.move is None):
                answers[place] = _LOST
            elif status == ExecutionStatus.RUNNING:
                answers[place] = _BUSY
            else:  # its move was applied before the reply was lost, with all that is still to be told here
                counts[place] = mail
                is_repeated = True
        if is_repeated:
            await talk.rows("repeat.settle")
    told = [
        (place, commit, count)
        for place, (commit, count) in enumerate(zip(commits, counts, strict=True))
        if count > commit.seen or any(step.seen is not None and count > step.seen for step in commit.steps)
    ]
    if told:
        mail = await _mail(talk, [commit for _, commit, _ in told])
        present = await _present(talk, [commit for _, commit, _ in told])
        for place, commit, count in told:
            key = commit.token.key
            answers[place] = Committed(
                mail=tuple(each for each in mail.get(key, ()) if each.seq > commit.seen),
                withheld=tuple(
                    step.seq
                    for step in commit.steps
                    if step.seen is not None and count > step.seen and (key, step.seq) not in present
                ),
            )
    return answers


async def _mail(talk: Talk, commits: list[Commit]) -> dict[int, list[Mail]]:
    """Return the mail past what the commits have seen, by key."""
    seen: dict[int, int] = {}
    for each in commits:
        seen[each.token.key] = min(each.seen, seen.get(each.token.key, each.seen))
    return await mail_past(talk, seen)


async def mail_past(talk: Talk, seen: dict[int, int]) -> dict[int, list[Mail]]:
    """Return mail by key, past what was seen of each."""
    mail: dict[int, list[Mail]] = {}
    if seen:
        for key, *row in await talk.rows("commit.mail", list(seen), list(seen.values())):
            mail.setdefault(key, []).append(mail_of(row))
    return mail


async def _present(talk: Talk, commits: list[Commit]) -> set[tuple[int, int]]:
    asked = [(each.token.key, step.seq) for each in commits for step in each.steps if step.seen is not None]
    if not asked:
        return set()
    rows = await talk.rows("commit.present", [key for key, _ in asked], [seq for _, seq in asked])
    return {(key, seq) for key, seq in rows}


def refused(commit: Commit, error: Exception) -> Committed:
    """Answer for a commit that cannot be stored."""
    reason = f"PostgreSQL cannot store what execution {commit.token.execution_id!r} has to say: {error}"
    return Committed(fate=Fate.REFUSED, reason=reason)
