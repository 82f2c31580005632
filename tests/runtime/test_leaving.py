"""A worker under plain asyncio.run leaves even when bodies, or their steps, do not end."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import zart

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(zart.__file__).parents[1])}

STUBBORN = """
import asyncio, sys
import zart

class Stubborn(zart.TaskHandler[None, None]):
    def __init__(self):
        self.stuck = asyncio.Event()
        self.hit = asyncio.Event()

    async def run(self, ctx, data):
        if sys.argv[1] == "step":
            await ctx.step("hang", self.hang)
        else:
            await self.hang()

    async def hang(self):
        while True:
            self.stuck.set()
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                self.hit.set()

async def main():
    stubborn, storage = Stubborn(), zart.InMemoryScheduler()
    worker = zart.Worker(storage, [stubborn], zart.WorkerConfig(shutdown_timeout=0))
    client = zart.DurableScheduler(storage)
    working = asyncio.create_task(worker.run())
    handle = await client.start_for(stubborn, "x", None)
    await stubborn.stuck.wait()
    if sys.argv[2] == "cancel":
        await handle.cancel()
        await stubborn.hit.wait()
        await asyncio.wait(worker.unwinding)
    worker.stop()
    await working
    print(worker.left_behind, (await handle.record()).status)

asyncio.run(main())
"""


@pytest.mark.parametrize("where", ["body", "step"])
@pytest.mark.parametrize(("ending", "status"), [("stop", "pending"), ("cancel", "cancelled")])
def test_asyncio_run_does_not_wait_for_what_never_ends(where: str, ending: str, status: str) -> None:
    command = [sys.executable, "-c", STUBBORN, where, ending]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=15, check=False)
    assert (done.returncode, done.stdout.split()) == (0, ["1", status]), done.stderr
