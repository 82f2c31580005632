"""Absurd, at the best settings found: eight clients in the worker's process, each with a connection, and uvloop."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import uvloop
from absurd_sdk import Absurd as Client
from absurd_sdk import AsyncAbsurd

from benchmarks.child import say
from benchmarks.race import LINE, Course, Tally, data, executions, main, stride

_QUEUE = "bench"
_CLIENTS = 8
_CONCURRENCY = 12
_POLL = 0.01
_RESULT_POLL = 0.002
_BATCH = 100


class Absurd:
    """Its client, and its worker."""

    def __init__(self, course: Course) -> None:
        self._course = course
        self._client: Any = None
        self._sent = 0

    async def prepare(self) -> None:
        """Make the schema with its own tool."""
        environment = {**os.environ, "PGDATABASE": self._course.url}
        tool = Path(sys.executable).parent / "absurdctl"
        for arguments in (["init"], ["create-queue", _QUEUE]):
            subprocess.run([tool, *arguments], env=environment, check=True, capture_output=True)  # noqa: ASYNC221, S603 # nothing else happens meanwhile

    async def open(self) -> None:
        """Connect."""
        self._client = Client(self._course.url, queue_name=_QUEUE)
        self._client._conn.autocommit = True  # noqa: SLF001 # there is no other way to its connection

    async def close(self) -> None:
        """Disconnect."""
        self._client.close()

    async def start(self, task: str, steps: int) -> Any:
        """Spawn a task."""
        self._sent += 1
        given = {**data(steps), "event": f"shipped-{self._sent}"}
        return {**self._client.spawn(task, given, queue=_QUEUE), "event": given["event"]}

    async def start_many(self, task: str, steps: int, number: int) -> None:
        """Spawn tasks, many in a transaction."""
        for first in range(0, number, _BATCH):
            with self._client._conn.transaction():  # noqa: SLF001 # as above
                for _ in range(min(_BATCH, number - first)):
                    self._client.spawn(task, data(steps), queue=_QUEUE)

    async def result(self, handle: Any) -> Any:
        """Ask for the output until it is there."""
        while True:
            found = self._client.fetch_task_result(handle["task_id"])
            if found is not None and found.state in {"completed", "failed"}:
                return found.result
            await asyncio.sleep(_RESULT_POLL)

    async def send(self, handle: Any) -> None:
        """Emit the event."""
        self._client.emit_event(handle["event"], 1, _QUEUE)

    async def finished(self) -> int:
        """Return how many have completed."""
        row = self._client._conn.execute("SELECT count(*) FROM absurd.t_bench WHERE state = 'completed'").fetchone()  # noqa: SLF001 # as above
        return int(row[0])

    def work(self, workload: str) -> None:
        """Work until stopped."""
        uvloop.run(self._work(workload))

    async def _work(self, workload: str) -> None:
        app = AsyncAbsurd(self._course.url, queue_name=_QUEUE)
        self._register(app, workload)
        clients = [app]
        for _ in range(_CLIENTS - 1 if workload == "W1" else 0):
            clients.append(AsyncAbsurd(self._course.url, queue_name=_QUEUE))
            clients[-1]._registry = app._registry  # noqa: SLF001 # tasks are registered once
        concurrency = _CONCURRENCY if workload == "W1" else 100
        say("ready")
        await asyncio.gather(
            *(
                client.start_worker(worker_id=f"{number}", concurrency=concurrency, poll_interval=_POLL, claim_timeout=120)
                for number, client in enumerate(clients)
            )
        )

    def _register(self, app: Any, workload: str) -> None:
        tally, sizes = Tally(executions(workload, self._course.sizes)), self._course.sizes

        async def charge(number: int, customer: str) -> dict[str, Any]:
            return {**LINE, "number": number, "customer": customer}

        @app.register_task(name="order")
        async def order(given: dict[str, Any], ctx: Any) -> Any:
            tally.enter()
            line = None
            for number in range(given["steps"]):
                line = await ctx.step(f"charge-{number}", lambda number=number: charge(number, given["customer"]))
            tally.leave()
            return line

        @app.register_task(name="fan")
        async def fan(given: dict[str, Any], ctx: Any) -> Any:
            lines = await asyncio.gather(
                *(
                    ctx.step(f"charge-{number}", lambda number=number: charge(number, given["customer"]))
                    for number in range(given["steps"])
                )
            )
            return lines[-1]

        @app.register_task(name="long")
        async def long(given: dict[str, Any], ctx: Any) -> Any:
            async def marked(number: int) -> dict[str, Any]:
                stride(number, sizes)
                return await charge(number, given["customer"])

            line = None
            for number in range(given["steps"]):
                line = await ctx.step(f"charge-{number}", lambda number=number: marked(number))
            return line

        @app.register_task(name="shipped")
        async def shipped(given: dict[str, Any], ctx: Any) -> Any:
            async def after() -> dict[str, Any]:
                say("went-on")
                return await charge(1, given["customer"])

            await ctx.await_event(given["event"])
            return await ctx.step("charge", after)


if __name__ == "__main__":
    main(Absurd)
