"""A worker as each shard knows it: under which name, how its lease stands there, and what time it is there.

A worker is one to the engine and has a seat on every shard. Where one of them declares it dead, because it could not reach that
one for longer than its lease, it loses what it held there and takes a new seat under another name; on the others it goes on.
"""

from collections.abc import Sequence
from threading import Lock

from attrs import Factory, define, evolve

from zart.clock import SECOND, Instant
from zart.records import WorkerBeat

_REMEMBERED = 4
"""How many of its last times a worker may come back with. Two beats may be on their way at once."""
_LOST_AFTER = 2 / 3
"""Of a lease without a good beat: whoever was not heard there for so long must assume that others will soon take over."""


@define(eq=False)
class Seat:
    """A worker on one shard."""

    name: str
    good: float = float("-inf")
    """When the last good beat was sent, in monotonic seconds."""
    lenient_until: float = float("-inf")
    """As long as others, who could not reach the shard either, have not had the time to come back."""
    generation: int = 0

    def is_lost(self, at: float, lease: float) -> bool:
        """Whether what is held there must be given up."""
        return at - self.good >= lease * _LOST_AFTER

    def heard(self, sent: float, answered: float, lease: float, *, first: bool) -> None:
        """Take note of a good beat."""
        if not first and answered - self.good >= lease:
            self.lenient_until = answered + lease
        self.good = sent


@define(eq=False)
class Worker:
    """A worker's seats, and the times that it was told last: what was said, and what each shard had said."""

    seats: Sequence[Seat]
    told: dict[Instant, Sequence[Instant | None]] = Factory(dict)
    _lock: Lock = Factory(Lock)

    def as_known(self, beat: WorkerBeat, shard: int, at: float) -> WorkerBeat:
        """Return a beat as it is said to one shard, without what is held."""
        seat, lease = self.seats[shard], beat.lease / SECOND
        # Nobody may declare others dead on a shard that he could not reach himself, however well the others could be reached.
        was_away = seat.good != float("-inf") and not at - seat.good < lease
        in_time = beat.in_time and (beat.register or not (was_away or at < seat.lenient_until))
        held_at = beat.held_at
        if held_at is not None and (times := self.told.get(held_at)) is not None:
            held_at = times[shard]
        return evolve(beat, worker=seat.name, held=(), held_at=held_at, in_time=in_time)

    def tell(self, said: Instant, times: Sequence[Instant | None]) -> None:
        """Take note of what time it was, here and there."""
        with self._lock:
            # The earlier of two that were said alike: no shard's time may be taken for later than it was.
            before = self.told.pop(said, times)
            self.told[said] = [_earlier(*pair) for pair in zip(before, times, strict=True)]
            while len(self.told) > _REMEMBERED:
                del self.told[next(iter(self.told))]

    def reseat(self, worker: str, shard: int, name: str) -> None:
        """Give a worker another name on a shard that will not have it under this one any more."""
        with self._lock:
            seat = self.seats[shard]
            if seat.name == name:  # else another beat was quicker
                seat.generation += 1
                seat.name = f"{worker}~{seat.generation}"


def _earlier(one: Instant | None, other: Instant | None) -> Instant | None:
    return None if one is None or other is None else min(one, other)


@define(eq=False)
class Seats:
    """All workers that beat through this scheduler."""

    _shards: int
    _workers: dict[str, Worker] = Factory(dict)

    def of(self, worker: str) -> Worker:
        """Return a worker's seats."""
        found = self._workers.get(worker)
        return self._workers.setdefault(worker, Worker([Seat(worker) for _ in range(self._shards)])) if found is None else found

    def name(self, worker: str, shard: int) -> str:
        """Return the name of a worker on a shard."""
        found = self._workers.get(worker)
        return worker if found is None else found.seats[shard].name

    def forget(self, worker: str) -> None:
        """Forget one that left, or is no more."""
        self._workers.pop(worker, None)
