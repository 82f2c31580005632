"""PgQueuer, a queue without steps: how fast jobs can be put into PostgreSQL."""

from typing import Any

import asyncpg
from pgqueuer.db import AsyncpgPoolDriver
from pgqueuer.queries import Queries

from benchmarks.race import Course, main
from benchmarks.subjects.queues import Queue

_BATCH = 1000
_PAYLOAD = b'{"steps": 5, "customer": "ada@example.com"}'


class Pgqueuer(Queue):
    """Its client."""

    def __init__(self, course: Course) -> None:
        self._course = course
        self._pool: Any = None
        self._queries: Any = None

    async def prepare(self) -> None:
        """Make the schema."""
        await self.open()
        await self._queries.install()
        await self.close()

    async def open(self) -> None:
        """Connect."""
        self._pool = await asyncpg.create_pool(self._course.url, min_size=4, max_size=10)
        self._queries = Queries(AsyncpgPoolDriver(self._pool))

    async def close(self) -> None:
        """Disconnect."""
        await self._pool.close()

    async def start(self, task: str, steps: int) -> Any:
        """Enqueue a job."""
        return await self._queries.enqueue(task, _PAYLOAD, 0)

    async def start_many(self, task: str, steps: int, number: int) -> None:
        """Enqueue jobs, many at once."""
        for first in range(0, number, _BATCH):
            size = min(_BATCH, number - first)
            await self._queries.enqueue([task] * size, [_PAYLOAD] * size, [0] * size)


if __name__ == "__main__":
    main(Pgqueuer)
