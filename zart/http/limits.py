"""What a server takes from its callers: sizes, rates, and how many at once."""

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from attrs import define, field, frozen

from zart.clock import Clock
from zart.http.endpoints import Way
from zart.http.refusals import Refusal
from zart.ids import check_number

MEBIBYTE = 1024 * 1024
_REMEMBERED = 10_000
"""Callers and addresses that are kept count of; whoever has been quiet longest is forgotten first."""


def _count(_instance: object, attribute: Any, value: int) -> None:
    check_number(value, attribute.name)


def _above_zero(_instance: object, attribute: Any, value: float) -> None:
    if not value > 0:
        raise ValueError(f"{attribute.name} must be above 0, not {value!r}")


@frozen(kw_only=True)
class Limits:
    """What a server takes. Times are in seconds, sizes in bytes.

    Attributes:
        body: the largest body, counted while it is read.
        body_time: how long a body may take to come.
        depth: how deeply JSON may be nested.
        keys: how many keys and items JSON may hold.
        digits: how long an integer in JSON may be.
        query: the longest path with its query.
        headers: the largest headers.
        page: a page of a list ends when its values are larger than this.
        concurrency: how many requests are worked on at once; who comes later gets 503.
        buffered: how much of all bodies together is kept while they come.
        waits: how many long polls one caller may have, and as many calls of agents.
        streams: how many streams one caller may have.
        rate: how many requests a second one caller may make on average, twice as many in a burst.
        failures: how many wrong tokens a second one address may send on average, ten times as many in a burst.
        longest_wait: after so long a long poll is answered in any case.
        longest_stream: after so long a stream ends; its reader comes back and goes on.
        storage_time: how long the database may take for a request.
        stream_gap: how often a stream looks for news.
    """

    body: int = field(default=4 * MEBIBYTE, validator=_count)
    body_time: float = field(default=30.0, validator=_above_zero)
    depth: int = field(default=64, validator=_count)
    keys: int = field(default=10_000, validator=_count)
    digits: int = field(default=400, validator=_count)
    query: int = field(default=8 * 1024, validator=_count)
    headers: int = field(default=16 * 1024, validator=_count)
    page: int = field(default=4 * MEBIBYTE, validator=_count)
    concurrency: int = field(default=256, validator=_count)
    buffered: int = field(default=32 * MEBIBYTE, validator=_count)
    waits: int = field(default=500, validator=_count)
    streams: int = field(default=100, validator=_count)
    rate: float = field(default=5000.0, validator=_above_zero)
    failures: float = field(default=1.0, validator=_above_zero)
    longest_wait: float = field(default=3600.0, validator=_above_zero)
    longest_stream: float = field(default=3600.0, validator=_above_zero)
    storage_time: float = field(default=15.0, validator=_above_zero)
    stream_gap: float = field(default=0.25, validator=_above_zero)


@define
class _Bucket:
    left: float
    at: float


class Rates:
    """Token buckets, one for each name: `burst` at once, and `rate` more a second."""

    def __init__(self, clock: Clock, rate: float, burst: float) -> None:
        self._clock = clock
        self._rate = rate
        self._burst = burst
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def is_empty(self, name: str) -> bool:
        """Whether nothing is left."""
        return self._filled(name).left < 1

    def take(self, name: str) -> bool:
        """Take one, and say whether there was one."""
        bucket = self._filled(name)
        if bucket.left < 1:
            return False
        bucket.left -= 1
        return True

    def _filled(self, name: str) -> _Bucket:
        now = self._clock.monotonic()
        bucket = self._buckets.get(name)
        if bucket is None:
            bucket = self._buckets[name] = _Bucket(self._burst, now)
            if len(self._buckets) > _REMEMBERED:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(name)
        bucket.left = min(self._burst, bucket.left + (now - bucket.at) * self._rate)
        bucket.at = now
        return bucket


class Gates:
    """How many requests are under way: quick ones altogether, waits and streams by caller."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._held: dict[tuple[Way, str], int] = {}
        self.quick: int = 0
        """Quick requests under way."""
        self.buffered: int = 0
        """Bytes of bodies that are not whole yet, or not worked on."""

    @contextmanager
    def place(self, way: Way, caller: str) -> Iterator[None]:
        """Hold a place while the block runs.

        Raises:
            Refusal: (too_many_requests, overloaded) there is none.
        """
        if way in {Way.WAIT, Way.STREAM, Way.AGENT}:
            key, most = (way, caller), self._limits.streams if way is Way.STREAM else self._limits.waits
            held = self._held.get(key, 0)
            if held >= most:
                raise Refusal("too_many_requests", f"this caller has {held} of them open", "let one end first")
            self._held[key] = held + 1
            try:
                yield
            finally:
                self._held[key] -= 1
                if not self._held[key]:
                    del self._held[key]
            return
        if self.quick >= self._limits.concurrency:
            raise Refusal("overloaded", "the server has too much to do", "try again in a second")
        self.quick += 1
        try:
            yield
        finally:
            self.quick -= 1
