"""Processes that work for long: on uvloop's event loop when it is installed, with a garbage collector that rests."""

import asyncio
import gc
from collections.abc import Callable, Coroutine
from importlib import import_module
from typing import Any, TypeVar, cast

T = TypeVar("T")

_COLLECT = 50_000, 20, 100


def run_quickly(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end on the fastest event loop at hand."""
    with asyncio.Runner(loop_factory=_fastest()) as runner:
        return runner.run(main)


def rest_collector() -> None:
    """Collect garbage seldom from now on: nearly all that such a process makes is short-lived and without circles.

    Whatever start-up has made lives as long as the process: the collector need not look at it again.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECT)


def _fastest() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        uvloop = import_module("uvloop")  # by name: it is an extra, and no requirement
    except ModuleNotFoundError:
        return None
    return cast("Callable[[], asyncio.AbstractEventLoop]", uvloop.new_event_loop)
