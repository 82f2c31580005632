"""Handlers worth watching, on every backend, behind a watched storage with a clock moved by hand."""

from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from zart import InMemoryScheduler, SqliteScheduler, TaskContext, TaskHandler, zart_step
from zart.retry import RetryConfig
from zart.scheduler import Storage
from zart.schedulers.postgres import PostgresScheduler
from zart.telemetry import Watcher, watched
from zart.testing import FakeClock, Harness

Watch = Callable[..., Harness]
_numbers = count(1)


@zart_step("charge-{order}")
async def charge(order: str) -> str:
    return order


class Order(TaskHandler[str, str]):
    """Charges, packs after a failure, and waits to be told."""

    name = "order"

    def __init__(self) -> None:
        self.calls = 0

    async def run(self, ctx: TaskContext, order: str) -> str:
        await ctx.require(charge(order))
        await ctx.step_with_retry("pack", RetryConfig.fixed(2, "10s"), self._pack)
        return await ctx.wait_for_event("shipped", str)

    def _pack(self) -> None:
        self.calls += 1
        if self.calls == 1:
            raise ConnectionError("the packer is away")


class Broken(TaskHandler[None, None]):
    """Fails in a step."""

    name = "broken"

    async def run(self, ctx: TaskContext, _: None) -> None:
        await ctx.step("break", _break)


def _break() -> None:
    raise LookupError("canary-payload")


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def watch(request: pytest.FixtureRequest, tmp_path: Path) -> Watch:
    """Return a function that makes a harness of handlers whose storage is watched."""

    def storage(clock: FakeClock) -> Storage:
        match request.param:
            case "memory":
                return InMemoryScheduler(clock=clock)
            case "sqlite":
                return SqliteScheduler(tmp_path / "zart.db", clock=clock)
            case _:
                server = request.getfixturevalue("postgres_server")
                return PostgresScheduler(server.dsn, schema=f"telemetry_{next(_numbers)}", clock=clock)

    def make(*handlers: TaskHandler[Any, Any], watchers: tuple[Watcher, ...] = ()) -> Harness:
        return Harness(handlers, storage=lambda clock: watched(storage(clock), *watchers, clock=clock))

    return make
