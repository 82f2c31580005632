"""Worker processes, as a test has them."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from threading import Lock
from typing import IO, Any, Self

from attrs import define, field

from tests.chaos.ground import Ground
from tests.chaos.ledger import Ledger

ROOT = Path(__file__).parents[2]


class Nursery:
    """The process that makes them; one for a whole test run. For use in a `with`. `errors` takes what they print."""

    def __init__(self, errors: IO[bytes] | None = None) -> None:
        self._errors = errors

    def __enter__(self) -> Self:
        """Start it."""
        self._lock = Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.nursery"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        """End it and all workers."""
        self._process.communicate(timeout=10)

    def order(self, **order: Any) -> Any:
        """Give an order, and return the answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._lock:
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
            return json.loads(self._process.stdout.readline())


@define(eq=False)
class Member:
    """One worker process."""

    pid: int
    _nursery: Nursery
    id: str = ""
    """The worker's first identity."""
    ended: int | None = None
    """Its exit code; negative for a signal."""

    def tell(self, number: signal.Signals) -> None:
        """Send a signal."""
        os.kill(self.pid, number)

    async def end(self, number: signal.Signals = signal.SIGKILL) -> int:
        """Send a signal that ends it; return its exit code when it has."""
        self.tell(number)
        return await self.wait()

    async def wait(self) -> int:
        """Return its exit code when it has ended."""
        code = await asyncio.to_thread(self._nursery.order, wait=self.pid)
        assert code is not None, f"worker process {self.pid} does not end"
        self.ended = code
        return self.ended


@define(eq=False)
class Crew:
    """The worker processes of one test; what it is told of their settings is for all that are not told otherwise."""

    _nursery: Nursery
    ground: Ground
    ledger: Ledger
    lease: str = "2s"
    members: list[Member] = field(factory=list)
    killed: set[int] = field(factory=set)

    async def add(
        self, *, holds: bool = False, stops: bool = False, patient: bool = False, dsn: str | None = None, **config: Any
    ) -> Member:
        """Start one; return it when it is registered."""
        ways = {"holds": holds, "stops": stops, "patient": patient}
        config = {"lease": self.lease, "heartbeat_interval": "500ms", "poll_interval": "500ms", "max_crashes": 99} | config
        spec = self.ground.spec() | {"ledger": str(self.ledger.path), "config": config} | ways
        member = Member(self._nursery.order(start=spec | ({} if dsn is None else {"dsn": dsn})), self._nursery)
        self.members.append(member)
        ready = await self.ledger.until(lambda: self.ledger.find("ready", pid=member.pid), f"worker process {member.pid}")
        member.id = ready[0].value
        return member

    async def kill(self, member: Member) -> None:
        """Kill one, as nothing and nobody can hinder."""
        self.killed.add(member.pid)
        assert await member.end() == -signal.SIGKILL

    def excused(self, pid: int) -> bool:
        """Whether a worker process was killed, or declared dead."""
        return pid in self.killed or bool(self.ledger.logged("was declared dead", pid))

    async def dismiss(self) -> None:
        """End all that are left."""
        for each in self.members:
            if each.ended is None:
                await each.end()
