"""Towns, and the harness of the runtime suite over shards."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.sharded.shards import Town
from zart import InMemoryScheduler, ShardedScheduler, SqliteScheduler, TaskHandler, WorkerConfig
from zart.scheduler import Storage
from zart.testing import FakeClock, Harness

MakeHarness = Callable[..., Harness]


@pytest.fixture
async def town():
    """Return three shards and an open scheduler over them."""
    made = Town()
    await made.scheduler.migrate()
    async with made.scheduler:
        yield made


@pytest.fixture
def make_harness(tmp_path: Path) -> Callable[[str], MakeHarness]:
    """Return a function that takes the shards' backend and returns one that makes harnesses on three of them."""

    def in_memory(clock: FakeClock) -> Storage:
        return ShardedScheduler([InMemoryScheduler(clock=clock) for _ in range(3)])

    def in_files(clock: FakeClock) -> Storage:
        return ShardedScheduler([SqliteScheduler(tmp_path / f"{number}.db", clock=clock) for number in range(3)])

    storages: dict[str, Callable[[FakeClock], Storage]] = {"memory": in_memory, "sqlite": in_files}

    def on(backend: str) -> MakeHarness:
        def make(*handlers: TaskHandler[Any, Any], config: WorkerConfig | None = None, **options: Any) -> Harness:
            return Harness(handlers, config=config, storage=storages[backend], **options)

        return make

    return on


@pytest.fixture(params=["memory", "sqlite"])
def harness(request: pytest.FixtureRequest, make_harness: Callable[[str], MakeHarness]) -> MakeHarness:
    """Return a function that makes a harness of handlers on three shards."""
    return make_harness(request.param)
