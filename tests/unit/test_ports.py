"""The engine reaches time, chance and threads through its ports only, so that it can be simulated.

The checker reads the sources and follows imports with their aliases. It is a guard against slips, not against malice; what mypy
and ruff refuse anyway (names borrowed from another module's imports, getattr with a constant) it leaves to them.
"""

import ast
from pathlib import Path

import pytest
from attrs import frozen

ROOT = Path(__file__).parents[2]

TIME, CHANCE, THREADS, LOCKS = "time", "chance", "threads", "locks"

ALLOWED = {
    "zart/clock.py": {TIME: "the port to time"},
    "zart/ids.py": {CHANCE: "the port to chance"},
    "zart/spawner.py": {THREADS: "the port to threads"},
    "zart/schedulers/": {LOCKS: "a beat comes from another thread than the rest; a lock starts nothing and reads no time"},
    "zart/testing/harness.py": {TIME: "steps may wait for threads and sockets: only real time tells that they hang"},
    "zart/testing/simulation/": {
        TIME: "its clocks and its loop are virtual",
        CHANCE: "out of a seed: one number reproduces a run",
    },
    "zart/testing/clock.py": {LOCKS: "time is moved in one thread and read in others"},
}
"""A file, or a folder with a slash at its end: what it may use, and why. Edges that show people the time are listed too."""

FORBIDDEN = {
    "_random": CHANCE,
    "_thread": THREADS,
    "asyncio.sleep": TIME,
    "asyncio.threads": THREADS,
    "asyncio.timeout": TIME,
    "asyncio.timeout_at": TIME,
    "asyncio.timeouts": TIME,
    "asyncio.to_thread": THREADS,
    "asyncio.wait_for": TIME,
    "concurrent.futures": THREADS,
    "datetime.date.today": TIME,
    "datetime.datetime.now": TIME,
    "datetime.datetime.today": TIME,
    "datetime.datetime.utcnow": TIME,
    "multiprocessing": THREADS,
    "os.getrandom": CHANCE,
    "os.urandom": CHANCE,
    "random": CHANCE,
    "sched": TIME,
    "secrets": CHANCE,
    "signal.alarm": TIME,
    "signal.setitimer": TIME,
    "threading": THREADS,
    "threading.Condition": LOCKS,
    "threading.Lock": LOCKS,
    "threading.RLock": LOCKS,
    "time": TIME,
    "uuid.uuid1": CHANCE,
    "uuid.uuid4": CHANCE,
    "uuid.uuid6": CHANCE,
    "uuid.uuid7": CHANCE,
    "uuid.uuid8": CHANCE,
    "uuid_utils": CHANCE,
}
"""Modules and names by their full name, with all that lies in them; the longest entry that fits decides."""

HARMLESS_IMPORTS = {"asyncio.sleep", "threading"}
"""Not forbidden as a whole, so their uses are looked at instead."""

ATTRIBUTES = {"call_at": TIME, "call_later": TIME, "run_in_executor": THREADS, "set_default_executor": THREADS}
"""Forbidden on whatever object, unless it is called a clock: `clock.call_later` is the port."""

TIMED = {"asyncio.as_completed", "asyncio.wait"}
"""Forbidden with `timeout=`, which reads the loop's clock."""


@frozen(order=True)
class Use:
    """One use of something forbidden."""

    line: int
    what: str
    kind: str


def kind_of(name: str) -> str | None:
    """Return what sort of forbidden thing a full name is, if any."""
    while name:
        if name in FORBIDDEN:
            return FORBIDDEN[name]
        name = name.rpartition(".")[0]
    return None


