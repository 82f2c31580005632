"""The contract suite: what every storage backend must pass, whoever wrote it.

Subclass `SchedulerContract` in a test module and say how a scheduler is made:

    class TestMine(SchedulerContract):
        async def make(self, clock: Clock) -> Storage:
            return MyScheduler(await an_empty_database(), clock=clock)

Every test makes one scheduler, opens it with `async with`, calls `migrate` and then works with nothing but the scheduler and
the clock. So opening a storage that has no schema yet must work, `make` must give each test a storage of its own, and due
times, leases and the limits of `wait` must go by the clock that was given. The rule that a test checks stands in its title,
with its number in the docstring of `zart.scheduler`. Needs pytest and pytest-asyncio: the extra `test`.

`docs/how-to/write-a-backend.md` builds a backend that passes this suite. What a clock in a test cannot show is left to the
author: that an answer is durable, that several processes may share the storage, and what happens while it is away.
"""

import pytest

_PARTS = (
    *("beats", "cancels", "claims", "commits", "deliveries", "faults", "hints", "inspections", "moves", "scene", "starts"),
    "takeovers",
)
pytest.register_assert_rewrite(*(f"{__name__}.{part}" for part in _PARTS))  # before their import: else failures show no values

# ruff: noqa: E402
from zart.testing.contract.beats import Beats
from zart.testing.contract.cancels import Cancels
from zart.testing.contract.claims import Claims
from zart.testing.contract.commits import Commits
from zart.testing.contract.deliveries import Deliveries
from zart.testing.contract.faults import Faults
from zart.testing.contract.hints import Hints
from zart.testing.contract.inspections import Inspections
from zart.testing.contract.moves import Moves
from zart.testing.contract.starts import Starts
from zart.testing.contract.takeovers import Takeovers

__all__ = ["SchedulerContract"]


class SchedulerContract(Starts, Claims, Commits, Moves, Deliveries, Cancels, Beats, Takeovers, Hints, Faults, Inspections):
    """The whole contract as a pytest class; see the module for how to use it.

    Example:
        >>> class TestMemory(SchedulerContract):
        ...     async def make(self, clock: Clock) -> Storage:
        ...         return InMemoryScheduler(clock=clock)
    """
