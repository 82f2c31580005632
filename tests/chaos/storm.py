"""A long storm: a fleet at work, a nemesis, then calm, and what is to be said about it."""

import asyncio
import os
import pwd
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from random import Random
from typing import Any

from attrs import define, field, frozen

from tests.chaos.checkers import History, Record, judged
from tests.chaos.crew import Nursery
from tests.chaos.disks import Disk
from tests.chaos.fleet import MAX_CRASHES, Fleet
from tests.chaos.ground import Ground, PostgresGround, SqliteGround
from tests.chaos.ledger import Ledger
from tests.chaos.nemesis import Nemesis, Tally
from tests.chaos.storms import Strait
from tests.chaos.voyages import NAME
from tests.servers.postgres import PostgresServer
from tests.servers.present import newest_postgres
from zart import DurableScheduler, ExecutionFinished, ExecutionNotFound, StorageUnavailable
from zart.clock import SystemClock

CALM = 120.0
"""Seconds within which everything must have ended after the last fault."""
PROBES = 30
TABLESPACE = "chaos"
KINDS = frozenset({"step", "event"})
"""What has a value that is to be looked at."""


@frozen
class Verdict:
    """What came of one storm."""

    name: str
    counts: dict[str, int]
    tallies: dict[str, Tally]
    violations: dict[str, list[str]]
    missed: list[str] = field(factory=list)
    """What could not be done here, and why."""

    @property
    def idle(self) -> list[str]:
        """The faults that never bit: with one of them the run says nothing."""
        return [name for name, tally in self.tallies.items() if not tally.hits]

    def lines(self) -> Iterator[str]:
        """Return what people read."""
        yield f"{self.name}: " + ", ".join(f"{number} {what}" for what, number in self.counts.items())
        yield f"  {'fault':20} {'done':>6} {'hits':>6}  a hit"
        for name, tally in self.tallies.items():
            yield f"  {name:20} {tally.done:6} {tally.hits:6}  {tally.bite}"
        for name, found in self.violations.items():
            yield f"  {len(found):6} {name}"
            yield from (f"         {each}" for each in found[:10])
        yield from (f"  not done here: {each}" for each in self.missed)


