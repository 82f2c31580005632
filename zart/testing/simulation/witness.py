"""Sees every transaction of the storage and every move of the bodies, and checks what must hold at each moment.

It keeps its own picture of every run and trusts neither the scheduler nor the engine:

* I1: a saved result is never changed, and no operation gets a second one unless a failed attempt has reopened it.
* I2: after the end nothing changes.
* I3: fences only grow; nothing is written under an old one; whoever is dead stays dead; losing a run raises its fence.
* I4: nothing is due, fires or times out before its time by storage's clock.
* I5: no wait times out while its letter lies in the mailbox.
* I8: one start key, one run.
* I9: what a body is handed is durable, and is what was saved.
* I10: no function starts after its result was saved, none before the failed attempt before it was, and none of a worker whose
  lease somebody else has seen ending.
* I11: no function starts more than a lease after its execution has ended; when all is well, none goes on for over two seconds.
* I12: no function starts once its execution has brought down as many workers as it may.
* REPLAY: no body is found to differ from its history: they are deterministic.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from attrs import Factory, astuple, define

from zart.clock import SECOND, Instant, Micros
from zart.codec import ANY
from zart.outcome import load_error
from zart.records import (
    BeatReply,
    Claim,
    Commit,
    Committed,
    Delivery,
    Demand,
    Event,
    Fate,
    Mail,
    Move,
    NewExecution,
    Started,
    StepRecord,
    WorkerBeat,
)
from zart.replay import body_record
from zart.schedulers.due import Run
from zart.status import ExecutionStatus, Phase, StepKind
from zart.testing.simulation.ports import StorageClock
from zart.testing.simulation.program import OutOfStock, words
from zart.testing.simulation.trace import Trace

_NOTICE = 2 * SECOND
_RUNNING = ExecutionStatus.RUNNING


@define(eq=False)
class Picture:
    """What the witness knows of one run."""

    id: str
    run: int
    fence: int = 0
    status: ExecutionStatus = ExecutionStatus.PENDING
    result: str | None = None
    worker: str | None = None
    due_at: Instant | None = None
    scheduled_at: Instant = 0
    mail: int = 0
    steps: dict[int, tuple[Any, ...]] = Factory(dict)
    """Every record as it was when it came, by `seq`."""
    outcomes: dict[str, StepRecord] = Factory(dict)
    """Of the present chapter, without those that were reopened."""
    ever: dict[str, list[StepRecord]] = Factory(dict)
    """All outcomes by name."""
    saved_under: dict[int, int] = Factory(dict)
    """`seq` of an outcome -> the fence it was saved under."""
    opened: dict[str, StepRecord] = Factory(dict)
    attempts: dict[str, StepRecord] = Factory(dict)
    moved: set[int] = Factory(set)
    """The fences under which a move was applied."""
    orphaned: int = 0
    """The highest fence given by a takeover from a dead worker."""
    claims: list[Instant] = Factory(list)
    crashes: int = 0
    """How often it was taken over from the dead."""
    starts: dict[str, int] = Factory(dict)
    """How often the functions of its steps were started."""
    lateness: Micros = 0
    """By how much the latest of its timers and letters was."""
    ended_at: Instant | None = None
    handed_mail: dict[int, str] = Factory(dict)
    """Letters that reached the body -> the wait that they reached."""


class Witness:
    """Watches one simulation. `tolerance` is how far ahead of storage's time the workers' may be, by the faults allowed."""

    def __init__(self, clock: StorageClock, trace: Trace) -> None:
        self._clock = clock
        self._trace = trace
        self.tolerance: Micros = 0
        self.most_crashes: int = 1_000_000
        self.lease: Micros = 0
        self.calm: bool = False
        self.clock_is_steady: bool = True
        """Whether storage's clock was never put forward: else leases end before their time."""
        self.pictures: dict[tuple[str, int], Picture] = {}
        self._fences: dict[str, int] = {}
        self._keys: dict[str, tuple[str, int]] = {}
        self._leases: dict[str, Instant] = {}
        self.dead: set[str] = set()

    # ---- what the storage tells -------------------------------------------------------------------------------------

    def started(self, new: Sequence[NewExecution], answers: Sequence[Started]) -> None:
        """Some runs were to be opened."""
        for each, answer in zip(new, answers, strict=True):
            self._trace.tell(f"start {each.id} -> {answer.accepted} run {answer.run} {answer.status}")
            if answer.accepted:
                found = self._keys.setdefault(each.start_key, (each.id, answer.run))
                if found != (each.id, answer.run):
                    self._trace.violated("I8", f"one start key opened {found} and then {(each.id, answer.run)}")

    def claimed(self, demand: Demand, claims: Sequence[Claim]) -> None:
        """A worker was given some executions."""
        now = self._clock.instant()
        if self._leases.get(demand.worker, 0) <= now:
            self._trace.violated("I3", f"worker {demand.worker} claimed without a lease")
        for claim in claims:
            token = claim.token
            picture = self.picture(token.execution_id, token.run)
            self._trace.tell(f"claim {token.execution_id}/{token.run} fence {token.fence} by {demand.worker}")
            if token.fence <= self._fences.get(token.execution_id, 0):
                self._trace.violated("I3", f"fence {token.fence} of {token.execution_id} was given before")
            if picture.status is _RUNNING:
                self._trace.violated("I3", f"{token.execution_id} was given to {demand.worker} while {picture.worker} had it")
            if picture.due_at is None or picture.due_at > now:
                self._trace.violated("I4", f"{token.execution_id} was claimed before it was due")
            picture.claims.append(now)

    def committed(self, commit: Commit, answer: Committed, run: Run) -> None:
        """Somebody wanted to write to a run."""
        picture, token = self.picture(run.id, run.run), commit.token
        valid = picture.status is _RUNNING and picture.fence == token.fence
        move = None if commit.move is None else commit.move.status
        self._trace.tell(
            f"commit {run.id}/{run.run} fence {token.fence} {[(s.seq, s.name, str(s.phase)) for s in commit.steps]} {move}"
            f" -> {answer.fate.value} {run.status} {answer.withheld}"
        )
        new = [step for step in commit.steps if step.seq not in picture.steps and step.seq in run.steps]
        if not valid and (new or run.status is not picture.status):
            said = f"wrote under fence {token.fence}; it is {picture.status} under {picture.fence}"
            self._trace.violated("I2" if picture.status.is_terminal else "I3", f"{run.id} {said}")
        if valid and answer.fate is not Fate.APPLIED:
            self._trace.violated("I3", f"{run.id} was told {answer.fate.value} by its rightful worker's storage")
        if not valid and answer.fate is Fate.APPLIED and token.fence not in picture.moved:
            self._trace.violated("I3", f"{run.id} under fence {token.fence} was told that it was applied, and was not")
        if not valid:
            self._trace.hits["stale write refused"] += answer.fate is Fate.LOST
            self._trace.hits["repeated move"] += answer.fate is Fate.APPLIED
        if valid and answer.fate is Fate.APPLIED:
            for step in commit.steps:
                if step.seq not in run.steps and step.seq not in answer.withheld:
                    self._trace.violated("I1", f"{run.id}: record {step.seq} was acknowledged and is not there")
            self._trace.hits["withheld timeout"] += len(answer.withheld)
            if commit.move is not None:
                picture.moved.add(token.fence)
                self._check_move(picture, run, commit.move)
        for step in commit.steps:
            if step.seq in picture.steps and astuple(run.steps[step.seq], recurse=False) != picture.steps[step.seq]:
                self._trace.violated("I1", f"{run.id}: record {step.seq} {step.name!r} was replaced")
        for step in new:
            self._check_time(picture, run, run.steps[step.seq])
            self._absorb(picture, run.steps[step.seq], token.fence)
        self._update(picture, run)

    def delivered(self, events: Sequence[Event], answers: Sequence[Delivery]) -> None:
        """Some events were sent."""
        for event, answer in zip(events, answers, strict=True):
            self._trace.tell(f"deliver {event.name} {event.event_id} to {event.execution_id} -> {answer.value}")

    def beaten(self, beat: WorkerBeat, reply: BeatReply, dead: set[str]) -> None:
        """A worker gave a sign of life."""
        if reply.alive and beat.worker in self.dead:
            self._trace.violated("I3", f"worker {beat.worker} was declared dead and is alive again")
        for name in sorted(dead - self.dead):
            self._trace.hit("worker declared dead", name)
        self.dead = dead
        if reply.alive and not beat.leaving:
            self._leases[beat.worker] = self._clock.instant() + beat.lease
        elif beat.leaving:
            self._leases.pop(beat.worker, None)
        if reply.taken_over or not reply.alive:
            self._trace.tell(f"beat {beat.worker} alive {reply.alive} took over {reply.taken_over}")

    def look(self, run: Run) -> None:
        """Compare a run with what is known of it, after anything but a commit."""
        picture = self.picture(run.id, run.run)
        if picture.status is _RUNNING and run.status is not _RUNNING:
            if run.fence <= picture.fence:
                self._trace.violated("I3", f"{run.id} was taken from {picture.worker} without raising fence {run.fence}")
            if picture.worker in self.dead:
                picture.orphaned = run.fence
                picture.crashes += 1
            self._trace.hit("taken from its worker", run.id)
        self.compare(picture, run)
        self._update(picture, run)

    def compare(self, picture: Picture, run: Run) -> None:
        """Check that nothing has changed that must not."""
        for seq, known in picture.steps.items():
            stored = run.steps.get(seq)
            if stored is None or astuple(stored, recurse=False) != known:
                self._trace.violated("I1", f"{run.id}: record {seq} was changed or lost")
        if len(run.steps) != len(picture.steps):
            self._trace.violated("I3", f"{run.id}: records came by no commit")
        if len(run.mail) < picture.mail:
            self._trace.violated("I5", f"{run.id}: mail was lost")
        if run.fence < picture.fence:
            self._trace.violated("I3", f"{run.id}: fence went back from {picture.fence} to {run.fence}")
        if picture.status.is_terminal and (run.status, run.result, len(run.mail)) != (
            picture.status,
            picture.result,
            picture.mail,
        ):
            self._trace.violated("I2", f"{run.id} changed after its end as {picture.status}")

    # ---- what the bodies tell ---------------------------------------------------------------------------------------

    def step_started(self, claim: Claim, name: str, attempt: int) -> None:
        """The function of a step is about to be called."""
        token = claim.token
        picture = self.picture(token.execution_id, token.run)
        picture.starts[name] = picture.starts.get(name, 0) + 1
        self._trace.tell(f"step {token.execution_id}/{token.run} {name} attempt {attempt} fence {token.fence}")
        if claim.crashes >= self.most_crashes:
            self._trace.violated("I12", f"step {name} of {token.execution_id} starts after {claim.crashes} crashes")
        saved = picture.outcomes.get(name)
        if saved is not None and picture.saved_under[saved.seq] <= token.fence:
            self._trace.violated(
                "I10",
                f"step {name} of {token.execution_id} starts under fence {token.fence}; it was saved under"
                f" {picture.saved_under[saved.seq]}",
            )
        if token.fence < picture.orphaned and self.clock_is_steady:
            self._trace.violated("I10", f"step {name} of {token.execution_id} starts after its worker's lease was seen ending")
        if picture.ended_at is not None and self.clock_is_steady and self._clock.instant() - picture.ended_at > self.lease:
            self._trace.violated("I11", f"step {name} of {token.execution_id} starts more than a lease after the end")
        if token.fence != picture.fence:
            self._trace.hit("function started under an old fence", name)
            return
        before = picture.attempts.get(name)
        if attempt > 1 and (before is None or before.attempts < attempt - 1):
            what = f"attempt {attempt} of {name} of {token.execution_id}"
            self._trace.violated("I10", f"{what} starts before the one before is saved")
        if before is not None and before.due_at is not None:
            self._not_before(before.due_at, f"attempt {attempt} of {name} of {token.execution_id}")

    def worked(self, execution_id: str) -> None:
        """A step's function of the execution goes on after some work."""
        last = max((run for found, run in self.pictures if found == execution_id), default=0)
        ended_at = self.picture(execution_id, last).ended_at
        if self.calm and ended_at is not None and self._clock.instant() - ended_at > _NOTICE:
            self._trace.violated("I11", f"a function of {execution_id} goes on long after the execution has ended")

    def believed(self, now: Instant, worker: str) -> None:
        """A worker takes it to be so late by storage's clock."""
        self._not_before(now, f"what worker {worker} takes for the present")

    def handed_over(self, claim: Claim, name: str, value: Any, run: Run) -> None:
        """An outcome reaches a body."""
        token = claim.token
        picture = self.picture(token.execution_id, token.run)
        shown = shown_value(value)
        self._trace.tell(f"turn {token.execution_id}/{token.run} {name} fence {token.fence}")
        letters = list(run.mail.values())
        for record in picture.ever.get(name, ()):
            if shown_record(record, letters) == shown:
                if record.mail is not None and picture.handed_mail.setdefault(record.mail, name) != name:
                    first = picture.handed_mail[record.mail]
                    self._trace.violated("I5", f"letter {record.mail} of {token.execution_id} reached {first} and {name}")
                return
        self._trace.violated("I9", f"{name} of {token.execution_id} hands over {shown}, which is not what is saved")

    # ---- inside -----------------------------------------------------------------------------------------------------

    def picture(self, execution_id: str, run: int) -> Picture:
        """Return the picture of a run."""
        picture = self.pictures.get((execution_id, run))
        if picture is None:
            picture = self.pictures[execution_id, run] = Picture(execution_id, run)
        return picture

    def _update(self, picture: Picture, run: Run) -> None:
        if run.status.is_terminal and picture.ended_at is None:
            picture.ended_at = self._clock.instant()
        picture.fence, picture.status, picture.result = run.fence, run.status, run.result
        picture.worker, picture.due_at, picture.mail = run.worker, run.due_at, len(run.mail)
        picture.scheduled_at = run.scheduled_at
        self._fences[run.id] = max(self._fences.get(run.id, 0), run.fence)

    def _absorb(self, picture: Picture, record: StepRecord, fence: int) -> None:
        picture.steps[record.seq] = astuple(record, recurse=False)
        if record.kind is StepKind.BODY:
            if record.phase is Phase.OUTCOME:
                picture.outcomes, picture.opened, picture.attempts = {}, {}, {}
                return
            told = body_record(record)
            if "setback" in told:
                self._trace.violated("REPLAY", f"{picture.id} was set aside: {told['setback']}")
            for seq in told.get("reopened", ()):
                for name in [name for name, each in picture.outcomes.items() if each.seq == seq]:
                    for kept in (picture.outcomes, picture.opened, picture.attempts):
                        kept.pop(name, None)
            return
        match record.phase:
            case Phase.OPENED:
                picture.opened.setdefault(record.name, record)
            case Phase.ATTEMPT:
                picture.attempts[record.name] = record
            case Phase.OUTCOME:
                if record.name in picture.outcomes:
                    self._trace.violated("I1", f"{record.name} of {picture.id} was given a second result")
                picture.outcomes[record.name] = record
                picture.ever.setdefault(record.name, []).append(record)
                picture.saved_under[record.seq] = fence

    def _check_time(self, picture: Picture, run: Run, record: StepRecord) -> None:
        if record.phase is Phase.OPENED and record.kind is StepKind.SLEEP:
            length = float(record.name.rpartition(":")[2])
            self._not_before((record.due_at or 0) - round(length * SECOND), f"the beginning of {record.name} of {picture.id}")
        if record.phase is not Phase.OUTCOME:
            return
        opened = picture.opened.get(record.name)
        timed_out = record.kind is StepKind.EVENT and not record.ok
        if record.kind is StepKind.SLEEP or timed_out:
            length = float(record.name.rpartition(":")[2])
            if opened is None or opened.due_at is None:
                if length > 0 and not timed_out:
                    self._trace.violated("I4", f"{record.name} of {picture.id} has ended and never begun")
            else:
                self._not_before(opened.due_at, f"{record.name} of {picture.id}")
                picture.lateness = max(picture.lateness, self._clock.instant() - opened.due_at)
        if record.kind is StepKind.EVENT and record.mail is not None and opened is not None:
            came = list(run.mail.values())[record.mail - 1].at
            picture.lateness = max(picture.lateness, self._clock.instant() - max(came, opened.at))
        if timed_out:
            taken = {each.mail for each in run.steps.values() if each.mail is not None}
            event = record.name.split(":")[1]
            left = [mail.seq for mail in run.mail.values() if mail.name == event and mail.seq not in taken]
            if left:
                self._trace.violated("I5", f"{record.name} of {picture.id} timed out over letters {left}")

    def _check_move(self, picture: Picture, run: Run, move: Move) -> None:
        grown = move.seen is not None and len(run.mail) > move.seen
        told = (ExecutionStatus.PENDING, self._clock.instant()) if grown else (move.status, move.due_at)
        if (run.status, run.due_at) != (told[0], None if told[0].is_terminal else told[1]):
            self._trace.violated("I3", f"{picture.id} was to become {told} and is {run.status}, due {run.due_at}")
        if run.status is ExecutionStatus.FAILED and run.deadline is not None and "DeadlineExceeded" in (run.result or ""):
            last = max((record.due_at or 0 for record in run.steps.values() if record.kind is StepKind.BODY), default=0)
            if not last:  # on_failure has a deadline of its own
                self._not_before(run.deadline, f"the deadline of {picture.id}")

    def _not_before(self, due_at: Instant, what: str) -> None:
        early = due_at - self._clock.instant()
        if early > self.tolerance:
            self._trace.violated("I4", f"{what} came {early / SECOND:.3f} s early")


def shown_value(value: Any) -> str:
    """Return a value or an error as text to compare."""
    if isinstance(value, BaseException):
        return words(value)
    return repr(str(value) if isinstance(value, UUID) else value)


def shown_record(record: StepRecord, letters: Sequence[Mail]) -> str:
    """Return the value or error that was saved, in the same words."""
    return shown_value(saved_value(record, letters))


def saved_value(record: StepRecord, letters: Sequence[Mail]) -> Any:
    """Return the value or error that an outcome saved; `letters` are the mail of its run."""
    if not record.ok:
        return load_error(record.payload or "", (OutOfStock,))
    payload = record.payload if record.mail is None else letters[record.mail - 1].payload
    return None if payload is None else ANY.decode(payload)
