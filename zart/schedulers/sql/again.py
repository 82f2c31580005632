"""Doing a whole transaction again after a fault that passes by itself: the one place where it is decided how often and when.

A backend says which of its errors are *passing*: a deadlock or a serialization failure that made somebody the victim, a lock
that was not to be had in time, a connection that was lost, a server that is just starting or going. Each of them ends the
transaction, so it is always the whole operation that is said again, on whatever connection comes next; every operation of the
port is repeatable (rule 10). Nothing is ever said again within a transaction that had an error.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from attrs import define, field

from zart.clock import Clock, SystemClock, pause
from zart.errors import StorageUnavailable
from zart.ids import Randomness, SystemRandomness

T = TypeVar("T")


class Passing(Exception):
    """Something that may go by itself: worth another try of the whole transaction."""


@define
class Patience:
    """How often, and for how long, a transaction is begun again; the pauses between have full jitter.

    Servers live in real time, whatever time a test says it is: so this goes by the machine's clock.
    """

    longest: float
    """No new try begins after so many seconds."""
    tries: int = 5
    first_pause: float = 0.05
    """Seconds, at most; doubled each time."""
    _clock: Clock = field(factory=SystemClock)
    _randomness: Randomness = field(factory=SystemRandomness)

    async def until_done(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do it, and again as long as that fails with `Passing`.

        Raises:
            StorageUnavailable: it still did.
        """
        began = self._clock.monotonic()
        number = 0
        while True:
            try:
                return await work()
            except Passing as error:
                number += 1
                if number >= self.tries or self._clock.monotonic() - began > self.longest:
                    raise StorageUnavailable(f"{error}; look at the server and the network") from error
            await pause(self._clock, self.first_pause * 2 ** (number - 1) * self._randomness.random())
