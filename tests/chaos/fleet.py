"""The processes of a long storm: so many workers and clients, each replaced when it has ended."""

import asyncio
import os
import signal
from pathlib import Path
from random import Random
from typing import Any

from attrs import define, field

from tests.chaos.checkers import Interruption
from tests.chaos.crew import Nursery
from tests.chaos.ground import Ground
from tests.chaos.ledger import Ledger
from zart.clock import SystemClock

LEASE = 2.0
MAX_CRASHES = 5
ROUND = 0.1
CONFIG = {
    "lease": f"{LEASE}s",
    "heartbeat_interval": "500ms",
    "poll_interval": "500ms",
    "max_concurrent": 12,
    "max_crashes": MAX_CRASHES,
    "shutdown_timeout": "10s",
}
KILLED = -signal.SIGKILL


@define(eq=False)
class Process:
    """A worker, or a client."""

    pid: int
    is_worker: bool
    way: str
    """Which way it goes to storage."""
    since: float
    ended: float | None = None
    code: int | None = None
    killed: bool = False
    """By the storm."""
    short: bool = False
    """Of memory, now or at some time."""
    frozen: bool = False


@define(eq=False)
class Fleet:
    """All processes of one storm, and what has happened to them."""

    nursery: Nursery
    ground: Ground
    ledger: Ledger
    marks: Path
    name: str
    ways: dict[str, str]
    """The addresses of the storage, by name; empty where there is but one."""
    chance: Random
    processes: dict[int, Process] = field(factory=dict)
    wanted: dict[bool, int] = field(factory=lambda: {True: 4, False: 2})
    """How many workers and clients there shall be."""
    done: list[Interruption] = field(factory=list)
    _clients: int = 0
    _seen: int = 0
    _open: dict[int, set[tuple[str, str]]] = field(factory=dict)

    def alive(self, *, workers: bool = True) -> list[Process]:
        """Return the processes of a kind that have not ended and are not stopped."""
        return [
            each for each in self.processes.values() if each.ended is None and each.is_worker is workers and not each.frozen
        ]

    def busy(self, *, workers: bool = True) -> list[Process]:
        """Return the workers of whose steps one has begun and is not known to be saved; or clients that wait for an answer."""
        for line in self.ledger.lines[self._seen :]:
            mine = self._open.setdefault(line.pid, set())
            if line.what == "begin":
                mine.add((line.id, line.step))
            elif line.what in {"saved", "fail"}:
                mine.discard((line.id, line.step))
            elif line.what.endswith("?"):
                mine.add((line.id, line.what[:-1]))
            elif line.what.endswith("!"):
                mine.discard((line.id, line.what[:-1]))
        self._seen = len(self.ledger.lines)
        return [each for each in self.alive(workers=workers) if self._open.get(each.pid)]

    def add(self, *, worker: bool) -> Process:
        """Start one."""
        way = self.chance.choice(sorted(self.ways) or [""])
        spec: dict[str, Any] = self.ground.spec() | {"ledger": str(self.ledger.path)}
        if way:
            spec["dsn"] = self.ways[way]
        if worker:
            spec |= {"config": CONFIG, "marks": str(self.marks)}
        else:
            self._clients += 1
            spec["patrons"] = f"{self.name}-{self._clients}"
        process = Process(self.nursery.order(start=spec), worker, way, SystemClock.monotonic())
        self.processes[process.pid] = process
        self._open.pop(process.pid, None)  # of somebody who had the same number
        return process

    def signal(self, process: Process, number: signal.Signals) -> bool:
        """Send a signal; return whether there was somebody to get it."""
        if process.ended is not None:
            return False
        try:
            os.kill(process.pid, number)
        except ProcessLookupError:
            return False
        return True

    def kill(self, process: Process) -> bool:
        """Kill one, as nothing and nobody can hinder."""
        process.killed = True
        return self.signal(process, signal.SIGKILL)

    def note(self, kind: str, since: float, process: Process | None = None, *, slack: float = 0.0) -> None:
        """Write down what was done from a moment on until now, and for how much longer it may tell."""
        until, pid = SystemClock.monotonic() + slack, None if process is None else process.pid
        self.done.append(Interruption(kind, since, until, pid))
        self.ledger.note("storm", value=f"{kind} from {since:.3f} to {until:.3f}, process {pid}")

    def reap(self) -> None:
        """Notice who has ended."""
        for pid, code in self.nursery.order(ended=True).items():
            process = self.processes[int(pid)]
            process.ended, process.code = SystemClock.monotonic(), code
            # Between the death and this notice there is a round; a call that came after cannot be this process's.
            self.note("death", process.ended - 5 * ROUND, process)

    async def supervise(self) -> None:
        """Replace whoever has ended, until cancelled."""
        while True:
            self.reap()
            for worker, number in self.wanted.items():
                living = sum(each.ended is None and each.is_worker is worker for each in self.processes.values())
                for _ in range(number - living):
                    self.add(worker=worker)
            await asyncio.sleep(ROUND)

    async def leave(self) -> None:
        """Tell all of them to stop, and wait; whoever has not after a while is killed."""
        for each in self.processes.values():
            self.signal(each, signal.SIGTERM)
        until = SystemClock.monotonic() + 20
        while any(each.ended is None for each in self.processes.values()):
            if SystemClock.monotonic() > until:
                for each in self.processes.values():
                    self.kill(each)
            self.reap()
            await asyncio.sleep(ROUND)

    def declared_dead(self) -> list[Interruption]:
        """Return when workers heard that they had been declared dead: that was so for a while by then."""
        return [
            Interruption("declared dead", line.at - 4 * LEASE, line.at, line.pid)
            for line in self.ledger.logged("was declared dead")
        ]

    def ended_by_themselves(self) -> list[str]:
        """Return what is said of processes that were at work and ended though nobody had done anything to them."""
        ready = {line.pid for line in self.ledger.find("ready")}
        left = {line.pid for line in self.ledger.find("left")} | {line.pid for line in self.ledger.find("died")}
        return [
            f"{'worker' if each.is_worker else 'client'} {each.pid} ended by itself with {each.code}"
            for each in self.processes.values()
            if each.ended is not None and each.pid in ready and not (each.killed or each.short or each.pid in left)
        ]
