"""Plays the demo: a worker in another process, killed with `kill -9` in the middle of a step, started again, and the proof."""

import asyncio
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from attrs import define, field, frozen

from zart.cli.database import storage_at
from zart.cli.demo import ledger
from zart.cli.demo.pipeline import APPROVAL, SLOW, TASK
from zart.cli.errors import Exit, Refused
from zart.client import DurableScheduler
from zart.clock import Clock, SystemClock, pause
from zart.report import DurableExecutionStatus
from zart.status import ExecutionStatus, Phase, StepKind

ID = "demo-001"
PATIENCE = 30.0
"""Seconds that each part of the story may take."""
_GLANCE = 0.02
_LEASE = "3s"


@frozen
class Told:
    """How the story went: its record, and where the numbers are not as promised."""

    record: dict[str, Any]
    differences: list[str]


@define
class Story:
    """The demo in one folder; `say` is given each line of the narration with the seconds since the beginning."""

    folder: Path
    say: Callable[[float, str], None]
    clock: Clock = field(factory=SystemClock)
    begun: float = 0.0

    @property
    def url(self) -> str:
        """The database."""
        return f"sqlite:///{self.folder / 'zart.db'}"

    async def play(self) -> Told:
        """Play it all, and compare what Zart has saved with what really ran.

        Raises:
            Refused: (1) something did not happen in time, or a worker ended by itself.
        """
        self.begun = self.clock.monotonic()
        async with storage_at(self.url) as storage:
            client = DurableScheduler(storage)
            self._tell(f"database: {self.url}")
            async with self._worker() as worker:
                await client.start(ID, TASK, {"folder": str(self.folder)}, reuse="never")
                self._tell(f"started execution {ID} of task {TASK}")
                await self._until(f"step {SLOW!r} to start", worker, lambda: self._has_started(SLOW, 1))
                worker.kill()
                await worker.wait()
                self._tell(f"killed worker {worker.pid} with kill -9 while step {SLOW!r} was running")
            async with self._worker() as worker:
                self._tell(f"the execution goes on when the dead worker's lease of {_LEASE} has run out")
                await self._until(f"step {SLOW!r} to start again", worker, lambda: self._has_started(SLOW, 2))
                self._tell(f"worker {worker.pid} took over: 'read' was saved and is not repeated, {SLOW!r} starts again")
                await self._until("the approval to be waited for", worker, lambda: _is_waiting(client))
                starts = ledger.starts(self.folder)
                self._tell(
                    f"{starts.total() - starts[SLOW] + 1} steps done; waiting for a person's approval, in the database only"
                )
                await client.offer_event(ID, "approval", {"approved": True, "by": "you"}, event_id="approval-1")
                self._tell("sent the event 'approval' in that person's stead, as `zart event` would")
                record = await client.wait(ID, PATIENCE)
                self._tell(f"execution {ID} is {record.status}")
                worker.terminate()
                left = await worker.wait()
                self._tell(f"asked worker {worker.pid} to stop; it left with exit code {left}")
            return await self._compare(client, record, left)

    def _tell(self, line: str) -> None:
        self.say(self.clock.monotonic() - self.begun, line)

    @asynccontextmanager
    async def _worker(self) -> AsyncIterator[asyncio.subprocess.Process]:
        """Run a worker in a process of its own; it does not outlive the story."""
        with (self.folder / "worker.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "zart.cli", "worker", "--app", "zart.cli.demo.pipeline:handlers"),
                *("--database-url", self.url, "--lease", _LEASE, "--poll", "250ms", "--verbose"),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            self._tell(f"worker {process.pid} started")
            yield process
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def _until(self, what: str, worker: asyncio.subprocess.Process, happened: Callable[[], Awaitable[bool]]) -> None:
        end = self.clock.monotonic() + PATIENCE
        while not await happened():
            if worker.returncode is not None:
                raise self._failed(f"worker {worker.pid} ended by itself, with exit code {worker.returncode}")
            if self.clock.monotonic() > end:
                raise self._failed(f"waited {PATIENCE:g} s for {what} in vain")
            await pause(self.clock, _GLANCE)

    def _failed(self, what: str) -> Refused:
        last = (self.folder / "worker.log").read_text("utf-8", "replace").strip().splitlines()[-3:]
        hint = "the worker said: " + " / ".join(last) if last else "the worker said nothing"
        return Refused("demo_failed", what, hint, Exit.FAILED)

    async def _has_started(self, step: str, times: int) -> bool:
        return ledger.starts(self.folder)[step] >= times

    async def _compare(self, client: DurableScheduler, record: DurableExecutionStatus, left: int) -> Told:
        started = ledger.starts(self.folder)
        history = await client.scheduler.history(ID, record.run)
        saved = Counter(line.name for line in history.steps if line.phase is Phase.OUTCOME)
        rows = [
            {
                "step": step.name,
                "kind": step.kind,
                "status": step.status,
                "seconds": _seconds(step.started_at, step.completed_at),
                "started": started[step.name] if step.kind == StepKind.STEP else None,
                "saved": saved[step.name],
            }
            for step in record.steps
        ]
        output = record.result if isinstance(record.result, dict) else {}
        told = {
            "execution_id": ID,
            "status": str(record.status),
            "seconds": round(self.clock.monotonic() - self.begun, 1),
            "interrupted": SLOW,
            "flights": output.get("flights"),
            "set_aside": output.get("set_aside"),
            "table": output.get("table"),
            "chart": output.get("chart"),
            "steps": rows,
        }
        return Told(told, self._differences(record, rows, started, left))

    def _differences(
        self, record: DurableExecutionStatus, rows: list[dict[str, Any]], started: Counter[str], left: int
    ) -> list[str]:
        found = []
        if record.status is not ExecutionStatus.COMPLETED:
            found.append(f"the execution is {record.status}, not completed: {record.reason or record.result}")
        for row in rows:
            name, due = row["step"], 2 if row["step"] == SLOW else 1
            if row["saved"] != 1:
                found.append(f"{name!r} was saved {row['saved']} times, not once")
            if row["started"] not in (None, due):
                found.append(f"{name!r} started {row['started']} times, not {due}")
        names = {row["step"] for row in rows}
        found += [f"{name!r} ran, but was never saved" for name in started if name not in names]
        found += [f"{name!r} is missing" for name in (SLOW, APPROVAL, "write-table", "write-chart") if name not in names]
        if left != 0:
            found.append(f"the worker that was asked to stop left with exit code {left}, not 0")
        return found


async def _is_waiting(client: DurableScheduler) -> bool:
    record = await client.status(ID)
    if record.status.is_terminal:
        raise Refused("demo_failed", f"the execution is {record.status} before its approval: {record.reason}", "", Exit.FAILED)
    return record.status is ExecutionStatus.WAITING and any(wait.name == APPROVAL for wait in record.waiting_for)


def _seconds(start: Any, end: Any) -> float | None:
    return None if start is None or end is None else round((end - start).total_seconds(), 3)
