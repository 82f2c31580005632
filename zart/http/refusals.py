"""Errors as HTTP answers: one code, status and meaning each."""

from collections.abc import Mapping

from msgspec import UNSET, UnsetType

from zart.errors import ExecutionAlreadyExists
from zart.http import wire
from zart.problems import KNOWN, known, parted

PROBLEM = "application/problem+json"

_OWN: Mapping[str, tuple[int, str]] = {
    "bad_request": (400, "The request is not well-formed."),
    "invalid_json": (400, "The body is no JSON, or nested too deeply, or holds too many keys or digits."),
    "unauthorized": (401, "The bearer token is missing or wrong."),
    "not_allowed": (403, "The token may not do this, or the request comes from elsewhere."),
    "host_not_allowed": (403, "The Host or Origin is not one that this server answers to."),
    "no_such_path": (404, "There is nothing at this path."),
    "method_not_allowed": (405, "The path does not take this method."),
    "body_too_slow": (408, "The body did not come in time."),
    "body_too_large": (413, "The body is larger than the server takes."),
    "uri_too_long": (414, "The path or query is longer than the server takes."),
    "unsupported_media_type": (415, "The body must be application/json, not encoded."),
    "invalid_request": (422, "A parameter is unknown, missing or wrong."),
    "too_many_requests": (429, "This caller asks too much at once."),
    "headers_too_large": (431, "The headers are larger than the server takes."),
    "internal": (500, "A fault of the server."),
    "overloaded": (503, "The server has too much to do."),
    "not_ready": (503, "A worker beside the server does not get at its work."),
}
_MEANINGS: Mapping[str, str] = {
    "not_found": "No execution has this id, or no such run.",
    "idempotency_mismatch": "The key belongs to another task or to other data.",
    "already_exists": "The key is taken, and `reuse` allows no other run.",
    "execution_finished": "The execution has ended.",
    "storage_unavailable": "The database does not answer.",
    "schema_mismatch": "The database's schema is not that of this version.",
    "task_not_registered": "No handler of this name is registered.",
    "payload_too_large": "The value is larger than storage takes.",
    "invalid_data": "The data does not fit; `detail` begins with the path of what is wrong.",
    "not_supported": "The backend cannot do that.",
}
CODES: Mapping[str, tuple[int, str]] = {
    **{each.code: (each.status, _MEANINGS[each.code]) for each in KNOWN if each.code in _MEANINGS},
    **_OWN,
}
"""Code -> HTTP status and meaning."""

_RETRY = "try again in a while"
_SERVERS_OWN: Mapping[str, tuple[str, str]] = {
    # What is wrong inside is for the server's log and not for its callers: it may name hosts and users.
    "storage_unavailable": ("the database does not answer", _RETRY),
    "schema_mismatch": ("the database's schema is not that of this version", "run `zart migrate` where the server is"),
    "internal": ("this is a fault of the server; its log says more", ""),
}
_HINTS: Mapping[str, str] = {"not_found": "GET /api/v1/executions lists what there is"}
_RETRY_AFTER: Mapping[str, int] = {
    "too_many_requests": 1,
    "overloaded": 1,
    "storage_unavailable": 5,
    "schema_mismatch": 60,
    "not_ready": 5,
}


class Refusal(Exception):
    """A request that is not carried out; `headers` go with the answer."""

    def __init__(self, code: str, detail: str, hint: str = "", headers: Mapping[str, str] | None = None) -> None:
        self.code = code
        self.detail = detail
        self.hint = hint
        self.status: int = CODES[code][0]
        self.headers: dict[str, str] = dict(headers or {})
        self.execution_status: wire.Status | UnsetType = UNSET
        if code in _RETRY_AFTER:
            self.headers.setdefault("retry-after", str(_RETRY_AFTER[code]))
        super().__init__(detail)

    def problem(self) -> wire.Problem:
        """Return what is said about it."""
        return wire.Problem(
            type="about:blank",
            title=CODES[self.code][1].rstrip("."),
            status=self.status,
            code=self.code,
            detail=self.detail,
            hint=self.hint,
            execution_status=self.execution_status,
        )


def refusal_of(error: Exception) -> Refusal:
    """Return the answer to an error that an operation has raised."""
    if isinstance(error, Refusal):
        return error
    found = known(error)
    code = found.code if found is not None and found.code in CODES else "internal"
    detail, hint = _SERVERS_OWN.get(code) or parted(error)
    hint = _HINTS.get(code, hint)
    refusal = Refusal(code, detail, hint)
    if isinstance(error, ExecutionAlreadyExists):
        refusal.execution_status = error.status.value
    return refusal
