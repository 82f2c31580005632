"""The API as an ASGI application, to be served by itself or mounted in another."""

import asyncio
import logging
import traceback
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping, MutableMapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Any
from urllib.parse import quote

import anyio
from msgspec import UNSET
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, NoMatchFound
from starlette.types import ASGIApp, Receive, Scope, Send

from zart.client import DurableScheduler
from zart.clock import Clock, SystemClock
from zart.errors import SchedulerError
from zart.handler import TaskHandler
from zart.http.access import AccessRules, Caller, check_access
from zart.http.bodies import Disconnected, has_body, swallow
from zart.http.endpoints import BY_NAME, ENDPOINTS, Access, Endpoint
from zart.http.feeds import History, News, Overview, Place
from zart.http.limits import Gates, Limits, Rates
from zart.http.openapi import document
from zart.http.operations import Call, Operations, Reply, refusing
from zart.http.pages import page
from zart.http.patience import Patience
from zart.http.refusals import PROBLEM, Refusal, refusal_of
from zart.http.requests import call_of, fitting, headers_of, printable, segments_of
from zart.http.views import written
from zart.ids import Randomness, SystemRandomness, check_name
from zart.registry import Registry
from zart.scheduler import Storage

logger: logging.Logger = logging.getLogger("zart.http")
audit: logging.Logger = logging.getLogger("zart.http.audit")

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
_PING = 15
_SEND_TIME = 30.0
"""Seconds that the reader of a stream may leave one event unread."""
_GRACE = 2.0
"""Seconds that a stream has to end."""


class Api(Starlette):
    """The application that `asgi` returns; `mount` it, or serve it by itself."""

    def __init__(
        self,
        storage: Storage,
        registry: Registry | None,
        access: AccessRules,
        limits: Limits,
        clock: Clock,
        randomness: Randomness,
    ) -> None:
        self.storage = storage
        self.access = access
        self.limits = limits
        self.clock = clock
        self.gates: Gates = Gates(limits)
        self.rates: Rates = Rates(clock, limits.rate, limits.rate * 2)
        self.failures: Rates = Rates(clock, limits.failures, limits.failures * 10)
        client = DurableScheduler(storage, clock=clock, randomness=randomness)
        self.operations: Operations = Operations(client, registry, limits, clock, randomness)
        self.overview: Overview = Overview(client, clock, randomness, limits.stream_gap)
        self.closing: asyncio.Event = asyncio.Event()
        """Set when the server is to stop: long polls are answered and streams end."""
        cors = Middleware(
            CORSMiddleware,
            allow_origins=access.origins,
            allow_methods=["GET", "POST"],
            allow_headers=["authorization", "content-type", "idempotency-key", "last-event-id"],
        )
        super().__init__(
            routes=[EndpointRoute(self, endpoint) for endpoint in ENDPOINTS],
            middleware=[*([cors] if access.origins else []), Middleware(Shell, api=self)],
            lifespan=lambda _: opened(self),
        )
        self.router.redirect_slashes = False
        self.router.default = self._nothing_here

    async def _nothing_here(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.router.not_found(scope, receive, send)
            return
        segments = segments_of(scope)
        methods = [each.method for each in ENDPOINTS if fitting(each, segments) is not None]
        if methods:
            allowed = {"allow": ", ".join(sorted({*methods, *(["HEAD"] if "GET" in methods else [])}))}
            raise Refusal("method_not_allowed", f"the path does not take {scope['method']}", f"use {allowed['allow']}", allowed)
        raise Refusal("no_such_path", "there is nothing at this path", "see /openapi.json")


def asgi(
    scheduler: Storage,
    registry: Registry | Iterable[TaskHandler[Any, Any]] | None = None,
    *,
    access: AccessRules | None = None,
    limits: Limits | None = None,
    clock: Clock | None = None,
    randomness: Randomness | None = None,
) -> Api:
    """Return the HTTP API of a storage as an ASGI application.

    Served by itself it opens and closes the storage; mounted in another application it needs that one's lifespan
    (`zart.http.lifespan`), or a storage that is open already. With a registry, or handlers, it refuses unknown tasks and data
    that does not fit; without, it takes any.

    Without `access` the tokens come from `ZART_READ_TOKEN` and `ZART_OPERATOR_TOKEN`; without those it answers to programs of
    the same machine only.
    """
    return Api(
        scheduler,
        registry if registry is None or isinstance(registry, Registry) else Registry(registry),
        AccessRules.from_environment() if access is None else access,
        limits or Limits(),
        clock or SystemClock(),
        randomness or SystemRandomness(),
    )


def lifespan(api: Api) -> Callable[[Any], AbstractAsyncContextManager[None]]:
    """Return the lifespan for the application that an API is mounted in: it opens the API's storage, and closes it.

    Example:
        >>> api = asgi(connect("sqlite:///zart.db"), registry)  # doctest: +SKIP
        >>> app = FastAPI(lifespan=lifespan(api))  # doctest: +SKIP
        >>> app.mount("/zart", api)  # doctest: +SKIP
    """
    return lambda _: opened(api)


@asynccontextmanager
async def opened(api: Api) -> AsyncIterator[None]:
    """Keep an API's storage open."""
    async with api.storage:
        api.closing.clear()
        try:
            yield
        finally:
            api.closing.set()


class Shell:
    """What surrounds every request: where it may come from, how large it may be, the headers of its answer, and its errors."""

    def __init__(self, app: ASGIApp, api: Api) -> None:
        self._app = app
        self._api = api

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
                _log(scope, error)
            if begun:
                raise ConnectionError("the answer broke off") from None
            await _refuse(refusal, answer, head=scope["method"] == "HEAD", unread=unread)
            if unread:
                await swallow(receive, self._api.clock)
                await answer({"type": "http.response.body", "body": b"", "more_body": False})

    def _check(self, scope: Scope, headers: Mapping[bytes, bytes]) -> None:
        limits = self._api.limits
        if len(scope.get("raw_path") or scope["path"]) + len(scope["query_string"]) > limits.query:
            raise Refusal("uri_too_long", f"path and query have more than {limits.query:,} bytes", "shorten them")
        if sum(len(name) + len(value) + 4 for name, value in scope["headers"]) > limits.headers:
            raise Refusal("headers_too_large", f"the headers have more than {limits.headers:,} bytes", "send fewer")
        self._api.access.check_place(headers, _address(scope))


def _address(scope: Scope) -> str | None:
    client = scope.get("client")
    return client[0] if client else None


def _log(scope: Scope, error: Exception) -> None:
    """Log a fault by its type and place: its text may hold what somebody sent, or where the database is."""
    where = "".join(traceback.format_tb(error.__traceback__))
    logger.error("%s %s: %s\n%s", scope["method"], ascii(scope["path"]), type(error).__name__, where.rstrip())


async def _refuse(refusal: Refusal, send: Send, *, head: bool, unread: bool) -> None:
    """Send an answer, and leave it unfinished when the rest of the request is still to come."""
    body = b"" if head else written(refusal.problem())
    given = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in refusal.headers.items()]
    given += [(b"content-type", PROBLEM.encode()), (b"content-length", str(len(body)).encode())]
    if unread:
        given.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": refusal.status, "headers": given})
    await send({"type": "http.response.body", "body": body, "more_body": unread})


