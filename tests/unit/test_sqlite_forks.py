"""What a forked child may do with a SQLite file: everything if it was closed at the fork, nothing if it was open."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import zart
from zart.schedulers import connect
from zart.schedulers.sqlite import forks
from zart.testing.contract.scene import new

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(zart.__file__).parents[1])}

PREAMBLE = """
import asyncio, os, sys, traceback
from datetime import timedelta
from zart.errors import StorageUnavailable
from zart.schedulers import connect
from zart.schedulers.sqlite import SqliteScheduler
from zart.testing.contract.scene import beat, demand, event, new
from zart.records import Query

url = "sqlite:///" + sys.argv[1]

def in_child(main):
    # Flushed, else the child says it again.
    sys.stdout.flush()
    child = os.fork()
    if not child:
        try:
            asyncio.run(main())
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        sys.stdout.flush()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, "the child failed"

async def stored(scheduler):
    return sorted(each.id for each in (await scheduler.find(Query())).executions)
"""

OPEN = """
loop = asyncio.new_event_loop()
scheduler = connect(url)
loop.run_until_complete(scheduler.__aenter__())
loop.run_until_complete(scheduler.start([new("before")]))

async def child():
    calls = {
        "start": lambda: scheduler.start([new("child")]),
        "beat": lambda: scheduler.beat(beat(register=True)),
        "claim": lambda: scheduler.claim(demand()),
        "deliver": lambda: scheduler.deliver([event()]),
        "cancel": lambda: scheduler.cancel(["before"]),
        "wait": lambda: scheduler.wait(demand(), timedelta(seconds=9)),
        "get": lambda: scheduler.get("before"),
        "history": lambda: scheduler.history("before"),
        "find": lambda: scheduler.find(Query()),
        "count": lambda: scheduler.count(Query()),
        "migrate": lambda: scheduler.migrate(),
        "schema_version": lambda: scheduler.schema_version(),
        "open": lambda: scheduler.__aenter__(),
        "another": lambda: connect(url).__aenter__(),
        "another's migrate": lambda: SqliteScheduler(sys.argv[1]).migrate(),
    }
    for name, call in calls.items():
        try:
            await call()
        except StorageUnavailable as error:
            assert "close the scheduler before the fork and connect in the child" in str(error), (name, error)
            print(name, "refused")
    await scheduler.__aexit__(None, None, None)
    async with connect(url + ".other") as other:
        await other.start([new("elsewhere")])

in_child(child)
loop.run_until_complete(scheduler.start([new("after")]))
print(loop.run_until_complete(stored(scheduler)))
loop.run_until_complete(scheduler.__aexit__(None, None, None))
"""

CLOSED = """
unopened, closed, failed = connect(url), connect(url), SqliteScheduler(sys.argv[1] + "/no/folder")

async def parent():
    async with closed:
        await closed.start([new("before")])
    try:
        await failed.__aenter__()
    except StorageUnavailable:
        pass

async def child():
    for name, scheduler in (("unopened", unopened), ("closed", closed), ("new", connect(url))):
        async with scheduler:
            await scheduler.start([new(name)])
    try:
        await failed.__aenter__()
    except StorageUnavailable as error:
        assert "fork" not in str(error), error

asyncio.run(parent())
in_child(child)

async def after():
    async with closed:
        print(await stored(closed))

asyncio.run(after())
"""


def run(code, *arguments):
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", PREAMBLE + code, *map(str, arguments)]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=40, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_in_a_child_of_one_that_had_it_open_everything_says_what_to_do(tmp_path):
    *refused, stored = run(OPEN, tmp_path / "zart.db")
    assert [line.removesuffix(" refused") for line in refused] == [
        *("start", "beat", "claim", "deliver", "cancel", "wait", "get", "history", "find", "count", "migrate"),
        *("schema_version", "open", "another", "another's migrate"),
    ]
    assert stored == "['after', 'before']"


def test_what_was_closed_at_the_fork_is_opened_in_the_child(tmp_path):
    assert run(CLOSED, tmp_path / "zart.db") == ["['before', 'closed', 'new', 'unopened']"]


async def test_no_file_is_taken_for_open_that_is_not(tmp_path):
    async with connect(f"sqlite:///{tmp_path}/zart.db") as one, connect(f"sqlite:///{tmp_path}/zart.db") as other:
        assert len(forks._OPEN) == 2
        await one.start([new("a")])
        assert await other.get("a") is not None
    assert not forks._OPEN
