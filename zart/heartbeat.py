"""The worker's sign of life, from a thread and connection of its own, so that no user code can stop it.

The thread beats whatever the event loop does; what it learns it hands to the loop. It knows when its last good beat was sent,
and so whether the lease still holds; and it watches the loop: one that has not turned for a while is reported with the line
where it hangs, and after `max_stall` the thread gives the lease up.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

from attrs import define, evolve, field

from zart.clock import SECOND, Clock, Instant
from zart.errors import SchedulerError
from zart.records import BeatReply, Held, WorkerBeat
from zart.scheduler import Scheduler
from zart.spawner import Spawner

logger: logging.Logger = logging.getLogger("zart.heartbeat")

STALL_WARNING = 3.0
"""Seconds without a turn of the loop after which the thread says where it hangs."""
_TRUSTED = 10.0  # seconds; clocks of machines part by less than a millisecond in them


@define
class StorageTime:
    """Storage's clock as a worker sees it: the last time it was told, moved on with monotonic time; never ahead."""

    _clock: Clock
    _told: tuple[Instant, float] = (0, 0.0)
    """What it was told and when; one value, because the heartbeat's thread writes it too."""

    def tell(self, now: Instant) -> None:
        """Take storage's time from an answer that has just come in."""
        at = self._clock.monotonic()
        told, before = self._told
        # An answer that was long on its way tells an old time. But no two clocks run alike, and one can be set back: after a
        # while any answer is nearer the truth than what was told before it.
        if at - before > _TRUSTED or now > told + round((at - before) * SECOND):
            self._told = now, at

    def now(self) -> Instant:
        """Return the time."""
        told, at = self._told
        # Rounded, not cut: 0.2 s between two floats may be a hair less, and a timer that rang in time would count as early.
        return told + round((self._clock.monotonic() - at) * SECOND)


@define(eq=False)
class Heartbeat:
    """Keeps one worker identity alive."""

    scheduler: Scheduler
    clock: Clock
    beat: WorkerBeat
    held: Callable[[], tuple[Sequence[Held], bool]]
    """What the worker holds, and whether that is all: no claim was in flight when it began to look."""
    last_good: float = field(init=False, default=float("-inf"))
    """When the last successful beat was sent, in monotonic seconds."""
    _fresh_until: float = field(init=False, default=float("-inf"))
    _lenient_until: float = field(init=False, default=float("-inf"))
    _told: Instant | None = field(init=False, default=None)
    """Storage's time as the last good beat brought it; not moved on, so that no drift of clocks can put it ahead."""

    @property
    def lease(self) -> float:
        """The lease's length in seconds."""
        return self.beat.lease / SECOND

    def is_fresh(self) -> bool:
        """Whether the lease holds for at least another second, or a third of a short one: time enough to start something."""
        return self.clock.monotonic() < self._fresh_until

    async def once(self, *, register: bool = False, leaving: bool = False) -> BeatReply:
        """Beat, and remember when."""
        sent = self.clock.monotonic()
        # Whoever is new, or was away, must not declare others dead: after an outage all leases have run out, not only theirs.
        in_time = sent - self.last_good < self.lease and sent >= self._lenient_until
        told = self._told  # before the look: a claim of after that time may be missing in what is held
        held, is_all = self.held()
        reply = await self.scheduler.beat(
            evolve(
                self.beat,
                held=tuple(held),
                held_at=told if is_all else None,
                register=register,
                leaving=leaving,
                in_time=in_time,
            )
        )
        if reply.alive:
            answered = self.clock.monotonic()
            if not register and answered - self.last_good >= self.lease:
                # Away until now. Others may look again a little later: they get a lease's time to come back too.
                self._lenient_until = answered + self.lease
            self.last_good = sent
            self._told = reply.now
            self._fresh_until = sent + self.lease - min(1.0, self.lease / 3)
        return reply


class Pulse:
    """The thread that beats. `told` is called on the worker's loop with every answer."""

    def __init__(
        self, heartbeat: Heartbeat, spawner: Spawner, interval: float, max_stall: float, told: Callable[[BeatReply], object]
    ) -> None:
        self._heartbeat = heartbeat
        self._interval = interval
        self._max_stall = max_stall
        self._told = told
        self._clock = heartbeat.clock
        self._owner = asyncio.get_running_loop()
        self._where = spawner.stack()
        self._asked: float | None = None
        """When the loop was asked to turn; None once it has."""
        self._stopped = False
        self._warned = False
        self._given_up = False
        self._beating: asyncio.AbstractEventLoop | None = None
        self._wake: asyncio.Event | None = None
        spawner.loop("zart-heartbeat", self._run)

    def stop(self) -> None:
        """Beat no more. Harmless when repeated."""
        self._stopped = True
        beating, wake = self._beating, self._wake
        if beating is not None and wake is not None and not beating.is_closed():
            beating.call_soon_threadsafe(wake.set)

    async def _run(self) -> None:
        self._beating = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        while not self._stopped:
            timer = self._clock.call_later(self._interval, self._wake.set)
            await self._wake.wait()
            timer.cancel()
            self._wake.clear()
            if self._stopped:
                return
            if not self._watch():
                continue
            try:
                reply = await self._heartbeat.once()
            except SchedulerError as error:
                logger.warning("heartbeat failed, the lease of %g s goes on: %s", self._heartbeat.lease, error)
            except Exception:
                # The thread must outlive a fault of the backend: without it every execution here would be taken over.
                logger.exception("heartbeat failed")
            else:
                self._post(self._told, reply)

    def _watch(self) -> bool:
        """Look after the loop; say whether it deserves another beat."""
        # By a question that it has not answered, not by the time since its last answer: that passes, too, while storage is
        # slow or the whole process stands still.
        now, asked = self._clock.monotonic(), self._asked
        if asked is None:
            asked = self._asked = now
            self._post(self._turn)
        stalled = now - asked
        if stalled >= self._max_stall:
            if not self._given_up:
                self._given_up = True
                logger.error("the event loop has not turned for %d s, giving the lease up; %s", stalled, self._hang())
            return False
        if stalled >= STALL_WARNING and not self._warned:
            self._warned = True
            logger.warning(
                "the event loop has not turned for %d s: something blocks it; %s; make it a plain function, which gets a"
                " thread, or use asyncio.to_thread",
                stalled,
                self._hang(),
            )
        return True

    def _hang(self) -> str:
        task = asyncio.current_task(self._owner)
        name = "no task" if task is None else f"execution/step {task.get_name()}"
        return f"{name} is at {self._where()}"

    def _turn(self) -> None:
        self._asked = None
        self._warned = self._given_up = False

    def _post(self, callback: Callable[..., object], *arguments: Any) -> None:
        try:
            self._owner.call_soon_threadsafe(callback, *arguments)
        except RuntimeError:
            self._stopped = True  # the loop is closed: nobody is left to beat for
