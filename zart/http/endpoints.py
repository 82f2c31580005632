"""The table of endpoints: from it come routes, the API's description, its reference page, the client's calls and agents' tools.

An endpoint without a declared access fails when this module is imported: `access` has no default.
"""

from collections.abc import Mapping
from enum import StrEnum

from attrs import field, frozen

from zart.http import wire
from zart.http.refusals import CODES


class Access(StrEnum):
    """Who may call an endpoint."""

    PUBLIC = "public"
    READ = "read"
    OPERATOR = "operator"


class Way(StrEnum):
    """How an endpoint answers."""

    PLAIN = "plain"
    WAIT = "wait"
    """Late, when something has happened: it holds a place among the waits."""
    STREAM = "stream"
    """With server-sent events."""
    PAGE = "page"
    """With something else than JSON, or with the table itself."""
    AGENT = "agent"
    """In the agents' protocol, which describes itself; it may take as long as a wait."""


def _checked(_instance: object, _attribute: object, codes: tuple[str, ...]) -> None:
    for code in codes:
        if code not in CODES:
            raise ValueError(f"there is no error code {code!r}; it needs a line in zart.http.refusals.CODES")


@frozen
class Tool:
    """An endpoint as agents call it.

    Attributes:
        name: its name.
        summary: what it does and when to use it.
        hidden: parameters that are of no use to agents.
        left_out: fields of the answer that they are not shown.
    """

    name: str
    summary: str
    hidden: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


