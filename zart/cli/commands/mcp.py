"""`zart mcp`."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from importlib import import_module
from typing import Annotated, Any

from cyclopts import Parameter

from zart.cli.database import storage_at
from zart.cli.handlers import registry_of
from zart.cli.settings import DEFAULTS, AppOption, DatabaseSettings
from zart.scheduler import Storage


def mcp(
    *,
    app: AppOption = None,
    read_only: Annotated[bool, Parameter(negative=())] = False,
    settings: DatabaseSettings = DEFAULTS,
) -> None:
    """Answer an agent over standard input and output, in the Model Context Protocol, until it closes them.

    Args:
        app: Where the handlers are, as package.module:name: agents are told their schemas, and wrong data is refused.
        read_only: Only the tools that look; the agent can start, send and cancel nothing.
        settings: What every command takes.
    """
    registry = None if app is None else registry_of(app)
    # By name, so that the command can be described where the extra `mcp` is not installed.
    speak = import_module("zart.mcp").over_stdio
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("zart.http.audit").setLevel(logging.INFO)

    asyncio.run(_until_told(storage_at(settings.database), lambda storage: speak(storage, registry, read_only=read_only)))


async def _until_told(unopened: Storage, speak: Callable[[Storage], Coroutine[Any, Any, None]]) -> None:
    """Speak until the agent goes, or a signal comes."""
    told = asyncio.Event()
    for each in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError):  # a platform without them
            asyncio.get_running_loop().add_signal_handler(each, told.set)
    async with unopened as storage:
        speaking, stopping = asyncio.ensure_future(speak(storage)), asyncio.ensure_future(told.wait())
        await asyncio.wait([speaking, stopping], return_when=asyncio.FIRST_COMPLETED)
        if speaking.done():
            stopping.cancel()
            speaking.result()
            return
    # The thread that reads standard input waits for the agent, and would be waited for.
    logging.shutdown()
    os._exit(0)
