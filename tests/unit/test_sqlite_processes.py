"""Several connections and processes on one SQLite file, and what is left when one of them is killed."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

import zart
from zart.clock import SECOND
from zart.records import Commit, Fate, Query
from zart.schedulers import connect
from zart.schedulers.sql.migrate import migrations
from zart.schedulers.sqlite import SqliteScheduler
from zart.testing.contract.scene import (
    commit,
    completed,
    deliver,
    demand,
    event,
    new,
    outcome,
    register,
    returns,
    running,
    waiting,
)

HOUR = timedelta(hours=1)
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(zart.__file__).parents[1])}

STORM = """
import asyncio, os, sys
from zart.records import NewExecution
from zart.schedulers import connect

async def main():
    async with connect("sqlite:///" + sys.argv[1]) as scheduler:
        async def write(lane):
            number = 0
            while True:
                name = f"{sys.argv[2]}-{lane}-{number}"
                await scheduler.start([NewExecution(name, "t", "p" * 500, name)])
                os.write(1, (name + "\\n").encode())
                number += 1
        await asyncio.gather(*(write(lane) for lane in range(8)))

asyncio.run(main())
"""

MIGRATE = """
import asyncio, sys
from zart.schedulers.sqlite import SqliteScheduler

print("ready", flush=True)
sys.stdin.readline()
asyncio.run(SqliteScheduler(sys.argv[1]).migrate())
print("done", flush=True)
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "zart.db"


@pytest.fixture
def run():
    started = []

    def run(code, *arguments):
        process = subprocess.Popen(
            [sys.executable, "-c", code, *map(str, arguments)],
            env=ENVIRONMENT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
async def pair(path):
    """Two schedulers on one file, each with connections of its own, as two processes have them."""
    async with connect(f"sqlite:///{path}") as one, connect(f"sqlite:///{path}") as other:
        yield one, other


async def wakes(scheduler, interest, happening):
    wait = asyncio.ensure_future(scheduler.wait(interest, HOUR))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not wait.done()
    await happening
    await returns(joined(wait))


async def joined(task):
    return await task


async def test_work_started_elsewhere_wakes_a_worker(pair):
    one, other = pair
    await register(one)
    await wakes(one, demand(), other.start([new()]))
    assert len(await one.claim(demand())) == 1
    assert await other.claim(demand()) == []


async def test_an_end_elsewhere_wakes_who_waits_for_it(pair):
    one, other = pair
    (claimed,) = await running(one, "a")
    await wakes(other, ["a"], commit(one, claimed, move=completed()))


async def test_a_cancel_elsewhere_wakes_the_worker_that_holds_it(pair):
    one, other = pair
    await running(one, "a")
    await wakes(one, demand(limit=0), other.cancel(["a"]))


async def test_mail_from_elsewhere_makes_a_parked_execution_due_here(pair):
    one, other = pair
    (claimed,) = await running(one, "a")
    await commit(one, claimed, move=waiting(seen=0))
    await wakes(one, demand(), deliver(other, event()))
    assert (await one.claim(demand()))[0].seen == 1


async def test_a_busy_process_still_hears_of_the_other(pair):
    one, other = pair
    (claimed,) = await running(one, "a")
    wait = asyncio.ensure_future(one.wait(["b"], HOUR))
    await other.start([new("b")])
    written = 0
    while not wait.done():
        written += 1
        await commit(one, claimed, outcome(written))
        if written == 20:
            await other.cancel(["b"])
        assert written < 5000
    await returns(joined(wait))


async def test_two_workers_never_get_the_same_execution(pair):
    await register(pair[0], "v", "w")
    await pair[0].start([new(f"x{number}") for number in range(300)])

    async def take(scheduler, worker):
        got = []
        while claims := await scheduler.claim(demand(worker, limit=7)):
            got += [each.token.execution_id for each in claims]
            fates = await scheduler.commit([Commit(each.token, [outcome(1)], 0, completed()) for each in claims])
            assert {each.fate for each in fates} == {Fate.APPLIED}
        return got

    first, second = await asyncio.gather(take(pair[0], "v"), take(pair[1], "w"))
    assert len(first) + len(second) == len({*first, *second}) == 300


async def test_a_killed_process_loses_nothing_that_it_was_told_is_written(path, run):
    await SqliteScheduler(path).migrate()
    storms = [run(STORM, path, name) for name in ("one", "two")]
    told = [[storm.stdout.readline() for _ in range(150)] for storm in storms]
    storms[0].send_signal(signal.SIGKILL)
    told[0] += storms[0].stdout.readlines()
    told[1] += [storms[1].stdout.readline() for _ in range(100)]  # the survivor goes on
    storms[1].send_signal(signal.SIGKILL)
    told[1] += storms[1].stdout.readlines()
    names = {line.decode().strip() for lines in told for line in lines if line.endswith(b"\n")}
    assert len(names) >= 400
    async with SqliteScheduler(path) as scheduler:
        await scheduler.start([new("after")])
        assert (await scheduler.count(Query())).popitem()[1] > len(names)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        stored = {name for (name,) in connection.execute("SELECT id FROM zart_executions")}
    assert names <= stored


def test_processes_that_migrate_at_once_do_it_once(path, run):
    processes = [run(MIGRATE, path) for _ in range(4)]
    for each in processes:
        assert each.stdout.readline() == b"ready\n"
    for each in processes:
        each.stdin.write(b"go\n")
        each.stdin.flush()
    for each in processes:
        out, err = each.communicate(timeout=30)
        assert out == b"done\n", err.decode()
    with closing(sqlite3.connect(path)) as connection:
        assert len(connection.execute("SELECT * FROM zart_schema").fetchall()) == len(migrations("sqlite"))


async def test_an_open_transaction_elsewhere_is_waited_for(pair, path):
    one, _ = pair
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        start = asyncio.ensure_future(one.start([new(delay=SECOND)]))
        assert await one.get("a") is None, "reading goes on"
        connection.execute("COMMIT")
        assert (await returns(joined(start)))[0].accepted
