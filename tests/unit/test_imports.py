"""What is not loaded before it is needed: SQLAlchemy takes longer to import than all of Zart. (asyncpg takes 15 ms.)"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import zart

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(zart.__file__).parents[1])}

LOADED = """
import sys
print(*sorted({"sqlalchemy", "aiosqlite", "uvloop"} & sys.modules.keys()))
"""

HELP = """
from zart.cli import main
import sys
sys.argv = ["zart", "--help"]
try:
    main()
except SystemExit as end:
    assert not end.code
"""

WORK = """
import asyncio, sys
import zart

class Greets(zart.TaskHandler[str, str]):
    def __init__(self):
        self.done = asyncio.Event()

    async def run(self, ctx, data):
        await ctx.step("greet", self.greet)
        return data

    async def greet(self):
        self.done.set()

async def main():
    greets = Greets()
    async with zart.connect("sqlite:///" + sys.argv[1]) as storage, zart.Worker(storage, [greets]):
        await zart.DurableScheduler(storage).start_for(greets, "x", "world")
        await greets.done.wait()

asyncio.run(main())
"""

READ = """
import asyncio, sys
import zart

async def main():
    async with zart.connect("sqlite:///" + sys.argv[1]) as storage:
        assert await storage.get("x") is None

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("code", "loaded"),
    [
        pytest.param("import zart", "", id="import zart"),
        pytest.param(HELP, "", id="zart --help"),
        pytest.param(WORK, "", id="starting and working on SQLite"),
        pytest.param(READ, "sqlalchemy", id="reading from SQLite"),
    ],
)
def test_what_is_loaded(tmp_path, code, loaded):
    command = [sys.executable, "-c", code + LOADED, str(tmp_path / "zart.db")]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=40, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == loaded
