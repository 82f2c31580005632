"""The event loop: uvloop's for processes that work for long, when it is installed."""

import asyncio
from collections.abc import Callable, Coroutine
from importlib import import_module
from typing import Any, TypeVar, cast

T = TypeVar("T")


def run_quickly(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end on the fastest event loop at hand."""
    with asyncio.Runner(loop_factory=_fastest()) as runner:
        return runner.run(main)


def _fastest() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        uvloop = import_module("uvloop")  # by name: it is an extra, and no requirement
    except ModuleNotFoundError:
        return None
    return cast("Callable[[], asyncio.AbstractEventLoop]", uvloop.new_event_loop)
