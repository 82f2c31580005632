"""What goes over the wire: requests, answers and the events of streams, as msgspec structs.

One declaration each validates what comes in, writes what goes out, and is the schema in the API's description. Fields that a
newer server adds must not trip an older client, so answers allow unknown fields; requests refuse them, since a misspelt option
would be lost in silence.
"""

from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

LONGEST_WAIT = 3600.0
LARGEST_PAGE = 500
LARGEST_RUN = 2**31 - 1
LARGEST_OFFSET = 1_000_000
_CENTURY = 36525 * 24 * 3600

NAME_PATTERN = (
    "^[^\\x00-\\x1f\\x7f-\\x9f\\xad\\u0600-\\u0605\\u061c\\u06dd\\u070f\\u0890\\u0891\\u08e2\\u180e\\u200b-\\u200f\\u2028-\\u202e"
    "\\u2060-\\u2064\\u2066-\\u206f\\ufeff\\ufff9-\\ufffb"
    "\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0001\U000e0020-\U000e007f]+$"
)
"""What `zart.ids.check_name` takes."""

Name = Annotated[str, Meta(min_length=1, max_length=255, extra_json_schema={"pattern": NAME_PATTERN})]
Status = Literal["pending", "running", "waiting", "completed", "failed", "cancelled"]
Run = Annotated[int, Meta(ge=1, le=LARGEST_RUN, description="This run instead of the current one.")]
Text = Annotated[
    str,
    Meta(pattern=r"^([0-9]{1,4}d)?([0-9]{1,5}h)?([0-9]{1,6}m)?([0-9]{1,8}s)?([0-9]{1,9}ms)?$", min_length=2, max_length=40),
]
"""A length of time in text, up to what no combination brings above a hundred years."""
Seconds = Annotated[float, Meta(ge=0, le=_CENTURY)]
Moment = Annotated[datetime, Meta(tz=True)]


class Request(Struct, forbid_unknown_fields=True):
    """What a caller sends."""


class Answer(Struct):
    """What the server says."""


# ---- requests -------------------------------------------------------------------------------------------------------


class Nothing(Request):
    """No parameters."""


class OfRun(Request):
    """Which run is meant."""

    run: Run | UnsetType = UNSET


class StatusQuery(OfRun):
    """How to show an execution."""

    stored: Annotated[bool, Meta(description="Also the output or failure as it is stored, for typed clients.")] = False


class WaitQuery(StatusQuery):
    """How long to wait."""

    timeout: Annotated[float, Meta(ge=0, le=LONGEST_WAIT, description="Seconds; the server may answer sooner.")] = 30.0


class ListQuery(Request):
    """Which executions."""

    status: Annotated[Status, Meta(description="Only those with this status.")] | UnsetType = UNSET
    task: Annotated[Name, Meta(description="Only those of this task.")] | UnsetType = UNSET
    limit: Annotated[int, Meta(ge=1, le=LARGEST_PAGE, description="How many at most; a page may hold fewer.")] = 100
    offset: Annotated[int, Meta(ge=0, le=LARGEST_OFFSET, description="How many to skip; `after` is quicker.")] = 0
    after: Annotated[Name, Meta(description="Go on after this execution: `next` of the page before.")] | UnsetType = UNSET
    order: Annotated[Literal["desc", "asc"], Meta(description="Newest first, or oldest first.")] = "desc"
    stored: Annotated[bool, Meta(description="Also outputs and failures as they are stored.")] = False


class StartRequest(Request):
    """A start. The key is the execution's id; without one the server makes a UUIDv7."""

    task: Name
    data: Annotated[Any, Meta(description="The input: any JSON value.")] = None
    idempotency_key: Name | None = None
    delay: Annotated[Seconds | Text | None, Meta(description="Seconds, or text such as 30s, 5m, 1h30m.")] = None
    at: Annotated[Moment | None, Meta(description="Start then; not together with `delay`.")] = None
    queue: Annotated[Name | None, Meta(description="Default: the handler's.")] = None
    reuse: Annotated[
        Literal["never", "ended", "failed"], Meta(description="On which ended executions the key may open a new run.")
    ] = "never"
    start_key: Annotated[Name | None, Meta(description="A repeated key is the same start, whatever has become of it.")] = None


# ---- answers --------------------------------------------------------------------------------------------------------


class Started(Answer):
    """An execution that was started, now or before (`repeated`)."""

    execution_id: Name
    task: Name
    status: Status
    run: int
    scheduled_at: Moment
    repeated: bool


class Waiting(Answer):
    """Something that an execution waits for."""

    name: str
    kind: str
    deadline: Moment | None


class Step(Answer):
    """One operation of an execution."""

    name: str
    kind: str
    status: str
    attempts: int
    result: Any
    error: str | None
    errors: tuple[str, ...]
    traceback: str | None
    started_at: Moment | None
    completed_at: Moment | None


class Snapshot(Answer):
    """An execution without its values, as the event `execution` of the stream of all."""

    execution_id: Name
    task: Name
    status: Status
    run: int
    attempt: int
    reason: str | None
    scheduled_at: Moment
    started_at: Moment | None
    completed_at: Moment | None


class Summary(Snapshot, kw_only=True):
    """An execution without its steps."""

    data: Any
    output: Any
    error: Annotated[dict[str, Any] | None, Meta(description="kind, error_type, message, and step, or attempts and last")]
    stored_result: str | UnsetType | None = UNSET


class Execution(Summary, kw_only=True):
    """An execution as of one moment."""

    current_step: str | None
    waiting_for: tuple[Waiting, ...]
    steps: tuple[Step, ...]


class Page(Answer):
    """Some executions; `next` is the `after` of the page that follows, null at the end."""

    executions: tuple[Summary, ...]
    next: Name | None


class Cancellation(Answer):
    """The status now true, and whether this call made it so."""

    execution_id: Name
    status: Status
    cancelled: bool


class Delivered(Answer):
    """What became of an event."""

    execution_id: Name
    event: Name
    event_id: Name
    result: Literal["recorded", "duplicate"]


class Task(Answer):
    """A task with the JSON Schemas of its input and output."""

    name: Name
    queue: str
    input: dict[str, Any]
    output: dict[str, Any]


class Tasks(Answer):
    """What can be started here."""

    tasks: tuple[Task, ...]


class Health(Answer):
    """How the server is."""

    status: Literal["ok"]


class Problem(Answer):
    """An error (RFC 9457), with a stable code and what to do about it."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    hint: str
    execution_status: Annotated[Status, Meta(description="Of the execution that is in the way.")] | UnsetType = UNSET


# ---- streams --------------------------------------------------------------------------------------------------------


class Turn(Answer):
    """One line of an execution's history, as the event `step` of its stream; the event's id resumes after it."""

    turn: int
    name: str
    kind: str
    phase: Annotated[Literal["opened", "attempt", "outcome"], Meta(description="Begun, failed once, or settled.")]
    ok: bool
    attempts: int
    result: Any
    error: str | None
    due_at: Moment | None
    at: Moment
