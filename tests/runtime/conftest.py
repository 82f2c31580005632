"""The runtime suite runs on every backend: a test gets `harness` and cannot know which storage is behind it."""

from collections.abc import AsyncIterator, Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.servers.mariadb import MariaDbServer
from tests.servers.postgres import PostgresServer
from zart import InMemoryScheduler, SqliteScheduler, TaskHandler, WorkerConfig
from zart.scheduler import Storage
from zart.schedulers.mysql import MySqlScheduler
from zart.schedulers.postgres import PostgresScheduler
from zart.testing import FakeClock, Harness

MakeHarness = Callable[..., Harness]

_numbers = count(1)


@pytest.fixture
def make_harness(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[str], MakeHarness]:
    """Return a function that takes a backend's name and returns one that makes harnesses on it."""
    schema = f"runtime_{next(_numbers)}"

    def on_postgres(clock: FakeClock) -> Storage:
        # Asked for only here: whoever runs a test on another backend need not wait for a server.
        server: PostgresServer = request.getfixturevalue("postgres_server")
        return PostgresScheduler(server.dsn, schema=schema, clock=clock)

    def on_mysql(clock: FakeClock) -> Storage:
        server: MariaDbServer = request.getfixturevalue("mariadb_server")
        return MySqlScheduler(server.url, prefix=f"{schema}_", clock=clock)

    storages: dict[str, Callable[[FakeClock], Storage]] = {
        "memory": lambda clock: InMemoryScheduler(clock=clock),
        "sqlite": lambda clock: SqliteScheduler(tmp_path / "zart.db", clock=clock),
        "postgres": on_postgres,
        "mysql": on_mysql,
    }

    def on(backend: str) -> MakeHarness:
        def make(*handlers: TaskHandler[Any, Any], config: WorkerConfig | None = None, **options: Any) -> Harness:
            return Harness(handlers, config=config, storage=storages[backend], **options)

        return make

    return on


@pytest.fixture(params=["memory", "sqlite", "postgres", "mysql"])
def harness(request: pytest.FixtureRequest, make_harness: Callable[[str], MakeHarness]) -> MakeHarness:
    """Return a function that makes a harness of handlers on the backend at hand."""
    return make_harness(request.param)


@pytest.fixture(params=["memory", "sqlite"])
async def storage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Storage]:
    """Yield an open storage that goes by the machine's clock, for a worker of the test's own."""
    backend: Storage = InMemoryScheduler() if request.param == "memory" else SqliteScheduler(tmp_path / "zart.db")
    await backend.migrate()
    async with backend:
        yield backend
