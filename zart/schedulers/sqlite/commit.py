"""Writing what workers have to say into SQLite (rules 3, 4 and 9)."""

import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import suppress

from attrs import define, evolve, field

from zart.clock import Instant
from zart.records import Commit, Committed, Fate, Mail, Move, StepRecord
from zart.schedulers.sqlite.claim import mail_past
from zart.schedulers.sqlite.queries import LARGEST, from_json, statements, to_json
from zart.schedulers.sqlite.writer import Batch, Job, Unsettled
from zart.status import ExecutionStatus, Phase, StepKind

_SQL = statements("commit")

_OUTCOME, _RECORD, _MOVE, _MORE, _ONLY_CHECK = 1, 2, 3, 4, 5
_ABSENT = -(1 << 62)
"""Says NULL; see commit.sql."""
_AT = 7
"""The place in a move's row where `now` stands."""

_UNSTORABLE = (sqlite3.DataError, sqlite3.IntegrityError, sqlite3.ProgrammingError, ValueError, TypeError, OverflowError)
"""What is raised over a row that cannot be stored; anything else is storage's fault."""

_APPLIED = Committed()
_LOST = Committed(fate=Fate.LOST)

Row = tuple[object, ...]


@define
class _Words:
    """Commits as one statement says them: with their fences, so that it refuses all if anything is not as it is nearly always.

    Made before the lane gets to it: while the lane looks through objects, the event loop waits for the interpreter's lock, and
    finds them cold afterwards.
    """

    sql: str
    parameters: list[object]
    moves: list[int]
    """Where `now` is to be filled in."""


@define
class CommitJob(Job[list[Committed]]):
    """Write commits: at once if all is quiet, else by how things stand."""

    commits: Sequence[Commit]
    _words: _Words | None = field(init=False, default=None)
    """None: too much for one statement, or something that cannot be said."""

    def __attrs_post_init__(self) -> None:
        """Put all that is quiet into words."""
        with suppress(*_UNSTORABLE):  # comes again when it is to be written, and then shows whose fault it is
            rows = _checked_rows(self.commits)
            if len(rows) <= LARGEST:
                moves = [_AT + number * len(row) for number, row in enumerate(rows) if row[0] == _MOVE]
                self._words = _Words(*_SQL["write"].chunk(rows), moves)

    def settle(self, batch: Batch) -> list[Committed]:
        """Write all in one statement."""
        if self._words is None:
            raise Unsettled
        parameters = self._words.parameters
        for place in self._words.moves:
            parameters[place] = batch.now
        try:
            batch.connection.execute(self._words.sql, parameters)
        except sqlite3.IntegrityError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_CONSTRAINT_TRIGGER:
                raise
            raise Unsettled from error
        for commit in self.commits:
            if commit.move is not None:
                _announce(batch, commit, commit.move)
        return [_APPLIED] * len(self.commits)

    def work(self, batch: Batch) -> list[Committed]:
        """Write all, or what may be written."""
        try:
            return self.settle(batch)
        except Unsettled:  # which has left nothing behind
            return _write_by_state(batch, self.commits)

    def salvage(self, batch: Batch, error: Exception) -> list[Committed]:
        """Write each by itself and refuse those that cannot be stored."""
        answers: list[Committed] = []
        for commit in self.commits:
            batch.connection.execute("SAVEPOINT one")
            try:
                answers += _write_by_state(batch, [commit])
            except _UNSTORABLE as own:
                batch.connection.execute("ROLLBACK TO one")
                reason = f"SQLite cannot store what execution {commit.token.execution_id!r} has to say: {own}"
                answers.append(Committed(fate=Fate.REFUSED, reason=reason))
            batch.connection.execute("RELEASE one")
        return answers


def _write(batch: Batch, rows: list[Row]) -> None:
    for sql, parameters in _SQL["write"].chunks(rows):
        batch.connection.execute(sql, parameters)


def _checked_rows(commits: Iterable[Commit]) -> list[Row]:
    """Return rows that are refused unless nothing is to be decided: nobody has mail that the commit has not seen."""
    rows: list[Row] = []
    for commit in commits:
        token, seen, move = commit.token, commit.seen, commit.move
        key, fence = token.key, token.fence
        for step in commit.steps:
            own = step.seen
            rows.append(_record_row(step, key, fence, seen if own is None or own > seen else own))
        if move is not None:
            own = move.seen
            rows += _move_rows(move, key, fence, seen if own is None or own > seen else own, 0)
        elif not commit.steps:
            rows.append((_ONLY_CHECK, key, fence, seen, 0, 0, 0, 0, 0, 0))
    return rows


