"""The API as an ASGI application, to be served by itself or mounted in another."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Any
from urllib.parse import quote

import anyio
from msgspec import UNSET
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, NoMatchFound
from starlette.types import ASGIApp, Receive, Scope, Send

from zart.client import DurableScheduler
from zart.clock import Clock, SystemClock
from zart.errors import SchedulerError
from zart.handler import TaskHandler
from zart.http.access import AccessRules, Caller, check_access
from zart.http.agents import Agents, MakeAgents, checked
from zart.http.audit import audit
from zart.http.bodies import Disconnected
from zart.http.endpoints import BY_NAME, ENDPOINTS, Access, Endpoint, Way
from zart.http.feeds import History, News, Overview, Place
from zart.http.limits import Gates, Limits, Rates
from zart.http.openapi import document
from zart.http.operations import Call, Operations, Reply, refusing
from zart.http.pages import page
from zart.http.refusals import Refusal
from zart.http.requests import call_of, fitting, headers_of, printable, segments_of
from zart.http.shell import Shell, address_of
from zart.http.views import written
from zart.ids import Randomness, SystemRandomness, check_name
from zart.registry import Registry
from zart.scheduler import Storage
from zart.telemetry.probes import Exposed
from zart.telemetry.watched import Watched

logger: logging.Logger = logging.getLogger("zart.http")

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
        agents: MakeAgents | None = None,
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
        self.agents: Agents | None = None if agents is None else agents(self.operations, self.closing)
        super().__init__(routes=[EndpointRoute(self, endpoint) for endpoint in ENDPOINTS], lifespan=lambda _: opened(self))
        self.router.redirect_slashes = False
        self.router.default = self._nothing_here

    def build_middleware_stack(self) -> ASGIApp:
        """Return what surrounds the routes: the shell in place of Starlette's own handlers of errors, and what was added."""
        app: ASGIApp = Shell(self.router, self.access, self.limits, self.clock)
        if self.access.origins:
            app = CORSMiddleware(
                app,
                allow_origins=self.access.origins,
                allow_methods=["GET", "POST"],
                allow_headers=["authorization", "content-type", "idempotency-key", "last-event-id", "traceparent"],
            )
        for middleware, arguments, options in reversed(self.user_middleware):
            app = middleware(app, *arguments, **options)
        return app

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
    agents: MakeAgents | None = None,
) -> Api:
    """Return the HTTP API of a storage as an ASGI application.

    Served by itself it opens and closes the storage; mounted in another application it needs that one's lifespan
    (`zart.http.lifespan`), or a storage that is open already. With a registry, or handlers, it refuses unknown tasks and data
    that does not fit; without, it takes any.

    Without `access` the tokens come from `ZART_READ_TOKEN` and `ZART_OPERATOR_TOKEN`; without those it answers to programs of
    the same machine only.

    With a watched storage (`zart.telemetry`) `/metrics` shows what it measures, and `/readyz` whether workers on it get at
    their work. `agents` is `zart.mcp.over_http`, for agents to speak to at `/mcp`.
    """
    return Api(
        scheduler,
        registry if registry is None or isinstance(registry, Registry) else Registry(registry),
        AccessRules.from_environment() if access is None else access,
        limits or Limits(),
        clock or SystemClock(),
        randomness or SystemRandomness(),
        agents,
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
            if endpoint.way is Way.AGENT:
                await self._speak(caller, scope, receive, send)
                return
            call = await call_of(endpoint, scope["zart_parameters"], scope, headers, receive, api.limits, api.gates, api.clock)
            response = await self._respond(call, scope, headers, receive)
            if endpoint.access is Access.OPERATOR:
                about = call.path.get("execution_id") or response.headers.get("location", "").rpartition("/")[2]
                audit(endpoint, about, response.status_code, caller, address_of(scope))
            await response(scope, receive, send)

    async def _admit(self, scope: Scope, headers: Mapping[bytes, bytes]) -> Caller:
        """Return who calls, if they may."""
        if self.endpoint.access is Access.PUBLIC:
            return Caller("anybody", Access.PUBLIC)
        api, address = self._api, address_of(scope) or "-"
        try:
            caller = await api.access.caller(headers)
        except Refusal:
            # Only who is wrong is slowed down: behind a proxy everybody has one address.
            if api.failures.is_empty(address):
                raise Refusal("too_many_requests", "too many wrong tokens came from this address", "wait a while") from None
            if b"authorization" in headers:
                api.failures.take(address)
            raise
        if not api.rates.take(caller.name):
            raise Refusal("too_many_requests", "this caller asks too often", "ask more slowly")
        check_access(caller, self.endpoint.access)
        return caller

    async def _respond(self, call: Call, scope: Scope, headers: Mapping[bytes, bytes], receive: Receive) -> Response:
        api = self._api
        match self.endpoint.name:
            case "openapi":
                return Response(document(), media_type="application/json")
            case "docs":
                return Response(page(), media_type="text/html")
            case "metrics":
                return await self._metrics()
            case "stream":
                return await self._stream(call, headers)
            case "stream_all":
                after = printable(headers.get(b"last-event-id"), "Last-Event-ID")
                return self._events(api.overview.follow(after))
            case "wait":
                reply = await self._wait(call, receive)
            case name:
                reply = await api.operations.within(api.operations.named(name)(call))
        response = Response(written(reply.answer), reply.status, media_type="application/json")
        if self.endpoint.name == "start":
            response.headers["location"] = _location(reply, scope)
        return response

    async def _wait(self, call: Call, receive: Receive) -> Reply:
        """Wait, until the end, the caller's patience, its going away, or the server's."""
        operations = self._api.operations
        gone, closing = asyncio.ensure_future(_gone(receive)), asyncio.ensure_future(self._api.closing.wait())
        reply = await operations.wait_unless(call, gone, closing)
        if reply is None and not gone.cancelled():
            raise Disconnected
        return reply or await operations.status_or_end(call)

    async def _metrics(self) -> Response:
        storage = self._api.storage
        found = [each for each in storage.watchers if isinstance(each, Exposed)] if isinstance(storage, Watched) else []
        if not found:
            raise Refusal("no_such_path", "nothing is measured here", "give the server a watched storage with Metrics")
        text = await self._api.operations.within(found[0].exposition(storage))
        return Response(text, headers={"content-type": found[0].content_type})

    async def _speak(self, caller: Caller, scope: Scope, receive: Receive, send: Send) -> None:
        api = self._api
        if api.agents is None:
            raise Refusal("no_such_path", "this server has no agents' protocol", "install the extra `mcp` where the server is")
        again = await checked(scope, receive, api.limits, api.gates, api.operations)
        await api.agents.answer(caller, address_of(scope), scope, again, send)

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
        execution = await api.operations.within(history.find(execution_id, place.run or asked))
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
