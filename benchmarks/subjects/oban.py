"""Oban, a queue without steps: how fast jobs can be put into PostgreSQL."""

from typing import Any

from oban import Oban as Library
from oban import worker
from oban.schema import install

from benchmarks.race import Course, data, main
from benchmarks.subjects.queues import Queue

_QUEUE = "bench"
_BATCH = 1000


@worker(queue=_QUEUE)
class Job:
    """A job that does nothing."""

    async def process(self, job: Any) -> None:
        """Do nothing."""


_JOB: Any = Job
"""The decorator has given it methods that no type checker knows of."""


class Oban(Queue):
    """Its client."""

    def __init__(self, course: Course) -> None:
        self._course = course
        self._pool: Any = None
        self._client: Any = None

    async def prepare(self) -> None:
        """Make the schema."""
        self._pool = await Library.create_pool(self._course.url, min_size=4, max_size=10)
        await install(self._pool)

    async def open(self) -> None:
        """Connect."""
        self._client = Library(pool=self._pool, name="Oban")
        await self._client.start()

    async def close(self) -> None:
        """Disconnect."""
        await self._client.stop()
        await self._pool.close()

    async def start(self, task: str, steps: int) -> Any:
        """Enqueue a job."""
        return await _JOB.enqueue(data(steps))

    async def start_many(self, task: str, steps: int, number: int) -> None:
        """Enqueue jobs, many at once."""
        for first in range(0, number, _BATCH):
            await self._client.enqueue_many(*(_JOB.new(data(steps)) for _ in range(min(_BATCH, number - first))))


if __name__ == "__main__":
    main(Oban)
