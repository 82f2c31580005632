"""The runtime suite runs on every backend: a test gets `harness` and cannot know which storage is behind it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from zart import InMemoryScheduler, SqliteScheduler, TaskHandler, WorkerConfig
from zart.testing import Harness

MakeHarness = Callable[..., Harness]


@pytest.fixture(params=["memory", "sqlite"])
def harness(request: pytest.FixtureRequest, tmp_path: Path) -> MakeHarness:
    """Return a function that makes a harness of handlers on the backend at hand."""

    def make(*handlers: TaskHandler[Any, Any], config: WorkerConfig | None = None, **options: Any) -> Harness:
        if request.param == "memory":
            return Harness(handlers, config=config, storage=lambda clock: InMemoryScheduler(clock=clock), **options)
        return Harness(
            handlers, config=config, storage=lambda clock: SqliteScheduler(tmp_path / "zart.db", clock=clock), **options
        )

    return make