@define(eq=False)
class Storm:
    """One of them, for a number of seconds. `folder` is empty and its own."""

    name: str
    folder: Path
    nursery: Nursery
    seconds: float
    chance: Random

    async def on_sqlite(self) -> Verdict:
        """Let workers and clients share a file."""
        with Disk(self.folder / "disk", os.geteuid()) as disk:
            return await self._rage(SqliteGround(disk.folder / "zart.db"), disk, {})

    async def on_postgres(self) -> Verdict:
        """Let them share a server, that saves as in production: some of them reach it directly, some through proxies."""
        owner = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else os.geteuid()
        with Disk(self.folder / "disk", owner) as disk, PostgresServer(newest_postgres(), fsync=True) as server:
            ground = PostgresGround(server, self.name)
            if disk.mounted:
                await asyncio.to_thread(server.run, f"CREATE TABLESPACE {TABLESPACE} LOCATION '{disk.folder}'")
                await asyncio.to_thread(server.run, f"ALTER ROLE zart SET default_tablespace TO {TABLESPACE}")
            async with Strait(server.port) as near, Strait(server.port) as far:
                return await self._rage(ground, disk, {"near": near, "far": far})

    async def _rage(self, ground: Ground, disk: Disk, straits: dict[str, Strait]) -> Verdict:
        marks = self.folder / "marks"
        marks.mkdir()
        await ground.prepare()
        ways = {name: strait.dsn for name, strait in straits.items()}
        if isinstance(ground, PostgresGround):
            ways["straight"] = ground.server.dsn
        async with AsyncExitStack() as stack:
            ledger = stack.enter_context(Ledger(self.folder / "ledger"))
            client = DurableScheduler(await stack.enter_async_context(ground.storage()))
            fleet = Fleet(self.nursery, ground, ledger, marks, self.name, ways, self.chance)
            nemesis = Nemesis(fleet, client, disk, self.chance, self.name, straits)
            try:
                await self._weather(fleet, nemesis)
                slow = await self._calm(fleet, client)
                return await self._judge(fleet, nemesis, client, slow)
            finally:
                await fleet.leave()
                keep(ledger, self.folder)

    async def _weather(self, fleet: Fleet, nemesis: Nemesis) -> None:
        """Work and rage."""
        async with asyncio.TaskGroup() as group:
            supervising = group.create_task(fleet.supervise())
            await fleet.ledger.until(lambda: len(fleet.ledger.done) >= 10, "work", within=60)
            raging = group.create_task(nemesis.rage())
            await asyncio.sleep(self.seconds)
            nemesis.stopping.set()
            await raging
            supervising.cancel()

    async def _calm(self, fleet: Fleet, client: DurableScheduler) -> list[str]:
        """Let everything come to its end; return what did not do so in time, and who did nothing any more."""
        fleet.wanted[False] = 0
        for each in fleet.alive(workers=False):
            fleet.signal(each, 15)
        until = SystemClock.monotonic() + CALM
        async with asyncio.TaskGroup() as group:
            supervising = group.create_task(fleet.supervise())
            begun = {line.id: line.value for line in fleet.ledger.lines if line.what == "start?"}
            sent = {(line.id, line.value) for line in fleet.ledger.lines if line.what == "send!"}
            # Some clients were killed: what they were about to say is said for them.
            for each, words in begun.items():
                for number in range(sum(word.startswith("news") for word in words)):
                    if (each, number) not in sent and not await self._say(fleet, client, each, number):
                        break
            slow = [f"worker {each} did nothing any more" for each in await self._probe(fleet, client)]
            for each in begun:
                await self._wait(client, each, until)
            while fleet.alive(workers=False) and SystemClock.monotonic() < until:
                await asyncio.sleep(0.2)
            slow += [f"client {each.pid} did not come to its end" for each in fleet.alive(workers=False)]
            supervising.cancel()
        return slow

    async def _say(self, fleet: Fleet, client: DurableScheduler, execution_id: str, number: int) -> bool:
        fleet.ledger.note("send?", execution_id, number)
        while True:
            try:
                await client.offer_event(execution_id, "news", number, event_id=f"news {number}")
            except (ExecutionNotFound, ExecutionFinished):
                return False
            except StorageUnavailable:
                await asyncio.sleep(0.2)
            else:
                return True

    async def _probe(self, fleet: Fleet, client: DurableScheduler) -> list[int]:
        """See each worker that is alive complete something; return those that do not."""
        lines, mark, until = fleet.ledger.lines, len(fleet.ledger.lines), SystemClock.monotonic() + CALM / 2
        number = 0
        while True:
            busy = {line.pid for line in lines[mark:] if line.what == "done"}
            idle = [each.pid for each in fleet.alive() if each.pid not in busy]
            if not idle or SystemClock.monotonic() > until:
                return idle
            ids = [f"{self.name}-probe-{number + each:05}" for each in range(PROBES)]
            number += PROBES
            await start_all(client, fleet.ledger, ids, ["linger:1"])
            for each in ids:
                await self._wait(client, each, until)

    async def _wait(self, client: DurableScheduler, execution_id: str, until: float) -> None:
        with suppress(ExecutionNotFound):  # its client died before it said so
            await see_end(client, execution_id, until)

    async def _judge(self, fleet: Fleet, nemesis: Nemesis, client: DurableScheduler, slow: list[str]) -> Verdict:
        await fleet.leave()  # so that nothing comes into the ledger any more
        await asyncio.sleep(0)
        records = await records_of(client, sorted({line.id for line in fleet.ledger.lines if line.what == "start?"}))
        lines = fleet.ledger.lines
        interruptions = fleet.done + fleet.declared_dead()
        bookings = await fleet.ground.bookings()
        history = History(lines, records, interruptions, bookings, MAX_CRASHES)
        violations = judged(history)
        violations["processes that ended by themselves, or came to nothing"] = fleet.ended_by_themselves() + slow
        nemesis.tallies["poison"].hits = sum(line.what == "died" and line.step.startswith("poison") for line in lines)
        counts = {
            "executions": len(records),
            "steps saved": sum(len(each.steps) for each in records.values()),
            "calls": sum(line.what == "begin" for line in lines),
            "calls again": sum(line.what == "begin" for line in lines)
            - len({(line.id, line.step) for line in lines if line.what == "begin"}),
            "on_failure": len({line.id for line in lines if line.what == "undone"}),
            "innocents given up": sum(history.given_up(each) for each in records),
            "cancelled": sum(each.status == "cancelled" for each in records.values()),
            "processes": len(fleet.processes),
        }
        missed = [] if nemesis.disk.mounted else ["a full disk: this user may not mount a small one; run it as root"]
        return Verdict(self.name, counts, nemesis.tallies, violations, missed)


async def start_all(client: DurableScheduler, ledger: Ledger, ids: list[str], words: list[str]) -> None:
    """Start voyages at once, and note that they were asked for, and then that they were begun."""
    for each in ids:
        ledger.note("start?", each, words)
    await client.start_many((each, NAME, words) for each in ids)
    for each in ids:
        ledger.note("start!", each, words)


async def see_end(client: DurableScheduler, execution_id: str, until: float) -> None:
    """Return when an execution has ended, or at a moment of the machine's clock, whatever becomes of the storage meanwhile."""
    while SystemClock.monotonic() < until:
        try:
            await client.ended(execution_id, max(0.1, until - SystemClock.monotonic()))
        except StorageUnavailable:
            await asyncio.sleep(0.2)
        except TimeoutError:
            return
        else:
            return


def keep(ledger: Ledger, folder: Path) -> None:
    """Write down what happened, for whoever has to find out why."""
    (folder / "ledger.txt").write_text(
        "\n".join(f"{each.at:.3f} {each.pid} {each.what} {each.id} {each.step} {each.value}" for each in ledger.lines)
    )


async def records_of(client: DurableScheduler, ids: list[str]) -> dict[str, Record]:
    """Return what storage says of executions; without those that it does not know."""
    records: dict[str, Record] = {}
    for each in ids:
        try:
            found: Any = await client.status(each)
        except ExecutionNotFound:
            continue
        steps = tuple((step.name, step.result) for step in found.steps if step.status == "completed" and step.kind in KINDS)
        failed = frozenset(step.name for step in found.steps if step.errors and step.name.startswith("book"))
        records[each] = Record(str(found.status), found.result, found.reason, steps, failed)
    return records
