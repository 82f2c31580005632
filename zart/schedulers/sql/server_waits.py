"""Waiting for something to happen in a database on a server, whose time is told with its answers.

Due times are storage's: they are waited for by this process's monotonic clock, from the last time that storage told.
"""

from collections.abc import Sized
from typing import Protocol

from attrs import define, field

from zart.clock import SECOND, Instant, Micros
from zart.records import Demand
from zart.schedulers.sql.news import News
from zart.schedulers.sql.waits import Sight, Waits


class Handed(Protocol):
    """What a claim got."""

    @property
    def claims(self) -> Sized:
        """What was handed out."""
        ...

    @property
    def now(self) -> Instant:
        """Storage's time."""
        ...

    @property
    def due_at(self) -> Instant | None:
        """When the next execution is due that the demand could take; None: there is none, or it was not looked for."""
        ...


@define(eq=False)
class ServerWaits(Waits):
    """Who waits for what. What happened here between two waits of a worker is kept for the second."""

    _untold: dict[str, bool] = field(factory=dict, init=False)
    """Whether something has happened here to a worker since it last waited; only of those that claim here."""
    _told: tuple[Instant, float] = field(default=(0, 0.0), init=False)
    """Storage's time as it was last told, and when, in monotonic seconds."""

    @property
    def changes(self) -> int:
        """A number to remember before a claim; see `claimed`."""
        return self._changes

    def landed(self, news: News) -> None:
        """Call those whom something concerns that is durable, whether it was done here or another process told of it."""
        with self._lock:
            if news.now is not None:
                self._tell_time(news.now)
            if news.due:
                self._changes += 1
                for outlook in self._outlooks.values():
                    outlook.hear(news.due)
                self._hints.call("due")
            for kind, name in news.calls:
                if name in self._untold and kind == "worker":
                    self._untold[name] = True
                self._hints.call(kind, name)

    def claimed(self, demand: Demand, handed: Handed, changes: int, enough: int, news: int = 0) -> None:
        """Remember what a claim has seen that began when there had been so many changes, and the worker such news.

        When the next is due was looked for if it got less than `enough`.
        """
        with self._lock:
            self._tell_time(handed.now)
            self._untold.setdefault(demand.worker, False)
            self._outlooks.pop(demand.worker, None)
            if changes == self._changes and len(handed.claims) < enough:
                self._outlooks[demand.worker] = Sight.of(demand, handed.due_at, news)

    def forget(self, worker: str) -> None:
        """Forget a worker that is no more."""
        super().forget(worker)
        with self._lock:
            self._untold.pop(worker, None)

    def _was_called(self, worker: str) -> bool:
        called = self._untold.get(worker, False)
        if called:
            self._untold[worker] = False
        return called

    def _tell_time(self, now: Instant) -> None:
        self._told = (now, self._clock.monotonic())

    def _until(self, due_at: Instant) -> Micros:
        now, at = self._told
        return due_at - now - round((self._clock.monotonic() - at) * SECOND)
