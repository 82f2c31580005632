"""A server that crashes between a claim and its holder's first save, again and again.

A claim that was answered is on the disk. When the server is back within the lease, nobody has to be given what somebody holds:
no body runs twice.
"""

import asyncio
import os
import signal
from collections import Counter
from pathlib import Path
from random import Random

from attrs import define

from tests.chaos.checkers import History, Interruption, judged
from tests.chaos.crew import Nursery
from tests.chaos.fleet import CONFIG
from tests.chaos.ground import PostgresGround
from tests.chaos.ledger import Ledger
from tests.chaos.nemesis import Tally
from tests.chaos.storm import Verdict, keep, records_of, see_end, start_all
from tests.servers.postgres import PostgresServer
from tests.servers.present import newest_postgres
from zart import DurableScheduler
from zart.clock import SystemClock

BATCH, WORKERS = 12, 3
WORDS = ["linger:1", "step:2", "book:3"]
PATIENCE = 60.0
# Who is cut off longest is not declared dead; and no beat writes the log out for the claims that it follows.
UNTROUBLED = CONFIG | {"lease": "60s", "heartbeat_interval": "20s", "poll_interval": "100ms", "max_concurrent": 2 * BATCH}
OPTIONS = {"wal_writer_delay": "10s"}


@define(eq=False)
class ClaimStorm:
    """For a number of seconds. `folder` is empty and its own."""

    name: str
    folder: Path
    nursery: Nursery
    seconds: float
    chance: Random

    async def on_postgres(self) -> Verdict:
        """Crash, and look for executions that were given to two."""
        with PostgresServer(newest_postgres(), fsync=True, options=OPTIONS) as server, Ledger(self.folder / "ledger") as ledger:
            ground = PostgresGround(server, self.name)
            await ground.prepare()
            (self.folder / "marks").mkdir()
            spec = ground.spec() | {"ledger": str(ledger.path), "config": UNTROUBLED, "marks": str(self.folder / "marks")}
            pids = [self.nursery.order(start=spec) for _ in range(WORKERS)]
            await ledger.until(lambda: len(ledger.find("ready")) == WORKERS, "the workers")
            crashes: list[Interruption] = []
            async with ground.storage() as storage:
                client = DurableScheduler(storage)
                until = SystemClock.monotonic() + self.seconds
                try:
                    while SystemClock.monotonic() < until:
                        crashes.append(await self._crash(server, client, ledger, len(crashes)))
                    ids = [line.id for line in ledger.lines if line.what == "start?"]
                    records = await records_of(client, ids)
                    bookings = await ground.bookings()
                finally:
                    for pid in pids:
                        os.kill(pid, signal.SIGKILL)
                        self.nursery.order(wait=pid)
                    keep(ledger, self.folder)
        return self._judge(History(ledger.lines, records, crashes, bookings))

    async def _crash(self, server: PostgresServer, client: DurableScheduler, ledger: Ledger, number: int) -> Interruption:
        """Start some executions, end the server when the first of them has begun, and see all of them through."""
        ids = [f"{self.name}-{number:04}-{each:02}" for each in range(BATCH)]
        lines, mark = ledger.lines, len(ledger.lines)
        await start_all(client, ledger, ids, WORDS)
        some = self.chance.randrange(1, BATCH)
        await ledger.until(lambda: sum(line.what == "begin" for line in lines[mark:]) >= some, "their first steps")
        since = SystemClock.monotonic()
        await asyncio.to_thread(server.stop)
        await asyncio.to_thread(server.start)
        crash = Interruption("server crash", since, SystemClock.monotonic())
        until = SystemClock.monotonic() + PATIENCE
        for each in ids:
            await see_end(client, each, until)
        return crash

    def _judge(self, history: History) -> Verdict:
        crashed = Tally("while a step ran")
        crashed.done = crashed.hits = len(history.interruptions)
        bodies = Counter(line.id for line in history.lines if line.what == "body")
        twice = [f"{each}: {times} times" for each, times in bodies.items() if times > 1]
        return Verdict(
            self.name,
            {"executions": len(history.records), "steps saved": sum(len(each.steps) for each in history.records.values())},
            {"crash after claim": crashed},
            judged(history) | {"bodies that ran more than once, because the server forgot who had them": twice},
        )
