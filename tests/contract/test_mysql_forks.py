"""A process that forks while a scheduler is open: the child opens connections of its own, the parent's are left alone."""

import asyncio
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

import zart
from zart.testing.contract.scene import read

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(zart.__file__).parents[1])}

SCRIPT = """
import asyncio, gc, os, sys, traceback, warnings
from zart.schedulers.mysql import MySqlScheduler
from zart.testing.contract.scene import new

loop = asyncio.new_event_loop()
scheduler = MySqlScheduler(sys.argv[1], prefix=sys.argv[2])
loop.run_until_complete(scheduler.__aenter__())
loop.run_until_complete(scheduler.start([new("before")]))

async def child():
    await asyncio.gather(*(scheduler.start([new(f"child-{number}")]) for number in range(20)))
    await scheduler.__aexit__(None, None, None)
    gc.collect()

pid = os.fork()
if not pid:
    try:
        asyncio.run(child())
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)

async def parent():
    for number in range(20):
        await scheduler.start([new(f"parent-{number}")])
    assert await asyncio.to_thread(os.waitpid, pid, 0) == (pid, 0), "the child failed"
    connection = await scheduler._connections.run(took)
    await scheduler.start([new("after")])
    assert await scheduler._connections.run(took) == connection, "it is the same as before the fork"

async def took(talk):
    return (await talk.ask("SELECT CONNECTION_ID()"))[0].rows

before = loop.run_until_complete(scheduler._connections.run(took))
loop.run_until_complete(parent())
assert loop.run_until_complete(scheduler._connections.run(took)) == before
loop.run_until_complete(scheduler.__aexit__(None, None, None))
loop.close()
"""


async def test_after_a_fork_both_go_on(mysql_place):
    async with mysql_place.open() as scheduler:
        command = [sys.executable, "-W", "error", "-c", SCRIPT, mysql_place.server.url, mysql_place.prefix]
        run = partial(subprocess.run, env=ENVIRONMENT, capture_output=True, text=True, timeout=40, check=False)
        done = await asyncio.to_thread(run, command)
        assert (done.returncode, [line for line in done.stderr.splitlines() if "may lose" not in line]) == (0, [])
        names = ["before", "after", *(f"{who}-{number}" for who in ("child", "parent") for number in range(20))]
        for each in names:
            assert (await read(scheduler, each)).status == "pending"
