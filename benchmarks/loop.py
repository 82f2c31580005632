"""How the measured processes run, as `zart worker` does: uvloop where it is installed, and a collector that rests."""

import asyncio
import gc
import importlib
import importlib.util
from collections.abc import Callable


def fast_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return the maker of uvloop's event loops, None where it is not installed."""
    if importlib.util.find_spec("uvloop") is None:
        return None
    make: Callable[[], asyncio.AbstractEventLoop] = importlib.import_module("uvloop").new_event_loop
    return make


def rest_collector() -> None:
    """Have the garbage collector come by seldom, as in any busy server: what is loaded stays, the rest is short-lived."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
