"""What users write checks as it should, with mypy and with pyright: their own code is clean, and their mistakes are found.

`accepted` holds code without a mistake, with the types that must be inferred. `refused` holds mistakes: each line with one is
marked, and both checkers complain about a mark that they do not need. So "no errors" says that all was found, and nothing else.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
TOOLS = Path(sys.executable).parent
PLANTED = '''"""A mistake without a mark, and a mark without a mistake."""
# pyright: reportUnnecessaryTypeIgnoreComment=true
from zart import DurableScheduler, zart_durable


@zart_durable()
async def tick() -> int:
    """Take nothing."""
    return 1


async def client(client: DurableScheduler) -> None:
    """Use the client."""
    print(await client.wait_for(tick, 3, "1s"))
    print(await client.wait_for(tick, "x", "1s"))  # type: ignore[arg-type]
'''


def mypy(*paths: Path) -> list[str]:
    """Return what mypy complains of."""
    command = [sys.executable, "-m", "mypy", "--no-pretty", "--hide-error-context", "--no-error-summary", *map(str, paths)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode < 2, done.stdout + done.stderr  # more than errors in the code
    # The package's own mistakes are found by `make check`.
    return [line for line in done.stdout.splitlines() if ": error: " in line and not line.startswith("zart/")]


def pyright(*paths: Path) -> list[str]:
    """Return what pyright complains of."""
    # It looks for the project's packages with the python that comes first on the path.
    env = {**os.environ, "PATH": f"{TOOLS}{os.pathsep}{os.environ['PATH']}"}
    command = [str(TOOLS / "pyright"), "--outputjson", *map(str, paths)]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    found = json.loads(done.stdout)
    assert found["summary"]["filesAnalyzed"] > 0
    return [f"{each['file']}:{each['range']['start']['line'] + 1}: {each['message']}" for each in found["generalDiagnostics"]]


CHECKERS = {"mypy": mypy, "pyright": pyright}


@pytest.mark.timeout(180)  # a checker reads the whole package, perhaps on a busy machine
@pytest.mark.parametrize("checker", CHECKERS)
def test_what_users_write_checks_and_their_mistakes_are_found(checker: str) -> None:
    assert not CHECKERS[checker](HERE / "accepted", HERE / "refused")


@pytest.mark.timeout(180)
@pytest.mark.parametrize("checker", CHECKERS)
def test_a_mistake_without_a_mark_and_a_mark_without_a_mistake_are_both_told(checker: str, tmp_path: Path) -> None:
    planted = tmp_path / "planted.py"
    planted.write_text(PLANTED)
    told = CHECKERS[checker](planted)
    assert {line for line in (14, 15) for each in told if f"planted.py:{line}: " in each} == {14, 15}, told