class EndpointRoute(BaseRoute):
    """The route of one endpoint: found by the path as it came, so that an id may hold a slash."""

    def __init__(self, api: Api, endpoint: Endpoint) -> None:
        self._api = api
        self.endpoint = endpoint
        self._methods = {endpoint.method, "HEAD"} if endpoint.method == "GET" else {endpoint.method}

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Say whether a request is this endpoint's."""
        if scope["type"] != "http" or scope["method"] not in self._methods:
            return Match.NONE, {}
        found = fitting(self.endpoint, segments_of(scope))
        return (Match.NONE, {}) if found is None else (Match.FULL, {"zart_parameters": found})

    def url_path_for(self, name: str, /, **path_params: Any) -> Any:
        """Refuse: clients know the paths by the table."""
        raise NoMatchFound(name, path_params)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        headers = headers_of(scope)
        caller = await self._admit(scope, headers)
        api, endpoint = self._api, self.endpoint
        # Whether the server lives must be said however much it has to do.
        with nullcontext() if endpoint.access is Access.PUBLIC else api.gates.place(endpoint.way, caller.name):
            call = await call_of(endpoint, scope["zart_parameters"], scope, headers, receive, api.limits, api.gates, api.clock)
            response = await self._respond(call, scope, headers, receive)
            if endpoint.access is Access.OPERATOR:
                about = ascii(call.path.get("execution_id") or response.headers.get("location", "").rpartition("/")[2])
                who = caller.name, _address(scope) or "-"
                audit.info("%s %s: %d, by %s from %s", endpoint.name, about, response.status_code, *who)
            await response(scope, receive, send)

    async def _admit(self, scope: Scope, headers: Mapping[bytes, bytes]) -> Caller:
        """Return who calls, if they may."""
        if self.endpoint.access is Access.PUBLIC:
            return Caller("anybody", Access.PUBLIC)
        api, address = self._api, _address(scope) or "-"
        try:
            caller = await api.access.caller(headers)
        except Refusal:
            # Only who is wrong is slowed down: behind a proxy everybody has one address.
            if api.failures.is_empty(address):
                raise Refusal("too_many_requests", "too many wrong tokens came from this address", "wait a while") from None
            if b"authorization" in headers:
                api.failures.take(address)
            raise
        if api.rates.is_empty(caller.name):
            raise Refusal("too_many_requests", "this caller asks too often", "ask more slowly")
        api.rates.take(caller.name)
        check_access(caller, self.endpoint.access)
        return caller

    async def _respond(self, call: Call, scope: Scope, headers: Mapping[bytes, bytes], receive: Receive) -> Response:
        api = self._api
        match self.endpoint.name:
            case "openapi":
                return Response(document(), media_type="application/json")
            case "docs":
                return Response(page(), media_type="text/html")
            case "stream":
                return await self._stream(call, headers)
            case "stream_all":
                after = printable(headers.get(b"last-event-id"), "Last-Event-ID")
                return self._events(api.overview.follow(after))
            case "wait":
                reply = await self._wait(call, receive)
            case name:
                reply = await self._within(api.operations.named(name)(call))
        response = Response(written(reply.answer), reply.status, media_type="application/json")
        if self.endpoint.name == "start":
            response.headers["location"] = _location(reply, scope)
        return response

    async def _within(self, work: Awaitable[Any]) -> Any:
        try:
            async with Patience(self._api.clock, self._api.limits.storage_time):
                return await work
        except TimeoutError:
            raise Refusal("storage_unavailable", "the database took too long", "try again in a while") from None

    async def _wait(self, call: Call, receive: Receive) -> Reply:
        """Wait, until the end, the caller's patience, its going away, or the server's."""
        work = asyncio.ensure_future(self._api.operations.wait(call))
        others = [asyncio.ensure_future(_gone(receive)), asyncio.ensure_future(self._api.closing.wait())]
        try:
            await asyncio.wait([work, *others], return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
            if others[0].done():
                raise Disconnected
        finally:
            for each in (work, *others):
                each.cancel()
            await asyncio.wait([work, *others])
        return await self._api.operations.status_or_end(call)

    async def _stream(self, call: Call, headers: Mapping[bytes, bytes]) -> Response:
        api = self._api
        resumed = printable(headers.get(b"last-event-id"), "Last-Event-ID")
        try:
            place = Place() if resumed is None else Place.parse(resumed)
        except ValueError:
            raise Refusal("invalid_request", "no event had this Last-Event-ID", "leave it out to begin anew") from None
        history = History(api.operations.client, api.clock, api.limits.stream_gap)
        with refusing():
            execution_id = check_name(call.path["execution_id"], "execution id")
        asked = None if call.query.run is UNSET else call.query.run
        execution = await self._within(history.find(execution_id, place.run or asked))
        if place.ended:
            return Response(status_code=204)
        return self._events(history.follow(execution, place.turn))

    def _events(self, news: AsyncGenerator[News, None]) -> Response:
        stopping = anyio.Event()
        return EventSourceResponse(
            _told(news, self._api, stopping),
            ping=_PING,
            send_timeout=_SEND_TIME,
            # The server may be uvicorn, told to stop: then the stream is to end, and not to break off.
            shutdown_event=stopping,
            shutdown_grace_period=_GRACE,
        )


async def _told(news: AsyncGenerator[News, None], api: Api, stopping: anyio.Event) -> AsyncGenerator[ServerSentEvent, None]:
    """Yield news as they go out, until they end, the stream is old, or the server stops."""
    expired = asyncio.Event()
    timer = api.clock.call_later(api.limits.longest_stream, expired.set)
    stops = [asyncio.ensure_future(each.wait()) for each in (expired, api.closing, stopping)]
    coming: asyncio.Future[News | None] | None = None
    try:
        while True:
            coming = asyncio.ensure_future(anext(news, None))
            await asyncio.wait([coming, *stops], return_when=asyncio.FIRST_COMPLETED)
            each = coming.result() if coming.done() else None
            if each is None:
                return
            yield ServerSentEvent(written(each.data).decode() if each.data else "{}", event=each.event, id=each.id)
    except SchedulerError as error:
        logger.warning("a stream ended: %s", type(error).__name__)  # its reader comes back and goes on
    finally:
        timer.cancel()
        for stop in stops:
            stop.cancel()
        if coming is not None and not coming.done():
            coming.cancel()  # which ends the news, too
        else:
            await news.aclose()


async def _gone(receive: Receive) -> None:
    """Return when the caller has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _location(reply: Reply, scope: Scope) -> str:
    path = BY_NAME["status"].path.replace("{execution_id}", quote(reply.about or "", safe=""))
    return f"{scope.get('root_path', '').rstrip('/')}{path}"
