"""The settings of a worker."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from attrs import field, frozen
from attrs.validators import optional

from zart.durations import Duration, to_timedelta
from zart.ids import check_name, check_number

FEWEST_CRASHES = 3
"""One more than make a suspect (`zart.records.SUSPECT`)."""


def _positive(_instance: object, attribute: Any, value: int) -> None:
    check_number(value, attribute.name)


def _tells_innocents(_instance: object, attribute: Any, value: int) -> None:
    check_number(value, attribute.name)
    if value < FEWEST_CRASHES:
        raise ValueError(
            f"{attribute.name} must be {FEWEST_CRASHES} or more, not {value}: only after {FEWEST_CRASHES - 1} crashes is an"
            " execution watched so closely that a worker's death is not held against its neighbours"
        )


def _above_zero(length: timedelta, what: str) -> timedelta:
    if not length:
        raise ValueError(f"{what} must be above 0")
    return length


def _poll_interval(value: Duration) -> timedelta:
    return _above_zero(to_timedelta(value, "poll_interval"), "poll_interval")


def _lease(value: Duration) -> timedelta:
    return _above_zero(to_timedelta(value, "lease"), "lease")


def _heartbeat_interval(value: Duration) -> timedelta:
    return _above_zero(to_timedelta(value, "heartbeat_interval"), "heartbeat_interval")


def _shutdown_timeout(value: Duration) -> timedelta:
    return to_timedelta(value, "shutdown_timeout")


def _park_after(value: Duration) -> timedelta:
    return to_timedelta(value, "park_after")


def _max_stall(value: Duration) -> timedelta:
    return _above_zero(to_timedelta(value, "max_stall"), "max_stall")


def _queues(queues: str | Iterable[str]) -> tuple[str, ...]:
    given = (queues,) if isinstance(queues, str) else tuple(queues)
    if not given:
        raise ValueError("queues must name at least one queue")
    return tuple(check_name(queue, "queue") for queue in given)


PAYLOAD_LIMIT = 2 * 1024 * 1024
"""The largest value that is saved, in bytes, unless said otherwise."""


@frozen(kw_only=True)
class WorkerConfig:
    """How a worker works. Durations are timedeltas, seconds or text such as "15s".

    Attributes:
        poll_interval: how often it looks for work when no hint comes.
        max_concurrent: how many executions it runs at once; parked ones do not count.
        claim_batch: how many it claims at once; None: as many as slots are free.
        lease: how long after its last sign of life its executions are given to others.
        heartbeat_interval: how often it gives one.
        shutdown_timeout: how long a graceful stop lets work finish.
        park_after: how long a body may only wait before it leaves memory.
        max_crashes: how many workers an execution may bring down in a row before it fails; 3 or more.
        queues: the queues it serves.
        payload_limit: the largest value it saves, in bytes.
        max_stall: how long a blocked event loop keeps its lease.
    """

    poll_interval: timedelta = field(default=timedelta(seconds=1), converter=_poll_interval)
    max_concurrent: int = field(default=200, validator=_positive)
    claim_batch: int | None = field(default=None, validator=optional(_positive))
    lease: timedelta = field(default=timedelta(seconds=15), converter=_lease)
    heartbeat_interval: timedelta = field(default=timedelta(seconds=1), converter=_heartbeat_interval)
    shutdown_timeout: timedelta = field(default=timedelta(seconds=30), converter=_shutdown_timeout)
    park_after: timedelta = field(default=timedelta(milliseconds=50), converter=_park_after)
    max_crashes: int = field(default=5, validator=_tells_innocents)
    queues: tuple[str, ...] = field(default=("default",), converter=_queues)
    payload_limit: int = field(default=PAYLOAD_LIMIT, validator=_positive)
    max_stall: timedelta = field(default=timedelta(minutes=5), converter=_max_stall)

    def __attrs_post_init__(self) -> None:
        """Refuse what would expire itself."""
        if self.heartbeat_interval * 2 > self.lease:
            raise ValueError(f"lease ({self.lease}) must be at least twice heartbeat_interval ({self.heartbeat_interval})")
