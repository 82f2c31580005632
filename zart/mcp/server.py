"""The server that agents speak to, over standard input and output or over HTTP.

It keeps nothing between two calls: over HTTP each request is answered by itself, by whichever server it reaches.
"""

import asyncio
import json
from importlib.metadata import version
from typing import Any

from attrs import evolve
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.types import (
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    ToolAnnotations,
)
from mcp.types import Tool as ShownTool
from starlette.types import Receive, Scope, Send

from zart.client import DurableScheduler
from zart.clock import Clock, SystemClock
from zart.http.access import Caller, check_access
from zart.http.audit import audit
from zart.http.endpoints import Access
from zart.http.limits import Limits
from zart.http.operations import Operations, Reply
from zart.http.refusals import Refusal, refusal_of
from zart.http.requests import headers_of, trace_of
from zart.http.shell import log_fault
from zart.http.views import written
from zart.ids import Randomness, SystemRandomness
from zart.mcp.tools import TOOLS, AgentTool
from zart.registry import Registry
from zart.scheduler import Storage
from zart.traceparent import traceparent

INSTRUCTIONS = (
    "Zart runs durable executions: tasks whose every step is saved, so that they outlive crashes, restarts and this session."
    " Start one with zart_schedule under an id that you choose, go on with other work, and collect it later with zart_wait or"
    " zart_status, also in another session. What waits for a person or a program is given an event with zart_event."
)
_CALLER = "zart_caller"
_HINTS = {"not_found": "zart_list shows what there is", "not_allowed": "ask somebody who has the operator token"}
"""What agents are told to do about an error, where callers over HTTP are told something else."""

Context = ServerRequestContext[Any, Any]


class AgentServer:
    """Answers agents. `caller` is who speaks where the transport does not tell: over standard input and output."""

    def __init__(self, operations: Operations, closing: asyncio.Event, caller: Caller | None = None) -> None:
        self._operations = operations
        self._closing = closing
        self._caller = caller
        self.server: Server[Any] = Server(
            "zart",
            version=version("zart-durable"),
            title="Zart",
            instructions=INSTRUCTIONS,
            on_list_tools=self._list_tools,
            on_call_tool=self._call_tool,
        )

    async def answer(self, caller: Caller, address: str | None, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request over HTTP."""
        manager = StreamableHTTPSessionManager(self.server, json_response=True, stateless=True)
        async with manager.run():
            await manager.handle_request({**scope, _CALLER: (caller, address)}, receive, send)

    def _who(self, context: Context) -> tuple[Caller, str | None]:
        if self._caller is not None:
            return self._caller, None
        if context.request is None:
            raise Refusal("unauthorized", "nobody knows who calls")
        who: tuple[Caller, str | None] = context.request.scope[_CALLER]
        return who

    async def _list_tools(self, context: Context, params: PaginatedRequestParams | None) -> ListToolsResult:
        caller, _ = self._who(context)
        return ListToolsResult(tools=[shown(each) for each in TOOLS.values() if may(caller, each)])

    async def _call_tool(self, context: Context, params: CallToolRequestParams) -> CallToolResult:
        caller, address = self._who(context)
        try:
            tool = TOOLS.get(params.name)
            if tool is None:
                raise Refusal("invalid_request", f"there is no tool {params.name!r}", f"there are {', '.join(TOOLS)}")
            check_access(caller, tool.endpoint.access)
            reply = await self._carried_out(tool, params.arguments or {}, _trace(context, params))
        except Exception as error:  # noqa: BLE001 # each is answered, the unknown as a fault
            refusal = refusal_of(error)
            if refusal.code in {"internal", "storage_unavailable", "schema_mismatch"}:
                log_fault(f"agents' tool {params.name!a}", error)
            hint = _HINTS.get(refusal.code, refusal.hint)
            told = {"code": refusal.code, "message": refusal.detail, "hint": hint}
            return CallToolResult(content=[_text(told)], structured_content=told, is_error=True)
        audit(tool.endpoint, reply.about or "", f"{reply.status} over MCP", caller, address)
        answer = _sayable(tool.shown(reply))
        return CallToolResult(content=[_text(answer)], structured_content=answer)

    async def _carried_out(self, tool: AgentTool, arguments: dict[str, Any], trace: str | None) -> Reply:
        call, operations = evolve(tool.call(arguments), trace=trace), self._operations
        if tool.endpoint.name == "wait":
            closing = asyncio.ensure_future(self._closing.wait())
            return await operations.wait_unless(call, closing) or await operations.status_or_end(call)
        reply: Reply = await operations.within(operations.named(tool.endpoint.name)(call))
        return reply


def _trace(context: Context, params: CallToolRequestParams) -> str | None:
    """Return under which W3C `traceparent` an agent calls: what the call itself carries, or else its request."""
    told: Any = (params.meta or {}).get("traceparent")
    return traceparent(told) or (None if context.request is None else trace_of(headers_of(context.request.scope)))


def may(caller: Caller, tool: AgentTool) -> bool:
    """Whether a caller may use a tool; others are not shown to them."""
    return caller.access is Access.OPERATOR or not tool.writes


def shown(each: AgentTool) -> ShownTool:
    """Return a tool as the protocol describes it."""
    hints = ToolAnnotations(
        read_only_hint=not each.writes,
        destructive_hint=each.endpoint.name == "cancel",
        idempotent_hint=not each.writes or each.endpoint.name == "cancel",
        open_world_hint=False,
    )
    return ShownTool(
        name=each.name,
        description=each.tool.summary,
        input_schema=each.takes(),
        output_schema=each.gives(),
        annotations=hints,
    )


def _sayable(answer: dict[str, Any]) -> dict[str, Any]:
    """Return an answer without lone surrogates, which the protocol's JSON cannot say."""
    said = json.dumps(answer, ensure_ascii=False)
    return answer if said.isascii() else dict(json.loads(said.encode("utf-8", "replace")))


def _text(answer: dict[str, Any]) -> TextContent:
    return TextContent(type="text", text=written(answer).decode())


def over_http(operations: Operations, closing: asyncio.Event) -> AgentServer:
    """Return what answers agents at `/mcp`: `zart.http.asgi(..., agents=over_http)`. What they may do goes by their token."""
    return AgentServer(operations, closing)


async def over_stdio(
    storage: Storage,
    registry: Registry | None = None,
    *,
    read_only: bool = False,
    clock: Clock | None = None,
    randomness: Randomness | None = None,
) -> None:
    """Answer the agent at the other end of standard input and output, until it goes. The storage is open already."""
    clock, randomness = clock or SystemClock(), randomness or SystemRandomness()
    client = DurableScheduler(storage, clock=clock, randomness=randomness)
    operations = Operations(client, registry, Limits(), clock, randomness)
    caller = Caller("stdio", Access.READ if read_only else Access.OPERATOR)
    server = AgentServer(operations, asyncio.Event(), caller).server
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())
