"""Zart for agents: the tools of the endpoint table, spoken to in the Model Context Protocol. Needs the extra `mcp`.

`zart mcp` speaks it over standard input and output; `zart.http.asgi(..., agents=zart.mcp.over_http)` at `/mcp` of the HTTP API.
"""

from zart.mcp.server import AgentServer, over_http, over_stdio

__all__ = ["AgentServer", "over_http", "over_stdio"]
