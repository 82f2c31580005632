"""Tasks that carry out one job after the other.

A task of its own for every step would be a tenth of what a step costs. So jobs queue up here, and one task carries them out in
turn. A job that never waits is done on the spot. When one does wait, its task stays with it, the others that are in the queue
get a task each, since they are likely to wait as well, and whoever has waited returns to the pool. So
`asyncio.current_task()` is a job's alone for as long as it lasts, and may be cancelled; a task that was cancelled is not used
again.
"""

import asyncio
from collections import deque
from collections.abc import Coroutine, Generator
from contextvars import Context
from types import coroutine
from typing import Any, Protocol

MOST_IDLE = 64
"""So many tasks are kept for later; what goes beyond ends."""


class Job(Protocol):
    """What a pool carries out."""

    context: Context
    """Where all of it runs."""
    task: asyncio.Task[None] | None
    """The task that carries it out, once it has begun to wait."""
    settled: bool
    """Whether nobody wants it any more."""

    @property
    def title(self) -> str:
        """How the task is called meanwhile."""
        ...

    def carry_out(self) -> Coroutine[Any, Any, None]:
        """Do it. Raises nothing but what is to end the loop."""
        ...


class _Runner(asyncio.Task[None]):
    """A task of a pool, called after its job: by a look at it, since nearly nobody ever asks."""

    job: Job | None = None

    def get_name(self) -> str:
        return super().get_name() if self.job is None else self.job.title


class TaskPool:
    """Carries out jobs in the order in which they come."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._jobs: deque[Job] = deque()
        self._idle: list[asyncio.Future[None]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._awake = 0
        """How many tasks are on their way to the queue: one at least while there is something in it."""

    def put(self, job: Job) -> None:
        """Have a job carried out, not before the caller has returned to the loop."""
        self._jobs.append(job)
        if not self._awake:
            self._wake()

    def close(self) -> None:
        """End the tasks that have nothing to do. The others end with what they do."""
        while self._idle:
            self._idle.pop().cancel()

    def _wake(self) -> None:
        self._awake += 1
        if self._idle:
            self._idle.pop().set_result(None)
        else:
            # Not by the loop's factory: that asks whether the task is a body's, and this one never is.
            task = _Runner(self._serve(), loop=self._loop, context=Context())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _serve(self) -> None:
        task = asyncio.current_task()
        assert isinstance(task, _Runner)  # noqa: S101 # the one that this coroutine was given to
        while True:
            begun = self._work_off(task)
            if begun is not None:
                job, work, waits = begun
                job.task = task
                if job.settled:
                    task.cancel()
                await _stay(job.context, work, waits)
                del job, work, waits
            begun = None  # what has ended is not kept in memory while it rests
            if task.cancelling() or len(self._idle) >= MOST_IDLE:
                return
            task.job = None
            call = self._loop.create_future()
            self._idle.append(call)
            await call

    def _work_off(self, task: _Runner) -> tuple[Job, Coroutine[Any, Any, None], Any] | None:
        """Carry out jobs until there are none, or one waits; return that one, and what it waits for."""
        jobs = self._jobs
        try:
            while jobs and not task.cancelling():
                task.job = job = jobs.popleft()
                work = job.carry_out()
                try:
                    waits = job.context.run(work.send, None)
                except StopIteration:
                    continue
                return job, work, waits
            return None
        finally:
            self._awake -= 1
            while self._awake < len(jobs):
                self._wake()


@coroutine
def _stay(context: Context, work: Coroutine[Any, Any, None], waits: Any) -> Generator[Any, Any, None]:
    """Carry on with a job that waits for something, in its own context."""
    run = context.run
    while True:
        try:
            try:
                yield waits
            except BaseException as error:  # noqa: BLE001 # it is the job's
                waits = run(work.throw, error)
            else:
                waits = run(work.send, None)
        except StopIteration:
            return
