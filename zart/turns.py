"""When a body rests: nothing that belongs to it is in the event loop's queue.

Outcomes are handed to a body one at a time, live as on replay, and only while it rests; so whatever it composes out of
asyncio (tasks, gather, locks, queues) has come to a stand in between, and does the same again on replay. No fixed number of
loop turns tells that. Instead `call_soon` of the loop is wrapped once: it counts, by a context variable that all tasks of a
body inherit, the callbacks that are queued for that body. When the last of them has run, the body rests and its `Turns` says
so.

Two more things make bodies repeatable: their tasks hash by the order of their creation, so that sets of tasks iterate alike in
every run; and an exit that a task raises (`SystemExit`, `KeyboardInterrupt`) stays in that task instead of ending the loop.
"""

import asyncio
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextvars import Context, ContextVar
from itertools import count
from types import CoroutineType
from typing import Any, Protocol, cast
from zlib import crc32


class Scope(Protocol):
    """What the context variable holds: where the code that runs belongs to."""

    @property
    def turns(self) -> "Turns | None":
        """The body that the code is part of; None in a step's function, which rests for nobody."""
        ...


CURRENT: ContextVar[Scope | None] = ContextVar("zart_current", default=None)
"""Inherited by every task that a body or a step makes."""

_FEW = 16
"""So many tasks of a body are kept before the done ones are let go."""

_ready_loops: "weakref.WeakSet[asyncio.AbstractEventLoop]" = weakref.WeakSet()


class Turns:
    """Counts the callbacks queued for one body, and calls `at_rest` whenever there are none left."""

    __slots__ = ("_at_rest", "_base", "_prune_at", "_tasks", "numbers", "queued")

    def __init__(self, at_rest: Callable[[], None], name: str = "") -> None:
        self._at_rest = at_rest
        # The same in every process, unlike hash(); and far from other bodies' numbers: asyncio keeps all tasks in one set.
        self._base = crc32(name.encode(errors="surrogatepass")) << 16
        self.queued: dict[int, asyncio.Handle] = {}
        """The callbacks of the body that are in the loop's queue, by number."""
        self.numbers: Iterator[int] = count()
        """Gives callbacks and tasks their numbers."""
        # Strong references, since the loop itself holds weak ones.
        self._tasks: list[asyncio.Task[Any]] = []
        self._prune_at = _FEW

    @property
    def resting(self) -> bool:
        """Whether nothing of the body is queued. A cancelled callback never runs and does not count."""
        queued = self.queued
        if not queued:
            return True
        # Nearly always the first one is none, and this is asked at every turn.
        return next(iter(queued.values())).cancelled() and self._drop_cancelled()

    def _drop_cancelled(self) -> bool:
        """Forget the cancelled ones that stand first; say whether those were all."""
        cancelled = []
        for key, handle in self.queued.items():
            if not handle.cancelled():
                break
            cancelled.append(key)
        for key in cancelled:
            del self.queued[key]
        return not self.queued

    def number(self) -> int:
        """Return a number for a task: higher than those before, and the same on replay."""
        return self._base + next(self.numbers)

    def keep(self, task: asyncio.Task[Any]) -> None:
        """Keep a task of the body until it is done, or a while longer: a callback at the end of each would cost more."""
        self._tasks.append(task)
        if len(self._tasks) >= self._prune_at:
            self._forget_done()
            self._prune_at = max(_FEW, 2 * len(self._tasks))

    def tasks(self) -> list[asyncio.Task[Any]]:
        """Return the body's tasks that are not done."""
        self._forget_done()
        return self._tasks

    def _forget_done(self) -> None:
        # Their bodies refer to us: a circle, which would live until the garbage collector comes by.
        if self._at_rest is _nobody:
            for task in self._tasks:
                if task.done() and not task.cancelled():
                    task.exception()  # nobody asks any more, and asyncio would complain of that
        self._tasks = [task for task in self._tasks if not task.done()]

    def end(self) -> None:
        """Say nothing more: the body's owner has let it go."""
        self._at_rest = _nobody
        self._forget_done()

    def run_queued(self, key: int, callback: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        """Call what was queued under a number; say so if it was the last."""
        try:
            callback(*arguments)
        except (SystemExit, KeyboardInterrupt) as exit_:
            # The task that raised it holds it already; let through, it would end the loop and every other execution with it.
            if not isinstance(getattr(callback, "__self__", None), asyncio.Task):
                asyncio.get_running_loop().call_exception_handler(
                    {"message": "exit in a callback of a body", "exception": exit_}
                )
        finally:
            queued = self.queued
            del queued[key]
            if not queued or self.resting:
                self._at_rest()


def _nobody() -> None:
    pass


class _BodyTask(asyncio.Task[Any]):
    """A task of a body; it hashes by the order of creation."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], turns: Turns, **options: Any) -> None:
        self._zart_number = turns.number()
        super().__init__(coroutine, **options)
        turns.keep(self)

    def __hash__(self) -> int:
        return self._zart_number


async def _awaiting(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


def install(loop: asyncio.AbstractEventLoop) -> None:
    """Teach a loop to count; harmless when repeated. Loops without bodies in them behave as before."""
    if loop in _ready_loops:
        return
    _ready_loops.add(loop)
    plain = cast("Callable[..., asyncio.Handle]", loop.call_soon)
    factory = loop.get_task_factory()
    get = CURRENT.get

    def call_soon(callback: Callable[..., object], *arguments: Any, context: Context | None = None) -> asyncio.Handle:
        scope = get() if context is None else context.get(CURRENT)
        if scope is None or (turns := scope.turns) is None:
            return plain(callback, *arguments, context=context)
        # Here and not in a method of its own: this happens at every turn of every body.
        key = next(turns.numbers)
        handle = turns.queued[key] = plain(turns.run_queued, key, callback, arguments, context=context)
        return handle

    def make_task(loop: asyncio.AbstractEventLoop, coroutine: Any, context: Context | None = None, **options: Any) -> Any:
        scope = get() if context is None else context.get(CURRENT)
        if scope is not None and (turns := scope.turns) is not None:
            if type(coroutine) is not CoroutineType and isinstance(coroutine, Awaitable):
                coroutine = _awaiting(coroutine)  # a step: each task that performs it does so on its own
            return _BodyTask(coroutine, turns, loop=loop, context=context, **options)
        if factory is not None:
            return cast("Any", factory)(loop, coroutine, context=context, **options)
        return asyncio.Task(coroutine, loop=loop, context=context, **options)

    loop.call_soon = call_soon  # type: ignore[method-assign,assignment] # looked up on the instance by tasks and futures alike
    loop.set_task_factory(cast("Any", make_task))
