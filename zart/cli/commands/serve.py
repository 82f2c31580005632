"""`zart serve`."""

import logging
import os
import socket
import sys
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from zart.cli.database import storage_at
from zart.cli.errors import Exit, Refused, usage
from zart.cli.eventloop import run_quickly
from zart.cli.handlers import registry_of
from zart.cli.settings import DEFAULTS, AppOption, Settings, masked
from zart.cli.terminal import visible
from zart.http.access import SHORTEST_TOKEN, AccessRules, is_loopback_name
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
    *,
    host: str = "127.0.0.1",
    port: Annotated[int, Parameter(validator=Number(gte=0, lte=65535))] = 7700,
    app: AppOption = None,
    allow_host: Annotated[list[str] | None, Parameter(negative=())] = None,
    allow_origin: Annotated[list[str] | None, Parameter(negative=())] = None,
    settings: Settings = DEFAULTS,
) -> None:
    """Serve the HTTP API until stopped by SIGTERM or Ctrl-C.

    Callers need one of the tokens in ZART_READ_TOKEN and ZART_OPERATOR_TOKEN. Without any, it serves programs of this machine
    only, and refuses to listen anywhere else.

    Args:
        host: The address to listen on.
        port: The port; 0 takes a free one.
        app: Where the handlers are, as package.module:name: an unknown task or wrong data is then refused.
        allow_host: A name that requests may have in their Host header; may be given several times. Default: any with tokens.
        allow_origin: An origin whose pages may call, e.g. https://console.example; may be given several times.
        settings: What every command takes.
    """
    registry = None if app is None else registry_of(app)
    with usage(hint="tokens are printable ASCII, without spaces"):
        access = AccessRules.from_environment(
            hosts=None if allow_host is None else tuple(allow_host), origins=tuple(allow_origin or ())
        )
    if access.is_open and not is_loopback_name(host):
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
        run_quickly(_serve(storage_at(settings.database_url), registry, access, listener, masked(settings.database_url)))


async def _serve(
    unopened: Storage, registry: Registry | None, access: AccessRules, listener: socket.socket, place: str
) -> None:
    async with unopened as storage:
        limits = ConnectionLimits(connections=_connections())
        api = asgi(storage, registry, access=access)
        server = ApiServer(api, limits, lambda url: _say(f"serving {place} at {url}"))
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
