"""A deterministic event loop: its time is virtual, its queue first in first out, and its tasks belong to simulated processes.

Callbacks run in the order in which they were queued, as asyncio promises; disorder comes from where it comes from in life, from
latency. A process is a context variable that its tasks inherit. What a killed process had queued never runs: no `finally`, no
`except`. What a paused one has queued, its timers included, runs when it goes on.
"""

import asyncio
import heapq
from asyncio.events import _set_running_loop
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any, TypeVar, TypeVarTuple

from zart.clock import SECOND, Micros

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

LONGEST_INSTANT = 200_000
"""Callbacks without any time passing after which they are taken for endless."""
_BURIAL_ROUNDS = 20


class SimulationStuck(AssertionError):
    """The simulation cannot go on: nothing is ready and no timer is set, or time does not pass any more."""


class Process:
    """A simulated process: what belongs to it can be killed and paused between any two awaits."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.alive = True
        self.paused = False
        self.kept: list[_Callback] = []
        """What it has queued and does not run."""
        self._fuse: tuple[int, Callable[[], None]] | None = None

    def after(self, callbacks: int, act: Callable[[], None]) -> None:
        """Do something to it after so many callbacks of its own, instead of what was to be done before."""
        self._fuse = (callbacks, act)

    def burn(self) -> None:
        """Count one callback."""
        if self._fuse is None:
            return
        left, act = self._fuse
        if left > 0:
            self._fuse = (left - 1, act)
        else:
            self._fuse = None
            act()

    @property
    def runs(self) -> bool:
        """Whether its callbacks run."""
        return self.alive and not self.paused


PROCESS: ContextVar[Process | None] = ContextVar("zart_simulated_process", default=None)
"""The process that the running code belongs to; None for the world around."""


class _Callback(asyncio.TimerHandle):
    """A queued callback; it keeps what it needs to run without the machinery of a real loop."""

    def __init__(
        self, due: Micros, callback: Callable[..., object], arguments: tuple[Any, ...], loop: "SimulationLoop", context: Context
    ) -> None:
        super().__init__(due / SECOND, callback, arguments, loop, context)
        self.due = due
        self.process = context.get(PROCESS)
        self._call = (context, callback, arguments)
        self._owner = loop

    def run(self) -> None:
        context, callback, arguments = self._call
        try:
            context.run(callback, *arguments)
        except Exception as error:  # noqa: BLE001 # as a real loop does: one callback must not end it
            self._owner.call_exception_handler({"message": f"exception in {callback!r}", "exception": error})


class SimulationLoop(asyncio.BaseEventLoop):
    """An event loop in virtual time. It does no input or output, has no threads, and needs no real time."""

    def __init__(self) -> None:
        self._ended = self._working = False  # asked for while it is made
        super().__init__()
        self.now: Micros = 0
        """Virtual microseconds since it was made."""
        self.callbacks: int = 0
        """How many have run."""
        self.faults: list[str] = []
        """What was given to the exception handler: nobody had awaited it."""
        self._queue: deque[_Callback] = deque()
        self._timers: list[tuple[Micros, int, _Callback]] = []
        self._set = 0
        self._instant = 0
        self.set_exception_handler(lambda _, told: self.faults.append(f"{told.get('message')}: {told.get('exception')!r}"))

    # ---- what asyncio calls -----------------------------------------------------------------------------------------

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self.now / SECOND

    def call_soon(self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None) -> asyncio.Handle:
        """Queue a callback."""
        handle = _Callback(self.now, callback, args, self, copy_context() if context is None else context)
        self._queue.append(handle)
        return handle

    def call_soon_threadsafe(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """Queue a callback; there are no other threads."""
        return SimulationLoop.call_soon(self, callback, *args, context=context)  # not what the engine has put over it

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Set a timer."""
        return self.at(round(when * SECOND), callback, *args, context=context)

    def call_later(
        self, delay: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Set a timer."""
        return self.at(self.now + round(delay * SECOND), callback, *args, context=context)

    def at(
        self, due: Micros, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Set a timer for a virtual time, exactly."""
        handle = _Callback(max(due, self.now), callback, args, self, copy_context() if context is None else context)
        self._set += 1
        heapq.heappush(self._timers, (handle.due, self._set, handle))
        return handle

    def is_running(self) -> bool:
        """Whether it is at work."""
        return self._working

    def is_closed(self) -> bool:
        """Whether it was closed."""
        return self._ended

    def close(self) -> None:
        """Forget what is queued."""
        self._ended = True
        self._queue.clear()
        self._timers.clear()
        super().close()

    # ---- what the simulation calls ----------------------------------------------------------------------------------

    def spawn(self, work: Coroutine[Any, Any, T], process: Process | None, name: str) -> "asyncio.Task[T]":
        """Start a task that belongs to a process and to nothing else, or to the world around."""
        context = Context()
        context.run(PROCESS.set, process)
        return asyncio.Task(work, loop=self, name=name, context=context)

    def resume(self, process: Process) -> None:
        """Let a paused process go on: what came due meanwhile comes now."""
        process.paused = False
        if process.alive:
            self._queue.extend(process.kept)
            process.kept.clear()

    def play(self, work: Coroutine[Any, Any, T], most: int) -> T:
        """Run until this is done.

        Raises:
            SimulationStuck: nothing is left to happen, or more than `most` callbacks were needed.
        """
        task = self.spawn(work, None, "world")
        with _Running(self):
            while not task.done():
                if self.callbacks > most:
                    raise SimulationStuck(f"{most} callbacks were not enough; the time is {self.time():.3f} s")
                self._step()
        return task.result()

    def bury(self, processes: list[Process]) -> None:
        """Unwind whatever is left of all tasks, in virtual silence: no timer fires any more."""
        self._timers.clear()
        for process in processes:
            process.alive, process.paused = True, False
            self._queue.extend(process.kept)
            process.kept.clear()
        with _Running(self):
            for _ in range(_BURIAL_ROUNDS):
                left = sorted((task for task in asyncio.all_tasks(self) if not task.done()), key=lambda task: task.get_name())
                if not left:
                    return
                for task in left:
                    task.cancel()
                self._instant = 0
                while self._queue and self._instant < LONGEST_INSTANT:
                    self._instant += 1
                    handle = self._queue.popleft()
                    if not handle.cancelled():
                        handle.run()

    # ---- inside -----------------------------------------------------------------------------------------------------

    def _step(self) -> None:
        """Run one callback, or let time pass until the next timer."""
        while self._timers and (self._timers[0][0] <= self.now or self._timers[0][2].cancelled()):
            handle = heapq.heappop(self._timers)[2]
            if not handle.cancelled():
                self._queue.append(handle)
        if not self._queue:
            if not self._timers:
                raise SimulationStuck(f"nothing is ready and no timer is set at {self.time():.3f} s")
            self.now = self._timers[0][0]
            self._instant = 0
            return
        handle = self._queue.popleft()
        if handle.cancelled():
            return
        process = handle.process
        if process is not None:
            if not process.runs:
                process.kept.append(handle)
                return
            process.burn()
            if not process.runs:
                process.kept.append(handle)
                return
        self.callbacks += 1
        self._instant += 1
        if self._instant > LONGEST_INSTANT:
            raise SimulationStuck(f"time does not pass any more at {self.time():.3f} s; next was {handle!r}")
        handle.run()


class _Running:
    """Makes a loop the running one for a while."""

    def __init__(self, loop: SimulationLoop) -> None:
        self._loop = loop

    def __enter__(self) -> None:
        self._loop._working = True  # noqa: SLF001 # of the same module
        _set_running_loop(self._loop)

    def __exit__(self, *_: object) -> None:
        _set_running_loop(None)
        self._loop._working = False  # noqa: SLF001 # of the same module
