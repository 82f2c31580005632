"""What `zart serve` does: it needs the extra `server`, and is imported when the command is called."""

import logging
import os
import socket
import sys
from importlib import import_module

from zart.cli.database import storage_at, tell_of_others
from zart.cli.errors import Exit, Refused, usage
from zart.cli.eventloop import rest_collector, run_quickly
from zart.cli.handlers import registry_of
from zart.cli.probing import watching
from zart.cli.settings import masked
from zart.cli.terminal import visible
from zart.guard import is_loopback
from zart.http.access import SHORTEST_TOKEN, AccessRules
from zart.http.agents import MakeAgents
from zart.http.application import asgi
from zart.http.server import ApiServer, ConnectionLimits
from zart.registry import Registry
from zart.scheduler import Storage

try:
    import resource
except ModuleNotFoundError:  # where files are not counted
    resource = None  # type: ignore[assignment] # as it says

_SPARE_FILES = 100
"""Files that are no connections: the database, logs, modules."""
_TOKENS = ("ZART_READ_TOKEN", "ZART_OPERATOR_TOKEN")


def serve(
    host: str, port: int, app: str | None, allow_host: list[str] | None, allow_origin: list[str] | None, database: str
) -> None:
    """Serve the HTTP API of a database until stopped.

    Raises:
        Refused: (78) others would be served without a token, the address cannot be listened on, or `app` is wrong; (2) a token
            is no text of a header.
    """
    registry = None if app is None else registry_of(app)
    with usage(hint="tokens are printable ASCII, without spaces"):
        access = AccessRules.from_environment(
            hosts=None if allow_host is None else tuple(allow_host), origins=tuple(allow_origin or ())
        )
    if access.is_open and not is_loopback(host):
        raise Refused(
            "no_token",
            f"without a token nobody but this machine may be served, and {host!r} is open to others",
            "set ZART_OPERATOR_TOKEN, or leave --host out",
            Exit.CONFIGURATION,
        )
    if access.is_open:
        _say("without ZART_OPERATOR_TOKEN every program on this machine may start and cancel executions")
    for name in _TOKENS:
        if any(0 < len(token.strip()) < SHORTEST_TOKEN for token in os.environ.get(name, "").split(",")):
            _say(f"a token in {name} is so short that it can be guessed; make one of at least 32 characters")
    logging.basicConfig(level=logging.WARNING, handlers=[_handler()])
    logging.getLogger("zart.http.audit").setLevel(logging.INFO)
    with _listening(host, port) as listener:
        run_quickly(_serve(storage_at(database), registry, access, listener, database))


def _agents() -> MakeAgents | None:
    try:
        made: MakeAgents = import_module("zart.mcp").over_http
    except ModuleNotFoundError:  # the extra `mcp` is not installed
        return None
    return made


async def _serve(unopened: Storage, registry: Registry | None, access: AccessRules, listener: socket.socket, url: str) -> None:
    async with watching(unopened) as storage:
        await tell_of_others(unopened, url)
        limits = ConnectionLimits(connections=_connections())
        api = asgi(storage, registry, access=access, agents=_agents())
        server = ApiServer(api, limits, lambda address: _say(f"serving {masked(url)} at {address}"))
        rest_collector()
        await server.serve([listener])


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        message = f"cannot listen on {host}:{port}: {error.strerror or error}"
        raise Refused("cannot_listen", message, "choose another --host or --port", Exit.CONFIGURATION) from error


def _connections() -> int:
    """Return how many connections there may be, having asked the system for as many files."""
    most = ConnectionLimits().connections
    if resource is None:
        return most
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = most + _SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return most if soft == resource.RLIM_INFINITY else max(1, min(most, soft - _SPARE_FILES))


def _say(line: str) -> None:
    sys.stderr.write(visible(f"zart: {line}") + "\n")
    sys.stderr.flush()


class _Lines(logging.Formatter):
    """Log lines in which nothing can act on a terminal; a traceback keeps its line breaks."""

    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record), keep="\n")


def _handler() -> logging.Handler:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    return handler
