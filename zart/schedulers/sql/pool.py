"""Connections of a scheduler: a few for each event loop, handed out in turn.

A connection belongs to the loop it was opened on. The heartbeat calls from a loop of its own and so gets one of its own, which
waits for nobody else's. What was opened on a loop is closed when the scheduler is, or when that loop ends. What was opened
before a fork belongs to the parent: the child opens its own, and leaves the others alone.
"""

import asyncio
import contextvars
import os
from collections import deque
from collections.abc import Callable, Coroutine
from threading import Lock
from typing import Any, Generic, TypeVar

from attrs import define, field

from zart.errors import StorageUnavailable

C = TypeVar("C")

_inherited: list[object] = []
"""What the parent of this process had open, kept for ever: to drop it would close what the parent uses."""


@define(eq=False)
class Pool(Generic[C]):
    """The connections of one loop. `keeper` is a task there; when it ends, they are gone.

    Whoever wants one takes a turn first, in the order of asking: a turn that is given back goes to who has waited longest, and
    nobody who comes later can take it before him.
    """

    place: str
    """Of the server, for people."""
    turns: int
    """How many more may have one."""
    connect: Callable[[], Coroutine[Any, Any, C]]
    is_usable: Callable[[C], bool]
    """Whether one that was given back sound can still be used."""
    drop: Callable[[C], None]
    """Closes one without waiting for anybody."""
    free: list[C] = field(factory=list)
    all: set[C] = field(factory=set)
    opening: "set[asyncio.Task[C]]" = field(factory=set)
    waiting: deque[asyncio.Future[None]] = field(factory=deque)
    keeper: "asyncio.Task[None] | None" = None
    closed: bool = False

    async def take(self) -> C:
        """Wait for a turn; return a free connection, or a new one.

        Raises:
            StorageUnavailable: the pool was closed meanwhile.
        """
        await self._turn()
        try:
            while self.free:
                connection = self.free.pop()
                if self.is_usable(connection):
                    return connection
                self._drop(connection)
            return await self._open()
        except BaseException:
            self._next()
            raise

    def give_back(self, connection: C, *, sound: bool) -> None:
        """Let the next one have it; or have it closed, if it is not sound."""
        if sound and not self.closed:
            self.free.append(connection)
        else:
            self._drop(connection)
        self._next()

    async def keep(self) -> None:
        """Close everything when the loop, or somebody, cancels this."""
        try:
            await asyncio.Event().wait()
        finally:
            self.closed = True
            opening = list(self.opening)
            for task in opening:
                task.cancel()
            while self.waiting:
                self._next()
            for connection in tuple(self.all):
                self._drop(connection)
            self.free.clear()
            if opening:
                await asyncio.wait(opening)

    async def _turn(self) -> None:
        if self.turns:
            self.turns -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._next()
            raise

    def _next(self) -> None:
        while self.waiting:
            turn = self.waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.turns += 1

    async def _open(self) -> C:
        self._check_open()
        # In a task that can be ended without its caller: whoever closes does not wait for a server that may never answer. And
        # not in the caller's context: it belongs to nobody's body.
        task = asyncio.get_running_loop().create_task(self.connect(), context=contextvars.Context())
        self.opening.add(task)
        task.add_done_callback(self.opening.discard)
        try:
            await asyncio.wait([task])
            self._check_open()
        except BaseException:
            task.cancel()
            task.add_done_callback(self._drop_unwanted)
            raise
        connection = task.result()
        self.all.add(connection)
        return connection

    def _check_open(self) -> None:
        if self.closed:
            raise StorageUnavailable(f"the scheduler of {self.place} was closed meanwhile; use it inside `async with`")

    def _drop_unwanted(self, task: "asyncio.Task[C]") -> None:
        """Close what nobody waits for any more."""
        if not task.cancelled() and task.exception() is None:
            self.drop(task.result())

    def _drop(self, connection: C) -> None:
        self.all.discard(connection)
        self.drop(connection)


@define(eq=False)
class Pools(Generic[C]):
    """The pools of a scheduler, one for each loop that it is used on."""

    _make: Callable[[], Pool[C]]
    _pools: dict[asyncio.AbstractEventLoop, Pool[C]] = field(factory=dict)
    _lock: Lock = field(factory=Lock)
    _process: int = field(factory=os.getpid)

    def here(self) -> Pool[C]:
        """Return the pool of the running loop."""
        self._leave_to_parent()
        loop = asyncio.get_running_loop()
        pool = self._pools.get(loop)
        if pool is None or pool.keeper is None or pool.keeper.done():
            pool = self._make()
            # Not in the caller's context: it belongs to nobody's body.
            pool.keeper = loop.create_task(pool.keep(), context=contextvars.Context())
            with self._lock:
                self._pools = {each: kept for each, kept in self._pools.items() if not each.is_closed()} | {loop: pool}
        return pool

    async def close(self) -> None:
        """Close everything, on all loops."""
        self._leave_to_parent()
        here = asyncio.get_running_loop()
        with self._lock:
            pools, self._pools = self._pools, {}
        for loop, pool in pools.items():
            if pool.keeper is None:
                continue
            if loop is here:
                pool.keeper.cancel()
                await asyncio.wait([pool.keeper])
            elif not loop.is_closed():
                loop.call_soon_threadsafe(pool.keeper.cancel)

    def _leave_to_parent(self) -> None:
        """Begin anew in a child of the process that has opened something."""
        if self._process != os.getpid():
            _inherited.append(self._pools)
            self._pools, self._lock, self._process = {}, Lock(), os.getpid()
