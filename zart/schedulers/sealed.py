"""How records go through a payload codec: each text in its place, so that none can be moved to another."""

from collections.abc import Callable, Sequence

from attrs import evolve

from zart.errors import SealedPayload
from zart.payloads import PayloadCodec, closed, open_sealed, place_of, seal
from zart.records import Claim, Commit, Event, Execution, History, Mail, Move, NewExecution, StepRecord, Token
from zart.status import ExecutionStatus

Opener = Callable[[str, str], str]


class Records:
    """How records are sealed and opened: each text in its place."""

    def __init__(self, codec: PayloadCodec) -> None:
        self.codec = codec

    def new(self, new: NewExecution) -> NewExecution:
        """Return a start, sealed."""
        return evolve(new, payload=seal(self.codec, new.payload, place_of("input", new.id, new.task)))

    def event(self, event: Event) -> Event:
        """Return an event, sealed."""
        return evolve(event, payload=seal(self.codec, event.payload, place_of("event", event.execution_id, event.name)))

    def commit(self, commit: Commit) -> Commit:
        """Return a commit, sealed; a copy, because the engine says the same one again when its reply was lost."""
        token, move = commit.token, commit.move
        steps = [
            each if each.payload is None else evolve(each, payload=seal(self.codec, each.payload, _of_step(token, each)))
            for each in commit.steps
        ]
        return evolve(commit, steps=steps, move=None if move is None else self._move(token, move))

    def _move(self, token: Token, move: Move) -> Move:
        payload, reason = move.payload, move.reason
        if payload is not None:
            payload = seal(self.codec, payload, _of_result(token.execution_id, token.run, move.status))
        if reason is not None:
            reason = seal(self.codec, reason, _of_reason(token.execution_id, token.run))
        return evolve(move, payload=payload, reason=reason)

    def claim(self, claim: Claim) -> Claim:
        """Return a claim with everything opened.

        Raises:
            SealedPayload: something in it cannot be opened.
        """
        token = claim.token
        payload = _named("its input", self.must, claim.payload, place_of("input", token.execution_id, claim.task))
        return evolve(
            claim,
            payload=payload,
            steps=[self._step(token.execution_id, token.run, each, self.must) for each in claim.steps],
            mail=[self.letter(token.execution_id, each, self.must) for each in claim.mail],
        )

    def legible(self, execution_id: str, mail: Sequence[Mail]) -> list[Mail]:
        """Return the mail up to the first that cannot be opened: that and what follows counts as not yet seen."""
        found: list[Mail] = []
        for letter in mail:
            try:
                found.append(self.letter(execution_id, letter, self.must))
            except SealedPayload:
                break
        return found

    def execution(self, execution: Execution) -> Execution:
        """Return an execution to be looked at; what cannot be opened says so when it is decoded."""
        id_, run, result, reason = execution.id, execution.run, execution.result, execution.reason
        if result is not None:
            result = self.may(result, _of_result(id_, run, execution.status))
        if reason is not None:
            reason = self.words(reason, _of_reason(id_, run))
        payload = self.may(execution.payload, place_of("input", id_, execution.task))
        return evolve(execution, payload=payload, result=result, reason=reason)

    def history(self, execution_id: str, run: int, history: History) -> History:
        """Return a history to be looked at."""
        return History(
            [self._step(execution_id, run, each, self.may) for each in history.steps],
            [self.letter(execution_id, each, self.may) for each in history.mail],
            history.damage,
        )

    def must(self, text: str, place: str) -> str:
        """Open a text that somebody acts on.

        Raises:
            SealedPayload: it cannot be opened.
        """
        return open_sealed(self.codec, text, place)

    def may(self, text: str, place: str) -> str:
        """Open a text that somebody looks at; what cannot be opened says so when it is decoded."""
        try:
            return open_sealed(self.codec, text, place)
        except SealedPayload as why:
            return closed(why)

    def words(self, text: str, place: str) -> str:
        """Return what people read. Plain words are always taken: those of this module are, and nothing acts on them."""
        try:
            return open_sealed(_Lenient(self.codec), text, place)
        except SealedPayload as why:
            return f"the reason {why}"

    def letter(self, execution_id: str, letter: Mail, opened: Opener) -> Mail:
        """Return a letter, opened; raises what `opened` does."""
        place = place_of("event", execution_id, letter.name)
        return evolve(letter, payload=_named(f"event {letter.name!r} number {letter.seq}", opened, letter.payload, place))

    def _step(self, execution_id: str, run: int, record: StepRecord, opened: Opener) -> StepRecord:
        if record.payload is None:
            return record
        place = _of_record(execution_id, run, record)
        return evolve(record, payload=_named(f"{record.kind} {record.name!r}", opened, record.payload, place))


class _Lenient:
    """A codec that also takes plain text."""

    allow_plain = True

    def __init__(self, codec: PayloadCodec) -> None:
        self.seal = codec.seal
        self.open = codec.open


def _of_step(token: Token, record: StepRecord) -> str:
    return _of_record(token.execution_id, token.run, record)


def _of_record(execution_id: str, run: int, record: StepRecord) -> str:
    return place_of("step", execution_id, run, record.seq, record.name, record.kind, record.phase, int(record.ok))


def _of_result(execution_id: str, run: int, status: ExecutionStatus) -> str:
    return place_of("result", execution_id, run, status)


def _of_reason(execution_id: str, run: int) -> str:
    return place_of("reason", execution_id, run)


def _named(what: str, opened: Opener, text: str, place: str) -> str:
    """Open a text; if that fails, say which it was."""
    try:
        return opened(text, place)
    except SealedPayload as why:
        raise SealedPayload(f"{what} {why}") from why