@frozen(kw_only=True)
class Endpoint:
    """One thing that can be asked.

    Attributes:
        name: the operation's id; the method of `zart.http.operations.Operations` and of the description.
        method: the HTTP method.
        path: the path, with parameters in braces; each is an id or a name.
        access: who may call it.
        summary: what it does, in one sentence.
        query: the query's parameters.
        body: what the body is; None: there is none.
        event_key: whether the header `Idempotency-Key` names the event.
        trace: whether the header `traceparent` is kept with what is started.
        results: status -> what the answer is and means.
        errors: codes beyond those that every endpoint of its access may answer with.
        way: how it answers.
        tools: the agents' tools that it is.
    """

    name: str
    method: str
    path: str
    access: Access
    summary: str
    query: type[wire.Request] = wire.Nothing
    body: object | None = None
    event_key: bool = False
    trace: bool = False
    results: Mapping[int, tuple[type[wire.Answer] | None, str]]
    errors: tuple[str, ...] = field(default=(), validator=_checked)
    way: Way = Way.PLAIN
    tools: tuple[Tool, ...] = ()
    segments: tuple[str, ...] = field(init=False)
    """The pieces of the path."""

    @segments.default
    def _segments(self) -> tuple[str, ...]:
        return tuple(self.path.split("/")[1:])

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names in the path."""
        return tuple(part[1:-1] for part in self.segments if part.startswith("{"))


class AnyJson:
    """A body that is any JSON value."""


API = "/api/v1"
_STORED = ("stored_result",)
_EXECUTION = f"{API}/executions/{{execution_id}}"

ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        name="start",
        method="POST",
        path=f"{API}/executions",
        access=Access.OPERATOR,
        summary="Start an execution; the same key, task and data again are the same start.",
        body=wire.StartRequest,
        trace=True,
        results={201: (wire.Started, "Started."), 200: (wire.Started, "The same start was made before.")},
        errors=("idempotency_mismatch", "already_exists", "task_not_registered", "invalid_data", "payload_too_large"),
        tools=(
            Tool(
                "zart_schedule",
                "Start an execution of a task and return its id at once; it goes on by itself, whatever becomes of this"
                " session. zart_list_tasks has the tasks and what data they take. Give an idempotency_key, which becomes the"
                " id: the same key, task and data again are the same start.",
                hidden=("start_key",),
            ),
        ),
    ),
    Endpoint(
        name="list_executions",
        method="GET",
        path=f"{API}/executions",
        access=Access.READ,
        summary="List executions in the order of their start.",
        query=wire.ListQuery,
        results={200: (wire.Page, "A page.")},
        tools=(
            Tool(
                "zart_list",
                "List executions, newest first, without their steps.",
                hidden=("stored", "offset"),
                left_out=_STORED,
            ),
        ),
    ),
    Endpoint(
        name="status",
        method="GET",
        path=_EXECUTION,
        access=Access.READ,
        summary="Show an execution with its steps and what it waits for.",
        query=wire.StatusQuery,
        results={200: (wire.Execution, "The execution as it is now.")},
        errors=("not_found",),
        tools=(
            Tool(
                "zart_status",
                "Show an execution as it is now: its status, its output or error, and what it waits for.",
                hidden=("stored",),
                left_out=(*_STORED, "steps"),
            ),
            Tool(
                "zart_steps",
                "Show an execution with all its steps: their results, attempts and errors.",
                hidden=("stored",),
                left_out=_STORED,
            ),
        ),
    ),
    Endpoint(
        name="wait",
        method="GET",
        path=f"{_EXECUTION}/wait",
        access=Access.READ,
        summary="Wait until an execution has ended.",
        query=wire.WaitQuery,
        results={200: (wire.Execution, "It has ended."), 202: (wire.Execution, "It goes on: wait again.")},
        errors=("not_found",),
        way=Way.WAIT,
        tools=(
            Tool(
                "zart_wait",
                "Wait until an execution has ended, for at most 50 seconds, and show it. A status other than completed, failed"
                " and cancelled says that it still runs: call again, or come back later.",
                hidden=("stored",),
                left_out=(*_STORED, "steps"),
            ),
        ),
    ),
    Endpoint(
        name="cancel",
        method="POST",
        path=f"{_EXECUTION}/cancel",
        access=Access.OPERATOR,
        summary="Cancel an execution; what has ended stays as it is.",
        query=wire.OfRun,
        results={200: (wire.Cancellation, "The status now true.")},
        errors=("not_found",),
        tools=(Tool("zart_cancel", "Cancel an execution; one that has ended stays as it is."),),
    ),
    Endpoint(
        name="offer_event",
        method="POST",
        path=f"{API}/events/{{execution_id}}/{{name}}",
        access=Access.OPERATOR,
        summary="Send an event to an execution, with the body as its payload; it is kept until somebody waits for it.",
        query=wire.OfRun,
        body=AnyJson,
        event_key=True,
        results={202: (wire.Delivered, "Recorded."), 200: (wire.Delivered, "An event of this id was recorded before.")},
        errors=("not_found", "execution_finished", "payload_too_large", "invalid_data"),
        tools=(
            Tool(
                "zart_event",
                "Send an event to an execution, such as an approval that it waits for: zart_status names the wait. It is kept"
                " until the execution takes it. The same event_id twice is one event.",
            ),
        ),
    ),
    Endpoint(
        name="stream",
        method="GET",
        path=f"{_EXECUTION}/stream",
        access=Access.READ,
        summary="Follow an execution to its end, from its beginning or from `Last-Event-ID`, with nothing left out.",
        query=wire.OfRun,
        results={
            200: (wire.Turn, "Events `step`, each with a `Turn`, and at the end `end` with the execution."),
            204: (None, "The end was told before."),
        },
        errors=("not_found",),
        way=Way.STREAM,
    ),
    Endpoint(
        name="stream_all",
        method="GET",
        path=f"{API}/stream",
        access=Access.READ,
        summary="Follow what changes; after `reset` something may have been missed: list again.",
        results={200: (wire.Snapshot, "Events `execution`, each with an execution that has changed, and `reset`.")},
        way=Way.STREAM,
    ),
    Endpoint(
        name="tasks",
        method="GET",
        path=f"{API}/tasks",
        access=Access.READ,
        summary="List the tasks with the JSON Schemas of their inputs and outputs.",
        results={200: (wire.Tasks, "All tasks that are registered here.")},
        tools=(
            Tool("zart_list_tasks", "List the tasks that can be started, with the JSON Schemas of their inputs and outputs."),
        ),
    ),
    Endpoint(
        name="health",
        method="GET",
        path="/healthz",
        access=Access.PUBLIC,
        summary="Say that the server answers.",
        results={200: (wire.Health, "It does.")},
    ),
    Endpoint(
        name="ready",
        method="GET",
        path="/readyz",
        access=Access.PUBLIC,
        summary="Say whether the database answers, and whether the workers beside the server get at their work.",
        results={200: (wire.Health, "It does, and they do.")},
        errors=("storage_unavailable", "schema_mismatch", "not_ready"),
    ),
    Endpoint(
        name="metrics",
        method="GET",
        path="/metrics",
        access=Access.READ,
        summary="Show what was measured, as Prometheus reads it.",
        results={200: (None, "The metrics.")},
        errors=("no_such_path",),
        way=Way.PAGE,
    ),
    Endpoint(
        name="agents",
        method="POST",
        path="/mcp",
        access=Access.READ,
        summary="Speak the Model Context Protocol over streamable HTTP. With a read token only the tools that look are there.",
        body=AnyJson,
        results={200: (None, "A message of the protocol.")},
        errors=("no_such_path",),
        way=Way.AGENT,
    ),
    Endpoint(
        name="openapi",
        method="GET",
        path="/openapi.json",
        access=Access.PUBLIC,
        summary="Describe this API in OpenAPI 3.1.",
        results={200: (None, "The description.")},
        way=Way.PAGE,
    ),
    Endpoint(
        name="docs",
        method="GET",
        path="/docs",
        access=Access.PUBLIC,
        summary="Describe this API on a page for people.",
        results={200: (None, "The page.")},
        way=Way.PAGE,
    ),
)
"""All endpoints; the first whose path fits is taken."""

BY_NAME: Mapping[str, Endpoint] = {endpoint.name: endpoint for endpoint in ENDPOINTS}


def errors_of(endpoint: Endpoint) -> tuple[str, ...]:
    """Return every error code that an endpoint may answer with."""
    found = ["bad_request", "host_not_allowed", "uri_too_long", "headers_too_large", "internal", "invalid_request"]
    found.append("body_too_large")
    if endpoint.access is not Access.PUBLIC:
        found += ["unauthorized", "not_allowed", "too_many_requests", "overloaded", "storage_unavailable", "schema_mismatch"]
    if endpoint.body is not None:
        found += ["invalid_json", "unsupported_media_type", "body_too_slow"]
    return tuple(dict.fromkeys((*found, *endpoint.errors)))
