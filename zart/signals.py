"""The signals by which people and service managers ask a process to stop."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

STOPS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def handled(stop: Callable[[], object]) -> Iterator[None]:
    """Call `stop` at each of them meanwhile.

    Not where that cannot be: outside the main thread, and on platforms without them. There whoever runs us must stop us.
    """
    loop = asyncio.get_running_loop()
    taken: list[signal.Signals] = []
    try:
        for each in STOPS:
            loop.add_signal_handler(each, stop)
            taken.append(each)
    except (NotImplementedError, RuntimeError, ValueError):
        pass
    try:
        yield
    finally:
        for each in taken:
            loop.remove_signal_handler(each)
