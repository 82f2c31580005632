"""What surrounds every request, whoever answers it."""

import logging
import traceback
from collections.abc import Mapping, MutableMapping
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from zart.clock import Clock
from zart.http.access import AccessRules
from zart.http.bodies import Disconnected, has_body, swallow
from zart.http.limits import Limits
from zart.http.refusals import PROBLEM, Refusal, refusal_of
from zart.http.requests import headers_of
from zart.http.views import written

logger: logging.Logger = logging.getLogger("zart.http")

_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"x-frame-options", b"DENY"),
    (
        b"content-security-policy",
        b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    ),
)


class Shell:
    """What surrounds every request: where it may come from, how large it may be, the headers of its answer, and its errors."""

    def __init__(self, app: ASGIApp, access: AccessRules, limits: Limits, clock: Clock) -> None:
        self._app = app
        self._access = access
        self._limits = limits
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = headers_of(scope)
        begun, unread = False, has_body(headers)

        async def taken() -> MutableMapping[str, Any]:
            nonlocal unread
            message = await receive()
            unread = unread and message.get("more_body", False)
            return message

        async def answer(message: MutableMapping[str, Any]) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                present = {name for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(each for each in _HEADERS if each[0] not in present)]
            await send(message)

        try:
            self._check(scope, headers)
            await self._app(scope, taken, answer)
        except Disconnected:
            return
        except Exception as error:  # noqa: BLE001 # each is answered, the unknown as a fault
            refusal = refusal_of(error)
            if refusal.code in {"internal", "storage_unavailable", "schema_mismatch"}:
                log_fault(f"{scope['method']} {scope['path']!a}", error)
            if begun:
                raise ConnectionError("the answer broke off") from None
            await _refuse(refusal, answer, head=scope["method"] == "HEAD", unread=unread)
            if unread:
                await swallow(receive, self._clock)
                await answer({"type": "http.response.body", "body": b"", "more_body": False})

    def _check(self, scope: Scope, headers: Mapping[bytes, bytes]) -> None:
        limits = self._limits
        if len(scope.get("raw_path") or scope["path"]) + len(scope["query_string"]) > limits.query:
            raise Refusal("uri_too_long", f"path and query have more than {limits.query:,} bytes", "shorten them")
        if sum(len(name) + len(value) + 4 for name, value in scope["headers"]) > limits.headers:
            raise Refusal("headers_too_large", f"the headers have more than {limits.headers:,} bytes", "send fewer")
        self._access.check_place(headers, address_of(scope))


def address_of(scope: Scope) -> str | None:
    """Return who sends a request; None for a socket of the file system."""
    client = scope.get("client")
    return client[0] if client else None


def log_fault(what: str, error: Exception) -> None:
    """Log a fault by its type and place: its text may hold what somebody sent, or where the database is."""
    where = "".join(traceback.format_tb(error.__traceback__))
    logger.error("%s: %s\n%s", what, type(error).__name__, where.rstrip())


async def _refuse(refusal: Refusal, send: Send, *, head: bool, unread: bool) -> None:
    """Send an answer, and leave it unfinished when the rest of the request is still to come."""
    body = b"" if head else written(refusal.problem())
    given = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in refusal.headers.items()]
    given += [(b"content-type", PROBLEM.encode()), (b"content-length", str(len(body)).encode())]
    if unread:
        given.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": refusal.status, "headers": given})
    await send({"type": "http.response.body", "body": body, "more_body": unread})
