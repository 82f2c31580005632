"""A ground and a crew for each test."""

from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.crew import Crew, Nursery
from tests.chaos.ground import Ground, PostgresGround, SqliteGround
from tests.chaos.ledger import Ledger
from tests.servers.postgres import PostgresServer
from zart import DurableScheduler

_numbers = count(1)


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """What makes worker processes."""
    with Nursery() as nursery:
        yield nursery


@pytest.fixture
def postgres(request: pytest.FixtureRequest) -> PostgresGround:
    """Return a ground on PostgreSQL, not prepared."""
    server: PostgresServer = request.getfixturevalue("postgres_server")
    return PostgresGround(server, f"chaos_{next(_numbers)}")


@pytest.fixture
def backend() -> str:
    """Name the backend; a test on several says so by parametrizing this."""
    return "postgres"


@pytest.fixture
async def ground(request: pytest.FixtureRequest, backend: str, tmp_path: Path) -> Any:
    """The storage of the test."""
    ground: Ground = SqliteGround(tmp_path / "zart.db") if backend == "sqlite" else request.getfixturevalue("postgres")
    await ground.prepare()
    return ground


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[Ledger]:
    """What really happened."""
    with Ledger(tmp_path / "ledger") as ledger:
        yield ledger


@pytest.fixture
async def crew(nursery: Nursery, ground: Ground, ledger: Ledger) -> AsyncIterator[Crew]:
    """The worker processes."""
    crew = Crew(nursery, ground, ledger)
    try:
        yield crew
    finally:
        await crew.dismiss()


@pytest.fixture
async def client(ground: Any) -> AsyncIterator[DurableScheduler]:
    """A client, in the test's own process."""
    async with ground.storage() as storage:
        yield DurableScheduler(storage)
