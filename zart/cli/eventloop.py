"""The event loop of a process that works for long: uvloop's when it is installed."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_new_loop: Callable[[], asyncio.AbstractEventLoop] | None
try:
    import uvloop
except ImportError:  # an extra
    _new_loop = None
else:
    _new_loop = uvloop.new_event_loop


def run_quickly(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end on the fastest event loop at hand."""
    with asyncio.Runner(loop_factory=_new_loop) as runner:
        return runner.run(main)