def _record_row(step: StepRecord, key: int, fence: int, seen: int) -> Row:
    if (
        step.kind is StepKind.STEP
        and step.phase is Phase.OUTCOME
        and step.ok
        and step.attempts == 1
        and step.due_at is None
        and step.mail is None
    ):
        return (_OUTCOME, key, fence, seen, step.seq, step.name, step.started_at, step.at, step.payload, 0)
    due_at = _ABSENT if step.due_at is None else step.due_at
    rest = (step.kind, step.phase, 1 if step.ok else 0, step.attempts, step.mail, step.started_at)
    return (_RECORD, key, fence, seen, step.seq, step.name, due_at, step.at, step.payload, to_json(rest))


def _move_rows(move: Move, key: int, fence: int, seen: int, now: Instant) -> list[Row]:
    attempt = _ABSENT if move.attempt is None else move.attempt
    due_at = _ABSENT if move.due_at is None else move.due_at
    rows: list[Row] = [(_MOVE, key, fence, seen, attempt, move.status.value, due_at, now, move.payload, 0)]
    if move.reason is not None or move.deadline is not None:
        deadline = _ABSENT if move.deadline is None else move.deadline
        rows.append((_MORE, key, _ABSENT, 0, 0, 0, deadline, 0, move.reason, 0))
    return rows


@define
class _State:
    """How an execution stands, as this call goes on."""

    fence: int
    running: bool
    mail: int
    crashes: int


def _write_by_state(batch: Batch, commits: Sequence[Commit]) -> list[Committed]:
    """Write what may be written, inside a transaction."""
    states = _states(batch, {commit.token.key for commit in commits})
    crashed = {key for key, state in states.items() if state.crashes}
    steps = [(commit.token.key, step) for commit in commits for step in commit.steps]
    present = _present(batch, [(key, step.seq) for key, step in steps if step.seen is not None or key in crashed])
    rows: list[Row] = []
    forgiven: set[int] = set()
    withheld: list[tuple[int, ...] | None] = []
    """Per commit; None: lost."""
    for commit in commits:
        key, move = commit.token.key, commit.move
        state = states.get(key)
        if state is None or state.fence != commit.token.fence or not (state.running or move is not None):
            withheld.append(None)
            continue
        kept = tuple(
            step.seq
            for step in commit.steps
            if step.seen is not None and (key, step.seq) not in present and state.mail > step.seen
        )
        withheld.append(kept)
        if not state.running:
            continue  # its move was applied before the reply was lost, with all that is still to be told here
        for step in commit.steps:
            if step.seq not in kept:
                rows.append(_record_row(step, key, _ABSENT, 0))
                if key in crashed and step.phase is Phase.OUTCOME and (key, step.seq) not in present:
                    forgiven.add(key)
                present.add((key, step.seq))
        if move is not None:
            grown = move.seen is not None and state.mail > move.seen
            final = evolve(move, status=ExecutionStatus.PENDING, due_at=batch.now) if grown else move
            rows += _move_rows(final, key, _ABSENT, 0, batch.now)
            state.running = False
            _announce(batch, commit, final)
    _write(batch, rows)
    if forgiven:
        batch.connection.execute(_SQL["forgive"].sql, {"keys": to_json(sorted(forgiven))})
    mail = _mail(batch, [each for each, kept in zip(commits, withheld, strict=True) if kept is not None], states)
    return [
        _LOST
        if kept is None
        else Committed(mail=tuple(new for new in mail.get(each.token.key, ()) if new.seq > each.seen), withheld=kept)
        for each, kept in zip(commits, withheld, strict=True)
    ]


def _announce(batch: Batch, commit: Commit, move: Move) -> None:
    """Wake whom a move concerns."""
    if move.status.is_terminal:
        batch.calls.add(("end", commit.token.execution_id))
    if move.due_at is not None:
        batch.due.append((move.due_at, None, None))


def _states(batch: Batch, keys: Iterable[int]) -> dict[int, _State]:
    rows = from_json(batch.json(_SQL["states"].sql, {"keys": to_json(sorted(keys))}))
    return {key: _State(fence, status == ExecutionStatus.RUNNING, mail, crashes) for key, fence, status, mail, crashes in rows}


def _present(batch: Batch, asked: list[tuple[int, int]]) -> set[tuple[int, int]]:
    if not asked:
        return set()
    rows = from_json(batch.json(_SQL["present"].sql, {"asked": to_json(asked)}))
    return {(key, seq) for key, seq in rows}


def _mail(batch: Batch, commits: Iterable[Commit], states: dict[int, _State]) -> dict[int, list[Mail]]:
    """Return the mail that some commit has not seen, by key."""
    seen: dict[int, int] = {}
    for commit in commits:
        key = commit.token.key
        if states[key].mail > commit.seen:
            seen[key] = min(commit.seen, seen.get(key, commit.seen))
    return mail_past(batch, _SQL["mail"].sql, list(seen.items()))
