"""Threads: the port through which all of Zart gets them."""

import asyncio
import contextvars
import os
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Coroutine
from queue import SimpleQueue
from typing import Any, Protocol, TypeVar

T = TypeVar("T")

SWITCH = 0.0005
"""Seconds after which a running thread is asked to make way for a waiting one."""


class Lane(Protocol):
    """One thread that runs what it is given, in order."""

    def call(self, function: Callable[[], T]) -> asyncio.Future[T]:
        """Run a function in the lane; the future belongs to the calling loop. Cancelling it does not stop the function."""
        ...

    def close(self) -> None:
        """End the thread after what was given so far. Harmless when repeated."""
        ...


class Spawner(Protocol):
    """Makes threads; a simulation makes tasks instead."""

    def lane(self, name: str) -> Lane:
        """Return a new lane."""
        ...

    def call(self, name: str, function: Callable[[], T]) -> asyncio.Future[T]:
        """Run a function in a daemon thread of its own, with the caller's context variables."""
        ...

    def loop(self, name: str, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a coroutine in a daemon thread with an event loop of its own. What it raises is its own to handle."""
        ...

    def place(self) -> str:
        """Name this process for people: host and process id."""
        ...

    def stack(self) -> Callable[[], str]:
        """Return a function that tells, from any thread, the line where the calling thread is."""
        ...


class ThreadSpawner:
    """Real, daemonic threads."""

    def lane(self, name: str) -> Lane:
        """Start a thread that runs functions in order."""
        return _ThreadLane(name)

    def call(self, name: str, function: Callable[[], T]) -> asyncio.Future[T]:
        """Run a function in a thread of its own."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        context = contextvars.copy_context()
        threading.Thread(target=context.run, args=(_run, loop, future, function), name=name, daemon=True).start()
        return future

    def loop(self, name: str, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a coroutine in a thread of its own.

        The interpreter then switches threads more often (`SWITCH`), in the whole process. A loop that is always busy in short
        turns gives its lock up and takes it back before any waiting thread has woken, and the usual 5 ms never run out: single
        calls of other threads were seen to wait for seconds, and a heartbeat must not.
        """
        sys.setswitchinterval(min(SWITCH, sys.getswitchinterval()))
        threading.Thread(target=lambda: asyncio.run(main()), name=name, daemon=True).start()

    def place(self) -> str:
        """Return host name and process id."""
        return f"{socket.gethostname()}:{os.getpid()}"

    def stack(self) -> Callable[[], str]:
        """Return a function that tells the line where the calling thread is."""
        thread = threading.get_ident()

        def line() -> str:
            frame = sys._current_frames().get(thread)
            if frame is None:
                return "nowhere"
            where = traceback.extract_stack(frame, limit=1)[0]
            return f"{where.filename}:{where.lineno} in {where.name}"

        return line


class _ThreadLane:
    def __init__(self, name: str) -> None:
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        threading.Thread(target=self._serve, name=name, daemon=True).start()

    def call(self, function: Callable[[], T]) -> asyncio.Future[T]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._jobs.put(lambda: _run(loop, future, function))
        return future

    def close(self) -> None:
        self._jobs.put(None)

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()


def _run(loop: asyncio.AbstractEventLoop, future: asyncio.Future[T], function: Callable[[], T]) -> None:
    try:
        result = function()
    except BaseException as error:  # whatever it is, it belongs to the caller, not to the thread
        # Bound as an argument: the name `error` is gone by the time the loop calls.
        _tell(loop, _fail, future, error)
    else:
        _tell(loop, _succeed, future, result)


def _tell(loop: asyncio.AbstractEventLoop, callback: Callable[..., None], *arguments: object) -> None:
    try:
        # The context of the loop's own machinery, not the caller's: the call belongs to nobody's body.
        loop.call_soon_threadsafe(callback, *arguments, context=contextvars.Context())
    except RuntimeError:
        return  # the loop was closed meanwhile: nobody is left to be told


def _succeed(future: asyncio.Future[T], result: T) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[Any], error: BaseException) -> None:
    if not future.done():
        # A future refuses StopIteration, and SystemExit or KeyboardInterrupt would end the loop if left to a task unwrapped.
        future.set_exception(RuntimeError(f"StopIteration: {error}") if isinstance(error, StopIteration) else error)
