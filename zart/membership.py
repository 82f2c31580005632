"""A worker's place among the workers: its identity, its lease, and its way back after it was declared dead.

An identity is used once. Who was declared dead has lost all that it held, and joins again as somebody else.
"""

import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from zart.clock import Clock, micros, pause
from zart.config import WorkerConfig
from zart.errors import SchedulerError
from zart.heartbeat import Heartbeat, Pulse, StorageTime
from zart.ids import Randomness
from zart.records import BeatReply, Held, WorkerBeat
from zart.scheduler import Scheduler
from zart.spawner import Spawner

logger: logging.Logger = logging.getLogger("zart.worker")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0


class Membership:
    """Keeps one worker a member. `told` gets every good answer; `expelled` is called before it joins again."""

    def __init__(
        self,
        scheduler: Scheduler,
        config: WorkerConfig,
        tasks: Sequence[str],
        *,
        clock: Clock,
        randomness: Randomness,
        spawner: Spawner,
        held: Callable[[], tuple[Sequence[Held], bool]],
        told: Callable[[BeatReply], None],
        expelled: Callable[[], None],
        spawn: Callable[[Coroutine[Any, Any, None], str], object],
    ) -> None:
        self._scheduler = scheduler
        self._config = config
        self._tasks = tuple(tasks)
        self._clock = clock
        self._randomness = randomness
        self._spawner = spawner
        self._held = held
        self._told = told
        self._expelled = expelled
        self._spawn = spawn
        self.time: StorageTime = StorageTime(clock)
        self._heartbeat = self._new_identity()
        self._pulse: Pulse | None = None
        self._with_pulse = False
        self._rejoining = False
        self._left = False

    @property
    def id(self) -> str:
        """The worker's current identity."""
        return self._heartbeat.beat.worker

    def lease_is_fresh(self) -> bool:
        """Whether step functions may start."""
        return self._heartbeat.is_fresh()

    async def join(self) -> None:
        """Register."""
        self.time.tell((await self._heartbeat.once(register=True)).now)

    def keep_alive(self) -> None:
        """Beat from a thread of its own from now on, under whatever identity."""
        self._with_pulse = True
        heartbeat, config = self._heartbeat, self._config
        interval, stall = config.heartbeat_interval.total_seconds(), config.max_stall.total_seconds()
        self._pulse = Pulse(heartbeat, self._spawner, interval, stall, lambda reply: self._heard(heartbeat, reply))

    async def beat(self) -> None:
        """Give a sign of life by hand."""
        heartbeat = self._heartbeat
        self._heard(heartbeat, await heartbeat.once())

    def silence(self) -> None:
        """Give no more signs of life, and do not come back."""
        self._left = True
        if self._pulse is not None:
            self._pulse.stop()

    async def leave(self) -> None:
        """Say goodbye: what is still held becomes due at once."""
        self.silence()
        try:
            await self._heartbeat.once(leaving=True)
        except SchedulerError as error:
            logger.warning("could not say goodbye, the lease of %s must run out: %s", self._config.lease, error)
        except Exception:
            logger.exception("could not say goodbye, the lease of %s must run out", self._config.lease)

    def _heard(self, heartbeat: Heartbeat, reply: BeatReply) -> None:
        if heartbeat is not self._heartbeat:
            return  # an answer to somebody that this worker no longer is
        if reply.alive:
            self.time.tell(reply.now)
            self._told(reply)
        elif not self._left and not self._rejoining:
            self._rejoining = True
            logger.warning("worker %s was declared dead; it drops what it holds and joins again", self.id)
            if self._pulse is not None:
                self._pulse.stop()
            try:
                self._expelled()
            finally:  # whatever it stumbles over: nobody else would bring the worker back
                self._heartbeat = self._new_identity()
                self._spawn(self._join_again(), "zart-rejoin")

    async def _join_again(self) -> None:
        gap = _FIRST_PAUSE
        while True:
            try:
                await self.join()
                if self._with_pulse and not self._left:
                    self.keep_alive()
                break
            except SchedulerError as error:
                logger.warning("joining again failed, trying again in %.1f s: %s", gap, error)
            except Exception:
                # Who gave up here would hold its place, and never be given anything again.
                logger.exception("joining again failed, trying again in %.1f s", gap)
            await pause(self._clock, gap)
            gap = min(gap * 2, _LONGEST_PAUSE)
        self._rejoining = False

    def _new_identity(self) -> Heartbeat:
        beat = WorkerBeat(
            str(self._randomness.uuid()),
            micros(self._config.lease),
            self._config.queues,
            self._tasks,
            about=self._spawner.place(),
        )
        return Heartbeat(self._scheduler, self._clock, beat, self._held)
