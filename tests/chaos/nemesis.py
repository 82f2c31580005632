"""What goes wrong in a long storm. Each fault counts how often it was done, and how often it really hit: two things."""

import asyncio
import resource
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from random import Random

import asyncpg
from attrs import define, field

from tests.chaos.disks import Disk
from tests.chaos.fleet import LEASE, Fleet, Process
from tests.chaos.ground import PostgresGround
from tests.chaos.ledger import Line
from tests.chaos.storms import Strait
from tests.chaos.voyages import NAME
from zart import DurableScheduler, StorageUnavailable
from zart.clock import SystemClock

ROOM = 16 << 20
"""Bytes that a process under a memory limit may still take."""
FULL = 3.0
"""Seconds for which the disk is full."""
GAPS = (1.0, 3.0)
"""Seconds between two faults."""
TERMINATE = (
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
    " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
)
UNLIMITED = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)


@define
class Tally:
    """What became of one kind of fault."""

    bite: str
    """What counts as a hit."""
    done: int = 0
    hits: int = 0


@define(eq=False)
class Nemesis:
    """Picks a fault every few seconds; those on the same thing never at the same time."""

    fleet: Fleet
    client: DurableScheduler
    disk: Disk
    chance: Random
    name: str
    straits: dict[str, Strait] = field(factory=dict)
    tallies: dict[str, Tally] = field(init=False)
    stopping: asyncio.Event = field(factory=asyncio.Event)
    _taken: set[str] = field(factory=set)
    _poisons: int = 0

    def __attrs_post_init__(self) -> None:
        """Plan what this storage can suffer."""
        self.tallies = {
            "worker killed": Tally("while one of its steps ran"),
            "worker stopped": Tally("woke up and heard that it was declared dead, or was killed in its sleep"),
            "client killed": Tally("while an answer was due"),
            "memory limit": Tally("memory refused to a step or to a worker"),
            "poison": Tally("workers that one execution killed"),
        }
        if self.disk.mounted:
            self.tallies["disk full"] = Tally("writes refused for want of room, as workers and clients heard")
        if self.straits:
            self.tallies |= {
                "connections ended": Tally("server processes ended at once"),
                "reply lost": Tally("statements that were done and not answered"),
                "connections reset": Tally("connections cut in the middle"),
                "slow network": Tally("replies that came late"),
                "cut off": Tally("replies kept back"),
                "server crash": Tally("while a step ran, or an answer was due"),
            }

    async def rage(self) -> None:
        """Do harm until told to stop: each fault once, in any order, and so on; then see what was begun through to its end."""
        round_: list[str] = []
        async with asyncio.TaskGroup() as group:
            while not self.stopping.is_set():
                if not round_:
                    round_ = self.chance.sample(sorted(self.tallies), len(self.tallies))
                    round_ += ["worker killed"] * 2 + ["worker stopped"]
                name = next((each for each in round_ if self._about(each) not in self._taken), None)
                if name is not None:
                    round_.remove(name)
                    self._taken.add(self._about(name))
                    group.create_task(self._do(name))
                await asyncio.sleep(self.chance.uniform(*GAPS))

    @staticmethod
    def _about(name: str) -> str:
        server = {"connections ended", "disk full", "server crash"}
        network = {"reply lost", "connections reset", "slow network", "cut off"}
        return "server" if name in server else "network" if name in network else name

    async def _do(self, name: str) -> None:
        faults: dict[str, Callable[[Tally], Awaitable[None]]] = {
            "worker killed": self._kill,
            "worker stopped": self._stop,
            "client killed": self._kill_client,
            "memory limit": self._starve,
            "poison": self._poison,
            "disk full": self._fill,
            "connections ended": self._terminate,
            "reply lost": self._lose,
            "connections reset": self._reset,
            "slow network": self._slow,
            "cut off": self._cut_off,
            "server crash": self._crash,
        }
        try:
            await faults[name](self.tallies[name])
        finally:
            self._taken.discard(self._about(name))

    def _someone(self, *, workers: bool = True) -> Process | None:
        some = self.fleet.busy(workers=workers) or self.fleet.alive(workers=workers)
        return self.chance.choice(some) if some else None

    async def _kill(self, tally: Tally) -> None:
        victim = self._someone()
        if victim is not None and self.fleet.kill(victim):
            self.fleet.note("worker killed", SystemClock.monotonic(), victim, slack=1.0)
            tally.done += 1
            tally.hits += victim in self.fleet.busy()

    async def _stop(self, tally: Tally) -> None:
        victim = self._someone()
        if victim is None or not self.fleet.signal(victim, signal.SIGSTOP):
            return
        since, victim.frozen = SystemClock.monotonic(), True
        lines, mark = self.fleet.ledger.lines, len(self.fleet.ledger.lines)
        try:
            await asyncio.sleep(self.chance.uniform(0.3, 3) * LEASE)
        finally:
            self.fleet.note("worker stopped", since, victim, slack=LEASE)
            victim.frozen = False
            self.fleet.signal(victim, signal.SIGCONT)
        tally.done += 1
        with suppress(AssertionError):
            await self.fleet.ledger.until(
                lambda: victim.ended or any(line.pid == victim.pid and _dead(line) for line in lines[mark:]),
                "news of its death",
                within=LEASE,
            )
            tally.hits += 1

    async def _kill_client(self, tally: Tally) -> None:
        with suppress(AssertionError):
            await self.fleet.ledger.until(lambda: self.fleet.busy(workers=False), "a question", within=2)
        victim = self._someone(workers=False)
        if victim is not None and self.fleet.kill(victim):
            tally.done += 1
            tally.hits += victim in self.fleet.busy(workers=False)

    async def _starve(self, tally: Tally) -> None:
        victim = self._someone()
        if victim is None:
            return
        victim.short, mark = True, len(self.fleet.ledger.lines)
        with suppress(OSError):
            limit = taken(victim.pid) + ROOM
            resource.prlimit(victim.pid, resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
            tally.done += 1
            try:
                await asyncio.sleep(self.chance.uniform(2, 4))
            finally:
                resource.prlimit(victim.pid, resource.RLIMIT_AS, UNLIMITED)
        tally.hits += sum(
            line.pid == victim.pid and (line.what == "starved" or "MemoryError" in str(line.value))
            for line in self.fleet.ledger.lines[mark:]
        )

    async def _poison(self, tally: Tally) -> None:
        self._poisons += 1
        poison = f"{self.name}-poison-{self._poisons:03}"
        ledger = self.fleet.ledger
        words = ["step:1", "poison:2", "step:3"]
        ledger.note("start?", poison, words)
        while True:
            try:
                await self.client.start(poison, NAME, words, start_key=poison)
                break
            except StorageUnavailable:
                await asyncio.sleep(0.2)
        ledger.note("start!", poison, words)
        tally.done += 1  # nobody waits for the deaths: they fall together with whatever else goes wrong

    async def _fill(self, tally: Tally) -> None:
        mark, since = len(self.fleet.ledger.lines), SystemClock.monotonic()
        try:
            while SystemClock.monotonic() < since + FULL:
                await asyncio.to_thread(self.disk.fill)
                await asyncio.sleep(0.05)
        finally:
            self.disk.empty()
            self.fleet.note("disk full", since)
        tally.done += 1
        tally.hits += sum("make room on" in str(line.value) for line in self.fleet.ledger.lines[mark:])

    async def _terminate(self, tally: Tally) -> None:
        since = SystemClock.monotonic()
        with suppress(OSError, asyncpg.PostgresError):
            async with self._ground.session() as session:
                tally.hits += await session.fetchval(TERMINATE)
                tally.done += 1
                self.fleet.note("connections ended", since, slack=LEASE)

    async def _lose(self, tally: Tally) -> None:
        strait = self.chance.choice(list(self.straits.values()))
        before, since = strait.lost, SystemClock.monotonic()
        strait.lose(self.chance.randrange(1, 4))
        await asyncio.sleep(1)
        strait.lose(0)
        self.fleet.note("reply lost", since, slack=LEASE)
        tally.done += 1
        tally.hits += strait.lost - before

    async def _reset(self, tally: Tally) -> None:
        strait, since = self.chance.choice(list(self.straits.values())), SystemClock.monotonic()
        for _ in range(self.chance.randrange(1, 5)):
            tally.hits += strait.reset()
            await asyncio.sleep(self.chance.uniform(0, 0.5))
        self.fleet.note("connections reset", since, slack=LEASE)
        tally.done += 1

    async def _slow(self, tally: Tally) -> None:
        way, strait = self.chance.choice(list(self.straits.items()))
        before, since = strait.delayed, SystemClock.monotonic()
        strait.delay = self.chance.uniform(0.05, 0.5)
        try:
            await asyncio.sleep(LEASE * 1.5)
        finally:
            strait.delay = 0.0
        self._behind(way, "slow network", since)
        tally.done += 1
        tally.hits += strait.delayed - before

    async def _cut_off(self, tally: Tally) -> None:
        way, strait = self.chance.choice(list(self.straits.items()))
        before, since = strait.kept, SystemClock.monotonic()
        strait.flows.clear()
        try:
            await asyncio.sleep(self.chance.uniform(0.3, 2.5) * LEASE)
        finally:
            strait.flows.set()
        self._behind(way, "cut off", since)
        self.fleet.note("cut off", since, slack=LEASE)
        tally.done += 1
        tally.hits += strait.kept - before

    def _behind(self, way: str, kind: str, since: float) -> None:
        for each in self.fleet.processes.values():
            if each.way == way and (each.ended is None or each.ended > since):
                self.fleet.note(kind, since, each, slack=LEASE)

    async def _crash(self, tally: Tally) -> None:
        server, since = self._ground.server, SystemClock.monotonic()
        tally.hits += bool(self.fleet.busy() or self.fleet.busy(workers=False))
        tally.done += 1
        await asyncio.to_thread(server.stop)
        await asyncio.sleep(self.chance.uniform(0, LEASE))
        await asyncio.to_thread(server.start)
        self.fleet.note("server crash", since, slack=LEASE)

    @property
    def _ground(self) -> PostgresGround:
        assert isinstance(self.fleet.ground, PostgresGround)
        return self.fleet.ground


def taken(pid: int) -> int:
    """Return how many bytes of addresses a process has."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()


def _dead(line: Line) -> bool:
    return line.what == "log" and "was declared dead" in line.value
