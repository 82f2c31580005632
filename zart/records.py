"""What crosses the storage port: plain data, opened by nobody on the way.

A run's history is a list of `StepRecord`s, insert-only, in the order of their `seq`. Three phases tell all that can be told
about an operation:

* *opened*: it has begun and has a deadline (`due_at`); waits always, steps when somebody may want to know;
* *attempt*: one call of a step's function failed (`payload` is the failure) and the next is due at `due_at`;
* *outcome*: what it came to, `ok` or not; its place in the history is its turn. The outcome of an event wait names the mail it
  took (`mail`) and has no payload of its own.

Records of kind `BODY` have an empty name and speak of the handler itself: an *attempt* is a failed attempt of the body (its
payload lists the outcomes that are reopened) or a refused replay, the *outcome* is the failure that was saved before
`on_failure` ran.

All times are instants (`zart.clock`), all lengths microseconds, all payloads text made by `zart.codec` that a scheduler stores
and hands back unread.
"""

from collections.abc import Mapping, Sequence
from enum import Enum, StrEnum

from attrs import define, frozen

from zart.clock import Instant, Micros
from zart.status import ExecutionStatus, Phase, StepKind


class Reuse(StrEnum):
    """On which ended executions a start may open a new run."""

    ENDED = "ended"
    FAILED = "failed"
    """Only after failed or cancelled."""
    NEVER = "never"


@frozen
class NewExecution:
    """A start. Due `delay` after storage's now, or `at`; at once when both are None."""

    id: str
    task: str
    payload: str
    start_key: str
    queue: str = "default"
    reuse: Reuse = Reuse.ENDED
    delay: Micros | None = None
    at: Instant | None = None
    trace: str | None = None
    """The W3C `traceparent` of whoever starts it (`zart.traceparent`): kept with the run, and never sealed."""


@frozen
class Started:
    """The answer to a start: the run that it opened, is, or ran into.

    `accepted` is true when this start opened the run, or did so earlier (a repeated `start_key`).
    """

    accepted: bool
    run: int
    status: ExecutionStatus
    scheduled_at: Instant


@frozen
class Token:
    """The right to write to one run: `fence` grows with every claim and takeover of the execution and is never given twice.

    `key` is storage's own short name of the run; nobody else interprets it.
    """

    execution_id: str
    run: int
    key: int
    fence: int


@define
class StepRecord:
    """One line of a run's history; see the module's docstring. Never changed once made (not frozen: one is made per step)."""

    seq: int
    name: str
    kind: StepKind
    phase: Phase
    ok: bool = True
    payload: str | None = None
    attempts: int = 0
    """Calls made so far, this one included."""
    due_at: Instant | None = None
    mail: int | None = None
    """The `seq` of the mail taken."""
    started_at: Instant | None = None
    at: Instant = 0
    """When it happened, by the writing worker's view of storage's clock."""
    seen: int | None = None
    """Not stored. Apply only if the mailbox holds no mail with a `seq` above this; a wait's timeout carries it."""


@frozen
class Mail:
    """One event in a run's mailbox; `seq` counts from 1 without gaps in the order of arrival."""

    seq: int
    name: str
    payload: str
    at: Instant


@frozen
class Demand:
    """What a worker would take: `limit` executions of `tasks` (name to deadline length or None) in `queues`.

    A claimed execution that has no deadline yet gets `scheduled_at` plus the task's length, for good. `suspects` is how many
    executions that already brought workers down may be among the claimed.
    """

    worker: str
    queues: tuple[str, ...]
    tasks: Mapping[str, Micros | None]
    limit: int
    suspects: int = 1


Front = tuple[Instant, bool]
"""When an execution is due that a claim would take, and whether it is a suspect."""

SUSPECT = 2
"""From so many crashes in a row on, an execution is a suspect: claimed one at a time."""


@define
class Claim:
    """An execution handed to a worker, with all it needs to go on."""

    token: Token
    task: str
    queue: str
    payload: str
    attempt: int
    crashes: int
    """Workers that died over it since its last saved outcome."""
    crashed_workers: tuple[str, ...]
    scheduled_at: Instant
    deadline: Instant | None
    steps: Sequence[StepRecord]
    mail: Sequence[Mail]
    seen: int
    """The `seq` of the last mail carried here, 0 without any."""
    now: Instant
    damage: str | None = None
    """What of it storage cannot read, in words. What else there is, is here; nothing may be made of it."""
    trace: str | None = None
    """What it was started with."""

    @property
    def tags(self) -> dict[str, object]:
        """The fields that log records about it carry."""
        return {"execution_id": self.token.execution_id, "task": self.task, "attempt": self.attempt}


