"""The place of the agents' protocol in the API; what answers at `/mcp` is `zart.mcp`, made of the same operations."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from starlette.types import Receive, Scope, Send

from zart.http.access import Caller
from zart.http.bodies import check_media_type, parse_json, read_body
from zart.http.limits import Gates, Limits
from zart.http.operations import Operations
from zart.http.requests import headers_of


class Agents(Protocol):
    """Answers requests of the Model Context Protocol."""

    async def answer(self, caller: Caller, address: str | None, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request of a caller who is known, and whose request's body is harmless JSON."""
        ...


MakeAgents = Callable[[Operations, asyncio.Event], Agents]
"""Makes them of the operations; the event is set when the server is to stop: then nobody waits any longer."""


async def checked(scope: Scope, receive: Receive, limits: Limits, gates: Gates, operations: Operations) -> Receive:
    """Read a request's body within the limits of all bodies, and return what gives it out again.

    Raises:
        Refusal: it is not taken.
        Disconnected: the caller has gone meanwhile.
    """
    headers = headers_of(scope)
    check_media_type(headers)
    body = await read_body(receive, headers, limits, operations.clock, gates)
    parse_json(body, limits)
    read = False

    async def again() -> dict[str, object]:
        nonlocal read
        if read:
            return dict(await receive())
        read = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