class Checker(ast.NodeVisitor):
    """Collects the uses of time, chance and threads in one module."""

    def __init__(self, source: str) -> None:
        self.uses: set[Use] = set()
        self._full_names: dict[str, str] = {}
        tree = ast.parse(source)
        for node in ast.walk(tree):  # before the uses: a function may stand above the import that it uses
            self._bind(node)
        self.visit(tree)

    def _bind(self, node: ast.AST) -> None:
        if isinstance(node, ast.Import):
            for alias in node.names:
                bound = alias.asname or alias.name.partition(".")[0]
                self._full_names[bound] = alias.name if alias.asname else bound
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                self._full_names[alias.asname or alias.name] = f"{node.module}.{alias.name}"

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._imported(node, alias.name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            self._imported(node, f"{node.module}.{alias.name}")

    def visit_Attribute(self, node: ast.Attribute) -> None:
        full = self._resolve(node)
        if full is None:
            self.generic_visit(node)
        else:
            self._note(node, full)
        receiver = _last_name(node.value).lower()
        if node.attr in ATTRIBUTES and not receiver.endswith("clock"):
            self._add(node, f"{receiver}.{node.attr}", ATTRIBUTES[node.attr])
        if node.attr == "time" and receiver.endswith("loop"):
            self._add(node, f"{receiver}.time", TIME)

    def visit_Name(self, node: ast.Name) -> None:
        full = self._resolve(node)
        if full is not None:
            self._note(node, full)

    def visit_Call(self, node: ast.Call) -> None:
        full = self._resolve(node.func)
        if full == "asyncio.sleep" and [ast.dump(each) for each in node.args] == ["Constant(value=0)"]:
            return  # lets others run, and reads no clock
        if full in TIMED and any(
            key.arg == "timeout" and ast.dump(key.value) != "Constant(value=None)" for key in node.keywords
        ):
            self._add(node, f"{full}(timeout=)", TIME)
        if full == "importlib.import_module" or _last_name(node.func) == "__import__":
            for each in node.args:
                if isinstance(each, ast.Constant):
                    self._note(node, str(each.value))
        self.generic_visit(node)

    def _resolve(self, node: ast.expr) -> str | None:
        if isinstance(node, ast.Name):
            return self._full_names.get(node.id)
        if isinstance(node, ast.Attribute):
            owner = self._resolve(node.value)
            return None if owner is None else f"{owner}.{node.attr}"
        return None

    def _imported(self, node: ast.stmt, name: str) -> None:
        if name not in HARMLESS_IMPORTS:
            self._note(node, name)

    def _note(self, node: ast.stmt | ast.expr, name: str) -> None:
        kind = kind_of(name)
        if kind is not None:
            self._add(node, name, kind)

    def _add(self, node: ast.stmt | ast.expr, what: str, kind: str) -> None:
        self.uses.add(Use(node.lineno, what, kind))


def _last_name(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case ast.Call(func=function):
            return _last_name(function)
        case _:
            return ""


def sources() -> dict[str, str]:
    """Return the package's modules: path from the project's folder -> source."""
    return {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in sorted((ROOT / "zart").rglob("*.py"))}


def covers(place: str, path: str) -> bool:
    """Return whether an entry of ALLOWED speaks of this file."""
    return path.startswith(place) if place.endswith("/") else path == place


def test_nothing_but_the_ports_reaches_time_chance_or_threads() -> None:
    found = []
    for path, source in sources().items():
        allowed = {kind for place, kinds in ALLOWED.items() if covers(place, path) for kind in kinds}
        found += [f"{path}:{use.line}: {use.what}" for use in sorted(Checker(source).uses) if use.kind not in allowed]
    assert not found, "use Clock, Randomness or Spawner, or add the file to ALLOWED with a reason:\n" + "\n".join(found)


@pytest.mark.parametrize("path", [place for place in ALLOWED if not place.endswith("/")])
def test_the_allowance_of_a_file_is_needed(path: str) -> None:
    assert set(ALLOWED[path]) <= {use.kind for use in Checker((ROOT / path).read_text("utf-8")).uses}


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("import time", TIME),
        ("import time as t", TIME),
        ("from time import monotonic", TIME),
        ("from time import *", TIME),
        ("def late():\n    from time import perf_counter as tick", TIME),
        ("__import__('time').time()", TIME),
        ("import importlib\nimportlib.import_module('random')", CHANCE),
        ("import datetime\ndatetime.datetime.now()", TIME),
        ("import datetime as dt\nmade = dt.datetime.now", TIME),
        ("from datetime import datetime as D\nD.utcnow()", TIME),
        ("from datetime import date\ndate.today()", TIME),
        ("def above():\n    return datetime.now()\nfrom datetime import datetime", TIME),
        ("import asyncio\nasyncio.sleep(0.1)", TIME),
        ("import asyncio\nasyncio.sleep(delay)", TIME),
        ("from asyncio import sleep as nap\nnap(1)", TIME),
        ("import asyncio\nnap = asyncio.sleep", TIME),
        ("import asyncio\nasyncio.wait_for(it, 1)", TIME),
        ("import asyncio as aio\nasync def f():\n    async with aio.timeout(1): ...", TIME),
        ("from asyncio import timeout_at", TIME),
        ("import asyncio\nasyncio.wait(tasks, timeout=1)", TIME),
        ("self._loop.call_later(1, f)", TIME),
        ("import asyncio\nasyncio.get_running_loop().call_at(1, f)", TIME),
        ("later = loop.call_later", TIME),
        ("loop.time()", TIME),
        ("import asyncio\nasyncio.get_running_loop().time()", TIME),
        ("import random", CHANCE),
        ("from random import SystemRandom as R", CHANCE),
        ("import secrets", CHANCE),
        ("import os\nos.urandom(8)", CHANCE),
        ("from os import urandom as u", CHANCE),
        ("import uuid\nuuid.uuid4()", CHANCE),
        ("from uuid import uuid1", CHANCE),
        ("from uuid_utils.compat import uuid7", CHANCE),
        ("import threading\nthreading.Thread(target=f)", THREADS),
        ("import threading as th\nth.Timer(1, f)", THREADS),
        ("import threading\nx = threading", THREADS),
        ("from threading import Thread", THREADS),
        ("from threading import Lock", LOCKS),
        ("import threading\nlock: threading.Lock", LOCKS),
        ("import threading\nthreading.Lock.acquire", LOCKS),
        ("import concurrent.futures", THREADS),
        ("from concurrent import futures", THREADS),
        ("from concurrent.futures import ThreadPoolExecutor", THREADS),
        ("from multiprocessing import Process", THREADS),
        ("import asyncio\nasyncio.to_thread(f)", THREADS),
        ("loop.run_in_executor(None, f)", THREADS),
    ],
)
def test_the_checker_finds(source: str, kind: str) -> None:
    assert {use.kind for use in Checker(source).uses} == {kind}


@pytest.mark.parametrize(
    "source",
    [
        "import asyncio\nasyncio.sleep(0)",
        "from asyncio import sleep\nsleep(0)",
        "import asyncio\nasyncio.wait(tasks)\nasyncio.wait(tasks, timeout=None)",
        "self._clock.call_later(1, f)",
        "clock.monotonic()\nclock.now()",
        "from datetime import UTC, datetime, time, timedelta\ndatetime(2026, 1, 1, tzinfo=UTC)\ntime(1)\nmoment.time()",
        "import uuid\nuuid.UUID(int=1)\nuuid.uuid5(uuid.NAMESPACE_URL, name)",
        "import os\nos.getpid()",
        "import threading",
        "ctx.random('name')\nself.randomness.random()\nrandom = 1\ntime = 2",
        "loop.call_soon(f)\nloop.call_soon_threadsafe(f)",
    ],
)
def test_the_checker_lets_through(source: str) -> None:
    assert not Checker(source).uses


def test_the_checker_names_the_line() -> None:
    assert Checker("import os\n\nkey = os.urandom(8)\n").uses == {Use(3, "os.urandom", CHANCE)}
