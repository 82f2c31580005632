"""pgtask, at the best settings found."""

import asyncio
from typing import Any

import asyncpg
from attrs import frozen
from pgtask import Client, EnqueueRequest, Task, TaskRegistry, Worker

from benchmarks.child import say
from benchmarks.race import LINE, LONG, Course, Tally, data, executions, main, stride

_QUEUE = "bench"
_BATCH = 500
_CONCURRENCY = 100
_CONNECTIONS = 10


@frozen
class _Charge:
    """One step's function, which the library calls without arguments."""

    number: int
    customer: str

    async def __call__(self) -> dict[str, Any]:
        return {**LINE, "number": self.number, "customer": self.customer}


class Pgtask:
    """Its client, and its worker."""

    def __init__(self, course: Course) -> None:
        self._course = course
        self._client: Any = None

    async def prepare(self) -> None:
        """Make the schema."""
        await (await Client.connect(self._course.url)).migrate()

    async def open(self) -> None:
        """Connect."""
        self._client = await Client.connect(self._course.url)

    async def close(self) -> None:
        """Disconnect: its connections go with the client."""
        self._client = None

    async def start(self, task: str, steps: int) -> Any:
        """Enqueue a task."""
        return await self._client.enqueue(EnqueueRequest(task, data(steps), queue_name=_QUEUE))

    async def start_many(self, task: str, steps: int, number: int) -> None:
        """Enqueue tasks, many at once."""
        for first in range(0, number, _BATCH):
            many = [EnqueueRequest(task, data(steps), queue_name=_QUEUE) for _ in range(min(_BATCH, number - first))]
            await self._client.enqueue_many(many)

    async def result(self, handle: Any) -> Any:
        """Wait for the output."""
        return await handle.result(timeout=LONG)

    async def send(self, handle: Any) -> None:
        """Send the signal."""
        await handle.signal("shipped", {"number": 1})

    async def finished(self) -> int:
        """Return how many have succeeded."""
        connection = await asyncpg.connect(self._course.url)
        try:
            table = await connection.fetchval("SELECT relid::regclass::text FROM pg_stat_user_tables WHERE relname = 'tasks'")
            query = f"SELECT count(*) FROM {table} WHERE state::text IN ('succeeded', 'completed')"  # noqa: S608
            return int(await connection.fetchval(query))
        finally:
            await connection.close()

    def work(self, workload: str) -> None:
        """Work until stopped."""
        asyncio.run(self._work(workload))

    async def _work(self, workload: str) -> None:
        tasks = TaskRegistry(queue_name=_QUEUE)
        self._register(tasks, workload)
        worker = Worker(
            self._course.url,
            tasks,
            concurrency=_CONCURRENCY,
            poll_interval=1.0,
            max_query_connections=_CONNECTIONS,
            retention_enabled=False,
            lease_duration=30,
        )
        say("ready")
        await worker.run()

    def _register(self, tasks: Any, workload: str) -> None:
        tally, sizes = Tally(executions(workload, self._course.sizes)), self._course.sizes

        @tasks.task("order")
        async def order(task: Task, given: dict[str, Any]) -> Any:
            tally.enter()
            line = None
            for number in range(given["steps"]):
                line = await task.step(f"charge-{number}", _Charge(number, given["customer"]).__call__)
            tally.leave()
            return line

        @tasks.task("fan")
        async def fan(task: Task, given: dict[str, Any]) -> Any:
            steps = (
                task.step(f"charge-{number}", _Charge(number, given["customer"]).__call__) for number in range(given["steps"])
            )
            return (await asyncio.gather(*steps))[-1]

        @tasks.task("long")
        async def long(task: Task, given: dict[str, Any]) -> Any:
            line = None
            for number in range(given["steps"]):

                async def marked(number: int = number) -> dict[str, Any]:
                    stride(number, sizes)
                    return await _Charge(number, given["customer"])()

                line = await task.step(f"charge-{number}", marked)
            return line

        @tasks.task("shipped")
        async def shipped(task: Task, given: dict[str, Any]) -> Any:
            async def after() -> dict[str, Any]:
                say("went-on")
                return await _Charge(1, given["customer"])()

            await task.wait_for_signal("wait", "shipped")
            return await task.step("charge", after)


if __name__ == "__main__":
    main(Pgtask)
