"""DBOS Transact, on PostgreSQL or SQLite, at the best settings found: synchronous workflows on four threads where many run."""
# sqlite3 must have been replaced before it is imported

import asyncio
import sqlite3
import sys
import time
from collections.abc import Awaitable, Callable
from importlib import import_module
from statistics import median
from typing import Any

if sqlite3.sqlite_version_info < (3, 42):  # DBOS needs what this one lacks
    sys.modules["sqlite3"] = import_module("pysqlite3")

import sqlalchemy as sa
from dbos import DBOS, DBOSClient

from benchmarks.child import say
from benchmarks.race import CUSTOMER, LINE, LONG, Course, Figures, Race, Tally, data, executions, main, stride

_QUEUE = "bench"
_BATCH = 100
_THREADS = 4
_POLL = 0.05
_RESULT_POLL = 0.005
_TOPIC = "shipped"

tally = Tally(0)
course: Course


@DBOS.step()
def charge(number: int, customer: str) -> dict[str, Any]:
    """Do nothing, and say so."""
    return {**LINE, "number": number, "customer": customer}


@DBOS.step()
async def charge_async(number: int, customer: str) -> dict[str, Any]:
    """Do the same on the event loop."""
    return {**LINE, "number": number, "customer": customer}


@DBOS.workflow()
def order(given: dict[str, Any]) -> dict[str, Any]:
    """Take the steps one after the other."""
    tally.enter()
    line: dict[str, Any] = {}
    for number in range(given["steps"]):
        line = charge(number, given["customer"])
    tally.leave()
    return line


@DBOS.workflow()
async def direct(given: dict[str, Any]) -> dict[str, Any]:
    """Take the steps one after the other, on the caller's event loop."""
    line: dict[str, Any] = {}
    for number in range(given["steps"]):
        line = await charge_async(number, given["customer"])
    return line


@DBOS.workflow()
async def fan(given: dict[str, Any]) -> dict[str, Any]:
    """Take all steps at once."""
    lines = await asyncio.gather(*(charge_async(number, given["customer"]) for number in range(given["steps"])))
    return lines[-1]


@DBOS.step()
async def marked(number: int, customer: str) -> dict[str, Any]:
    """Do nothing, and mark laps."""
    stride(number, course.sizes)
    return {**LINE, "number": number, "customer": customer}


@DBOS.workflow()
async def long(given: dict[str, Any]) -> dict[str, Any]:
    """Take many steps one after the other."""
    line: dict[str, Any] = {}
    for number in range(given["steps"]):
        line = await marked(number, given["customer"])
    return line


@DBOS.step()
async def after(customer: str) -> dict[str, Any]:
    """Say that the event has come."""
    say("went-on")
    return {**LINE, "customer": customer}


@DBOS.workflow()
async def shipped(given: dict[str, Any]) -> dict[str, Any]:
    """Wait for the event, then take a step."""
    await DBOS.recv_async(_TOPIC, 60)
    return await after(given["customer"])


class Dbos:
    """Its client, and its worker."""

    def __init__(self, given: Course) -> None:
        global course  # noqa: PLW0603 # the workflows are functions of their module
        course = given
        self._client: DBOSClient
        self._listening = {"use_listen_notify": True} if given.on_postgres else {}
        self._driver = given.url.replace("postgresql:", "postgresql+psycopg:")

    def _launch(self) -> None:
        DBOS(
            config={
                "name": "bench",
                "system_database_url": course.url,
                "log_level": "ERROR",
                "application_version": "1",
                "executor_id": "1",
                "notification_listener_polling_interval_sec": 0.01,
                "max_executor_threads": _THREADS,
            }
        )
        DBOS.launch()
        DBOS.register_queue(_QUEUE, polling_interval_sec=_POLL, on_conflict="always_update")

    async def prepare(self) -> None:
        """Make the schema, as launching does."""
        await asyncio.to_thread(self._launch)
        await asyncio.to_thread(DBOS.destroy)

    async def open(self) -> None:
        """Connect."""
        self._client = DBOSClient(system_database_url=course.url, **self._listening)
        self._engine = sa.create_engine(self._driver)

    async def close(self) -> None:
        """Disconnect."""
        self._client.destroy()
        self._engine.dispose()

    async def start(self, task: str, steps: int) -> Any:
        """Enqueue a workflow."""
        return self._client.enqueue({"workflow_name": task, "queue_name": _QUEUE}, data(steps))

    async def start_many(self, task: str, steps: int, number: int) -> None:
        """Enqueue workflows, many in a transaction where that can be."""
        if not course.on_postgres:
            for _ in range(number):
                await self.start(task, steps)
            return
        for first in range(0, number, _BATCH):
            with self._engine.begin() as connection:
                for _ in range(min(_BATCH, number - first)):
                    self._client.enqueue_in_transaction(connection, {"workflow_name": task, "queue_name": _QUEUE}, data(steps))

    async def result(self, handle: Any) -> Any:
        """Wait for the output."""
        return handle.get_result(polling_interval_sec=_RESULT_POLL)

    async def send(self, handle: Any) -> None:
        """Send the event."""
        self._client.send(handle.workflow_id, 1, _TOPIC)

    async def finished(self) -> int:
        """Return how many have succeeded."""
        table = "dbos.workflow_status" if course.on_postgres else "workflow_status"
        with self._engine.connect() as connection:
            count = connection.execute(sa.text(f"SELECT count(*) FROM {table} WHERE status = 'SUCCESS'"))  # noqa: S608
            return int(count.scalar_one())

    def work(self, workload: str) -> None:
        """Work until stopped."""
        global tally  # noqa: PLW0603 # as above
        tally = Tally(executions(workload, course.sizes))
        self._launch()
        say("ready")
        if workload == "W2 direct":
            asyncio.run(self._call())
        while True:
            time.sleep(1)

    async def _call(self) -> None:
        """Call a workflow in the process that runs it, without a queue: the fastest way there is."""
        for _ in range(course.sizes.latencies):
            await asyncio.sleep(0.005)
            began = time.monotonic()
            await direct({"steps": 1, "customer": CUSTOMER})
            say("sample", time.monotonic() - began)


class DbosRace(Race):
    """What has no queue between."""

    async def direct(self, workload: str) -> Figures:
        """Have results of one step in process."""
        number = self.sizes.latencies
        async with await self.worker(workload) as child:
            await child.mark("sample", number, LONG)
            samples = [float(mark.value) for mark in child.marks("sample")]
        return {"p50": median(samples) * 1e3}

    def workloads(self) -> dict[str, Callable[[str], Awaitable[Figures]]]:
        """Return what can be measured, by name."""
        return {**super().workloads(), "W2 direct": self.direct}


if __name__ == "__main__":
    main(Dbos, DbosRace)
