"""`zart serve`."""

from importlib import import_module
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from zart.cli.settings import DEFAULTS, AppOption, DatabaseSettings


def serve(
    *,
    host: str = "127.0.0.1",
    port: Annotated[int, Parameter(validator=Number(gte=0, lte=65535))] = 7700,
    app: AppOption = None,
    allow_host: Annotated[list[str] | None, Parameter(negative=())] = None,
    allow_origin: Annotated[list[str] | None, Parameter(negative=())] = None,
    settings: DatabaseSettings = DEFAULTS,
) -> None:
    """Serve the HTTP API until stopped by SIGTERM or Ctrl-C.

    Callers need one of the tokens in ZART_READ_TOKEN and ZART_OPERATOR_TOKEN. Without any, it serves programs of this
    machine only, and refuses to listen anywhere else (exit code 78). Each change that a caller makes is a line on stderr.

    Args:
        host: The address to listen on.
        port: The port; 0 takes a free one.
        app: Where the handlers are, as package.module:name: an unknown task or wrong data is then refused.
        allow_host: A name that requests may have in their Host header; may be given several times. Default: any with tokens.
        allow_origin: An origin whose pages may call, e.g. https://console.example; may be given several times.
        settings: What every command takes.
    """
    # By name, so that the command can be described where the extra `server` is not installed.
    import_module("zart.cli.serving").serve(host, port, app, allow_host, allow_origin, settings.database)
