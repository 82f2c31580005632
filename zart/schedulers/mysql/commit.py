"""Writing what workers have to say into MySQL (rules 3, 4 and 9)."""

from collections.abc import Sequence

from attrs import define, field

from zart.records import Commit, Committed, Fate, Move, StepRecord
from zart.schedulers.mysql.claim import mail_past
from zart.schedulers.mysql.talk import Row, Talk, all_rows
from zart.schedulers.sql.again import Passing
from zart.schedulers.sql.news import News
from zart.status import ExecutionStatus, Phase

_APPLIED = Committed()
_LOST = Committed(fate=Fate.LOST)
_BUSY = Committed(fate=Fate.BUSY)


@define
class _State:
    """How an execution stands, as this call goes on."""

    fence: int
    running: bool
    mail: int
    crashes: int

    @classmethod
    def of(cls, row: Row) -> "_State":
        _, fence, status, mail, crashes = row
        return cls(fence, status == ExecutionStatus.RUNNING, mail, crashes)


@define
class _Writing:
    """What is to be written, and what became of each commit: None of one that is settled without writing."""

    rows: list[tuple[object, ...]] = field(factory=list)
    moves: list[tuple[Commit, Move, bool]] = field(factory=list)
    """With whether the mailbox has grown past what the move has seen: then it is due now instead."""
    forgiven: set[int] = field(factory=set)
    withheld: list[tuple[int, ...]] = field(factory=list)
    fates: list[Fate] = field(factory=list)
    noted: set[int] = field(factory=set)
    """Of which executions there are records."""

    @property
    def unmoved(self) -> list[int]:
        """Of which executions there are records and no move, so that their own rows do not change."""
        return sorted(self.noted - {commit.token.key for commit, *_ in self.moves})


async def commit(talk: Talk, commits: Sequence[Commit], news: News) -> list[Committed]:
    """Write all that may be written in one transaction; those that others have locked are busy, unless it waits for them."""
    keys = sorted({each.token.key for each in commits})
    held = all_rows(await talk.begin(*talk.over("commit.await" if talk.joined else "commit.hold", keys)))
    locked = {row[0]: _State.of(row) for row in held}
    known = dict(locked)
    if len(locked) < len(keys):
        missing = [each for each in keys if each not in locked]
        known |= {row[0]: _State.of(row) for row in all_rows(await talk.ask(*talk.over("commit.states", missing)))}
    present = await _present(talk, commits, known)
    writing = _Writing()
    for each in commits:
        _settle(each, known.get(each.token.key), locked, present, writing)
    moving = [_move(talk, *each) for each in writing.moves]
    answers = await talk.end(
        *moving,
        *talk.over("commit.forgive", sorted(writing.forgiven)),
        *([] if talk.cluster is None else talk.over("commit.touch", writing.unmoved)),
        *talk.rows("commit.write", writing.rows),
    )
    if any(answer.count != 1 for answer in answers[: len(moving)]):
        raise Passing(f"{talk.place} has let somebody else change what was locked")
    for moved in writing.moves:
        _announce(news, *moved)
    return await _answers(talk, commits, known, writing)


def _settle(
    commit: Commit,
    state: _State | None,
    locked: dict[int, _State],
    present: set[tuple[int, int]],
    writing: _Writing,
) -> None:
    """Decide on one commit, and note what is to be written of it."""
    key, move = commit.token.key, commit.move
    kept: tuple[int, ...] = ()
    if state is None or state.fence != commit.token.fence or not (state.running or move is not None):
        fate = Fate.LOST
    elif state.running and key not in locked:
        fate = Fate.BUSY
    else:
        fate = Fate.APPLIED
        kept = tuple(
            step.seq
            for step in commit.steps
            if step.seen is not None and (key, step.seq) not in present and state.mail > step.seen
        )
        if state.running:  # else its move was applied before the reply was lost, with all that is still to be told here
            _write(commit, state, kept, present, writing)
    writing.fates.append(fate)
    writing.withheld.append(kept)


