"""The way from the client to a server: calls that are repeated when that may help, and streams."""

from collections.abc import AsyncGenerator, Mapping
from urllib.parse import quote

import httpx2

from zart.clock import Clock, pause
from zart.errors import SchedulerError, StorageUnavailable
from zart.http.answers import Again, fail
from zart.http.endpoints import BY_NAME
from zart.ids import Randomness

ATTEMPTS = 4
FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 10.0
_SILENCE = 60.0
"""Seconds without a sign of life, which a stream gives four times as often, after which it is dead."""


class Line:
    """Carries calls to one server."""

    def __init__(self, http: httpx2.AsyncClient, url: str, clock: Clock, randomness: Randomness) -> None:
        self._http = http
        self._url = url
        self._clock = clock
        self._randomness = randomness

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def call(
        self,
        operation: str,
        execution_id: str,
        run: Mapping[str, str] | None = None,
        *,
        query: Mapping[str, str] | None = None,
        name: str = "",
        content: bytes | None = None,
        key: str | None = None,
        trace: str | None = None,
    ) -> tuple[int, bytes]:
        """Return the status and body of what an endpoint answers; raises as `zart.http.answers.fail` does."""
        endpoint = BY_NAME[operation]
        headers = {} if content is None else {"content-type": "application/json"}
        if key is not None:
            headers["idempotency-key"] = key
        if trace is not None:
            headers["traceparent"] = trace
        path, params = _path(operation, execution_id, name), {**(run or {}), **(query or {})}
        gap = FIRST_PAUSE
        for left in reversed(range(ATTEMPTS)):
            try:
                answer = await self._http.request(endpoint.method, path, params=params, headers=headers, content=content)
                if answer.status_code in endpoint.results:
                    return answer.status_code, answer.content
                after = answer.headers.get("retry-after", "")
                gap = min(max(gap, float(after) if after.isdecimal() else 0.0), _LONGEST_PAUSE)
                number = int(params["run"]) if "run" in params else None
                fail(answer.status_code, answer.content, execution_id, number)
            except Again as again:
                if not left:
                    raise again.error from None
            except httpx2.TransportError as error:
                if not left:
                    raise unreachable(self._url, error) from error
            await pause(self._clock, gap * (0.5 + self._randomness.random() / 2))
            gap *= 2
        raise SchedulerError("nothing was asked")

    async def events(
        self, execution_id: str, query: Mapping[str, str], after: str | None
    ) -> AsyncGenerator[dict[str, str], None]:
        """Yield the events of an execution's stream, each as its fields, until the connection ends.

        Raises:
            Again: the server asks to come back.
            httpx2.TransportError: the connection broke.
        """
        headers = {} if after is None else {"last-event-id": after}
        path = _path("stream", execution_id, "")
        async with self._http.stream("GET", path, params=query, headers=headers, timeout=httpx2.Timeout(_SILENCE)) as answer:
            if answer.status_code != httpx2.codes.OK:
                fail(answer.status_code, await answer.aread(), execution_id, None)
            event: dict[str, str] = {}
            async for line in answer.aiter_lines():
                name, _, value = line.partition(": ")
                if line and name in {"id", "event", "data"}:
                    event[name] = value
                elif not line and "data" in event:
                    yield event
                    event = {}


def _path(operation: str, execution_id: str, name: str) -> str:
    pattern = BY_NAME[operation].path
    return pattern.replace("{execution_id}", _piece(execution_id)).replace("{name}", _piece(name))


def _piece(text: str) -> str:
    """Return an id as a piece of a path; one of dots alone would be taken for a way up."""
    return quote(text, safe="") if text.strip(".") else text.replace(".", "%2E")


def unreachable(url: str, error: Exception) -> StorageUnavailable:
    """Return the error of a server that stays away."""
    return StorageUnavailable(f"the server at {url} cannot be reached: {type(error).__name__}: {error}; try again later")