@define
class Move:
    """What becomes of an execution that its worker lets go.

    `status` is never `RUNNING`. `due_at` None means never by itself. With `seen`, an execution whose mailbox has grown past it
    becomes due now. `attempt` and `deadline` replace the stored ones unless None.
    """

    status: ExecutionStatus
    due_at: Instant | None = None
    seen: int | None = None
    payload: str | None = None
    """The output when completed, the failure when failed."""
    attempt: int | None = None
    deadline: Instant | None = None
    reason: str | None = None
    """Why it is set aside or failed, in words."""


@define
class Commit:
    """All that a worker has to say about one execution at one moment; `seen` is the last mail it knows."""

    token: Token
    steps: list[StepRecord]
    seen: int
    move: Move | None = None


class Fate(Enum):
    """What storage did with a commit."""

    APPLIED = "applied"
    LOST = "lost"
    """The token is no longer the stored one: nothing was written, and nothing ever will be under it."""
    BUSY = "busy"
    """Somebody else holds the row: nothing was written, say it again."""
    REFUSED = "refused"
    """Storage cannot hold it, now or later; `reason` says why."""


@frozen
class Committed:
    """The answer to one commit."""

    fate: Fate = Fate.APPLIED
    mail: Sequence[Mail] = ()
    """What the mailbox holds past the commit's `seen`."""
    withheld: tuple[int, ...] = ()
    """The `seq`s of records that were not written because of their own `seen`."""
    reason: str | None = None


@frozen
class Event:
    """An event on its way to an execution's mailbox; with `run`, to that run only."""

    execution_id: str
    name: str
    payload: str
    event_id: str
    run: int | None = None


class Delivery(StrEnum):
    """What became of an event."""

    RECORDED = "recorded"
    DUPLICATE = "duplicate"
    FINISHED = "finished"
    """The execution, or the run asked for, has ended."""
    UNKNOWN = "unknown"


@frozen
class Held:
    """An execution that a worker believes to hold, and the last mail it knows."""

    token: Token
    seen: int


@frozen
class WorkerBeat:
    """A sign of life. The first one registers (`register`), the last one says goodbye (`leaving`).

    `in_time` says that the worker's beats have come within its lease, and not only since a moment ago: only then may it declare
    others dead. On `leaving`, whatever the worker still holds becomes due at once without counting as a crash.

    `held_at` is a time of storage's, as the worker was told it and so never ahead of the truth, that had passed when `held` was
    all that the worker held and no claim of its was in flight; None when one was. What runs under the worker since before then
    and is not in `held` was claimed with a reply that never came: storage hands it back.
    """

    worker: str
    lease: Micros
    queues: tuple[str, ...]
    tasks: tuple[str, ...]
    held: Sequence[Held] = ()
    held_at: Instant | None = None
    about: str = ""
    """Host and process id, for people."""
    register: bool = False
    in_time: bool = True
    leaving: bool = False


@frozen
class BeatReply:
    """What a worker learns from storage with every beat."""

    alive: bool
    """False: declared dead, or never registered. Drop everything and register under a new id."""
    now: Instant
    lost: Sequence[Token] = ()
    """Held executions that are this worker's no longer: cancelled or taken over."""
    mail: Mapping[int, Sequence[Mail]] = {}
    """New mail of held executions, by `Token.key`."""
    taken_over: int = 0
    """Executions of dead workers that became due by this beat."""


@frozen
class Execution:
    """One run of an execution as storage knows it, for people and programs to read."""

    id: str
    run: int
    task: str
    queue: str
    status: ExecutionStatus
    payload: str
    result: str | None
    attempt: int
    fence: int
    worker: str | None
    crashes: int
    crashed_workers: tuple[str, ...]
    reason: str | None
    created_at: Instant
    scheduled_at: Instant
    started_at: Instant | None
    completed_at: Instant | None
    due_at: Instant | None
    deadline: Instant | None
    mail: int
    """How many events its mailbox has received."""
    served: bool
    """Whether a living worker has registered its task."""
    damage: str | None = None
    """What of it is stored and cannot be read, in words."""


@frozen
class History:
    """All records and mail of one run, in order."""

    steps: Sequence[StepRecord]
    mail: Sequence[Mail]
    damage: str | None = None
    """What of it is stored and cannot be read, in words; see `Claim.damage`."""


@frozen
class Query:
    """Which executions, current runs only, by the order of their start; `after` is the id of the last one of the page before.

    Empty `statuses` or `tasks` mean all. `started` bounds when they were started, both ends included: by then at the latest if
    the newest come first, else from then on. Only storages that may be a shard keep to it.
    """

    statuses: tuple[ExecutionStatus, ...] = ()
    tasks: tuple[str, ...] = ()
    limit: int = 100
    offset: int = 0
    after: str | None = None
    descending: bool = True
    started: Instant | None = None


@frozen
class Backlog:
    """How many executions are due and claimed by nobody, and for how long the longest of them has been due."""

    due: int
    oldest: Micros


@frozen
class Page:
    """A page of executions, and whether more follow."""

    executions: Sequence[Execution]
    more: bool