def _write(commit: Commit, state: _State, kept: tuple[int, ...], present: set[tuple[int, int]], writing: _Writing) -> None:
    key, move = commit.token.key, commit.move
    for step in commit.steps:
        if step.seq in kept or (key, step.seq) in present:
            continue
        writing.rows.append(_row(key, step))
        writing.noted.add(key)
        present.add((key, step.seq))
        if state.crashes and step.phase is Phase.OUTCOME:
            writing.forgiven.add(key)
    if move is not None:
        grown = move.seen is not None and state.mail > move.seen
        writing.moves.append((commit, move, grown))
        state.running = False


def _row(key: int, step: StepRecord) -> tuple[object, ...]:
    return (
        key,
        step.seq,
        step.name,
        step.kind,
        step.phase,
        step.ok,
        step.payload,
        step.attempts,
        step.due_at,
        step.mail,
        step.started_at,
        step.at,
    )


def _move(talk: Talk, commit: Commit, move: Move, grown: bool) -> str:  # as it stands in a tuple
    ends = move.status.is_terminal and not grown
    return talk.say(
        "commit.move",
        key=commit.token.key,
        fence=commit.token.fence,
        status=ExecutionStatus.PENDING if grown else move.status,
        due_at=talk.now_said if grown else None if ends else move.due_at,
        completed_at=talk.now_said if ends else None,
        result=move.payload if ends else None,
        reason=move.reason,
        attempt=move.attempt,
        deadline=move.deadline,
    )


def _announce(news: News, commit: Commit, move: Move, grown: bool) -> None:  # as it stands in a tuple
    """Tell whom a move concerns."""
    if grown:
        news.due.append((0, None, None))
    elif move.status.is_terminal:
        news.calls.add(("end", commit.token.execution_id))
    elif move.due_at is not None:
        news.due.append((move.due_at, None, None))


async def _present(talk: Talk, commits: Sequence[Commit], known: dict[int, _State]) -> set[tuple[int, int]]:
    """Return which records are there already of those that something depends on: what is withheld, and what is forgiven."""
    asked = {
        (each.token.key, step.seq)
        for each in commits
        if (state := known.get(each.token.key)) is not None
        for step in each.steps
        if step.seen is not None or (state.crashes and step.phase is Phase.OUTCOME)
    }
    if not asked:
        return set()
    keys, seqs = sorted({key for key, _ in asked}), sorted({seq for _, seq in asked})
    return {(key, seq) for key, seq in all_rows(await talk.ask(*talk.over("commit.present", keys, seqs=seqs)))}


async def _answers(talk: Talk, commits: Sequence[Commit], known: dict[int, _State], writing: _Writing) -> list[Committed]:
    """Say what became of each commit, with the mail that it has not seen."""
    seen: dict[int, int] = {}
    for each, fate in zip(commits, writing.fates, strict=True):
        key = each.token.key
        if fate is Fate.APPLIED and known[key].mail > each.seen:
            seen[key] = min(each.seen, seen.get(key, each.seen))
    mail = await mail_past(talk, seen)
    answers = []
    for each, fate, kept in zip(commits, writing.fates, writing.withheld, strict=True):
        if fate is not Fate.APPLIED:
            answers.append(_LOST if fate is Fate.LOST else _BUSY)
        elif kept or each.token.key in mail:
            fresh = tuple(new for new in mail.get(each.token.key, ()) if new.seq > each.seen)
            answers.append(Committed(mail=fresh, withheld=kept))
        else:
            answers.append(_APPLIED)
    return answers


def refused(commit: Commit, error: Exception) -> Committed:
    """Answer for a commit that cannot be stored."""
    reason = f"MySQL cannot store what execution {commit.token.execution_id!r} has to say: {error}"
    return Committed(fate=Fate.REFUSED, reason=reason)
