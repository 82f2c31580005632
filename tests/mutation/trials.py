"""Runs tests against a module: once as it is, to learn which test reaches which line, and then against each mutant.

A trial is a forked process: it gets the mutant in place of the module, no file is written, and whatever the mutant does to the
process is over with it. Only tests that reach the changed lines are run, the fastest first, up to the first that fails.
"""

import builtins
import contextlib
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import resource
import select
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import CodeType, ModuleType
from typing import NoReturn

import msgspec
import pytest
from attrs import Factory, define, frozen

from tests.mutation.mutants import probed

TESTS = ("tests/unit", "tests/contract/test_memory.py", "tests/runtime")
ELSEWHERE = ("sqlite", "postgres", "mysql")
"""Words in the names of tests that are about other backends."""
ABOUT_THE_TREE = ("test_architecture", "test_imports")
"""Tests that read the source and do not run it."""
OPTIONS = ("-p", "no:cacheprovider", "-q", "--tb=no", "--show-capture=no", "-W", "ignore::pytest.PytestAssertRewriteWarning")
MEMORY = 4 << 30
"""Bytes that a mutant may take: some never stop taking."""
LEAST = 4.0
"""Seconds that each test has at least; a mutant in which one takes longer is killed."""
LARGE = {"asyncpg", "packaging", "sqlalchemy"}
FEW = 60
"""So many tests are tried first."""
SURVIVED, NOTHING_RAN = "survived", "not reached"


class Learned(msgspec.Struct):
    """What the run without a mutant has taught."""

    reached: dict[str, dict[str, list[int]]] = msgspec.field(default_factory=dict)
    """By test, by file: the lines it runs."""
    seconds: dict[str, float] = msgspec.field(default_factory=dict)
    failed: list[str] = msgspec.field(default_factory=list)
    """Tests that fail as it is: they prove nothing, and are not run again."""
    modules: list[str] = msgspec.field(default_factory=list)
    """What they import that is not ours."""

    imported: dict[str, list[int]] = msgspec.field(default_factory=dict)
    """By file: the lines that run while it is imported, and so concern every test that reaches the file."""

    def tests_of(self, file: str, line: int) -> dict[str, float]:
        """Return the tests that reach a line, the fastest first, and their seconds; if none does, all of the file's."""
        by_test = {test: lines[file] for test, lines in self.reached.items() if lines.get(file)}
        if not by_test and file in self.imported:
            by_test = {test: [] for test in self.reached}  # a module without functions
        chosen = [test for test, lines in by_test.items() if line in lines]
        if not chosen or line in self.imported.get(file, ()):
            chosen = list(by_test)
        return {test: self.seconds[test] for test in sorted(chosen, key=self.seconds.__getitem__)}


@frozen
class Verdict:
    """What became of a mutant: how (killed, timed out, survived, not reached), by which test, and after how long."""

    how: str
    test: str
    seconds: float

    @property
    def is_killed(self) -> bool:
        """Whether the tests found it out."""
        return self.how in {"killed", "timed out"}


def learn(folder: Path, files: Sequence[str], patience: float = 900.0) -> Learned:
    """Run all tests of a tree in a process of its own and say what they reach of these files."""
    how, told = _fork(lambda say: _learn(folder, files, say), patience)
    if how != "ended":
        raise SystemExit(f"the tests {how} without any mutant after {patience:g} s")
    if not told.startswith(b"{"):
        raise SystemExit(f"the tests cannot be run: {told.decode()}")
    return msgspec.json.decode(told, type=Learned)


def preload(modules: Sequence[str]) -> None:
    """Import the large libraries among these modules, so that no trial has to. Not all: some do not bear a fork."""
    for each in modules:
        if each.partition(".")[0] in LARGE:
            with contextlib.suppress(Exception):
                importlib.import_module(each)


def attempt(folder: Path, module: str, code: Callable[[], CodeType], tests: Mapping[str, float]) -> Verdict:
    """Run tests, given with the seconds they take, against a mutant."""
    began = time.monotonic()
    if not tests:
        return Verdict(NOTHING_RAN, "", 0.0)
    how, told = _fork(lambda say: _attempt(folder, module, code, tests, say), 60.0 + 4 * sum(tests.values()))
    seconds = time.monotonic() - began
    if how != "ended":
        return Verdict("timed out" if how == "did not end" else "killed", told.decode(), seconds)
    answer = told.decode()
    return Verdict(answer, "", seconds) if answer in {SURVIVED, NOTHING_RAN} else Verdict("killed", answer, seconds)


# ---- processes --------------------------------------------------------------------------------------------------------

Say = Callable[[bytes], object]


def _fork(work: Callable[[Say], None], patience: float) -> tuple[str, bytes]:
    """Do work in a process of its own; return how it went, and what it said."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _be(work, writing)
    os.close(writing)
    told, end = b"", time.monotonic() + patience
    how = "did not end"
    with os.fdopen(reading, "rb", buffering=0) as pipe:
        while select.select([pipe], [], [], max(0.0, end - time.monotonic()))[0]:
            part = pipe.read(1 << 16)
            if not part:
                how = "ended"
                break
            told += part
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return ("crashed" if how == "ended" and not told and status else how), told


def _be(work: Callable[[Say], None], writing: int) -> NoReturn:
    """Be the process that does work."""
    try:
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nothing, stream)
        work(lambda part: os.write(writing, part))
        os._exit(0)
    except BaseException as error:  # noqa: BLE001 # whatever it is, the parent must not run on in two processes
        os.write(writing, f"{type(error).__name__}: {error}".encode())
    finally:
        os._exit(1)


def _enter(folder: Path) -> None:
    """Make a tree the one that is imported from."""
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    for name in [name for name in sys.modules if name.partition(".")[0] in {"zart", "tests"}]:
        del sys.modules[name]


# ---- the run without a mutant -----------------------------------------------------------------------------------------


@define(eq=False)
class _Watcher:
    """Notes which lines of some files each test runs."""

    learned: Learned = Factory(Learned)
    touched: set[tuple[str, int]] = Factory(set)

    @pytest.hookimpl(wrapper=True)
    def pytest_collection(self) -> Iterator[None]:
        try:
            return (yield)
        finally:
            self.learned.imported = self._by_file()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self.touched.clear()
        began = time.monotonic()
        try:
            return (yield)
        finally:
            if item.nodeid not in self.learned.failed:
                self.learned.seconds[item.nodeid] = time.monotonic() - began
                self.learned.reached[item.nodeid] = self._by_file()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.outcome != "passed":  # one that is skipped proves as little
            self.learned.failed.append(report.nodeid)

    def _by_file(self) -> dict[str, list[int]]:
        lines: dict[str, list[int]] = {}
        for file, line in sorted(self.touched):
            lines.setdefault(file, []).append(line)
        return lines


def _learn(folder: Path, files: Sequence[str], say: Say) -> None:
    _enter(folder)
    before = set(sys.modules)
    watcher = _Watcher()
    for number, file in enumerate(files):
        probe = f"_reached_{number}"
        setattr(builtins, probe, partial(_touch, watcher.touched, file))
        sys.meta_path.insert(0, _Finder(_module(file), str(folder / file), partial(_probed, folder / file, probe)))
    wanted = " and ".join(f"not {word}" for word in ELSEWHERE)
    ignored = [f"--ignore={folder}/tests/unit/{name}.py" for name in ABOUT_THE_TREE]
    status = pytest.main([*OPTIONS, *ignored, "-k", wanted, *TESTS], plugins=[watcher])
    if status not in {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED}:
        raise SystemExit(f"the tests cannot be run, exit status {status}")
    new = {name for name in sys.modules if name.partition(".")[0] not in {"zart", "tests", "conftest"}} - before
    watcher.learned.modules = sorted(name for name in new if not name.startswith("test_"))
    say(msgspec.json.encode(watcher.learned))


def _touch(touched: set[tuple[str, int]], file: str, line: int) -> None:
    touched.add((file, line))


def _probed(path: Path, probe: str) -> CodeType:
    return compile(probed(path.read_text("utf-8"), probe), str(path), "exec", dont_inherit=True)


def _module(file: str) -> str:
    return file.removesuffix(".py").replace("/", ".")


# ---- a trial ----------------------------------------------------------------------------------------------------------


class _Loader(importlib.machinery.SourceFileLoader):
    """Loads the mutant where the module is asked for."""

    code: Callable[[], CodeType]

    def get_code(self, fullname: str) -> CodeType:
        return self.code()


@define(eq=False)
class _Finder(importlib.abc.MetaPathFinder):
    """Finds one module, and in its place the mutant."""

    module: str
    path: str
    code: Callable[[], CodeType]

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self.module:
            return None
        loader = _Loader(fullname, self.path)
        loader.code = self.code
        return importlib.util.spec_from_file_location(fullname, self.path, loader=loader)


@define(eq=False)
class _Chooser:
    """Runs only some tests, in their order; notes the first that fails."""

    tests: Mapping[str, float]
    killer: str = ""
    ran: int = 0

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        by_name = {item.nodeid: item for item in items}
        items[:] = [by_name[test] for test in self.tests if test in by_name]
        for item in items:
            item.add_marker(pytest.mark.timeout(max(LEAST, 10 * self.tests[item.nodeid])))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.ran += 1
        if report.failed and not self.killer:
            self.killer = report.nodeid


def _attempt(folder: Path, module: str, code: Callable[[], CodeType], tests: Mapping[str, float], say: Say) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    _enter(folder)
    sys.meta_path.insert(0, _Finder(module, str(folder / f"{module.replace('.', '/')}.py"), code))
    sys.dont_write_bytecode = True
    for stage in stages(tests):
        chooser = _Chooser(stage)
        files = list(dict.fromkeys(test.partition("::")[0] for test in stage))
        status: int = pytest.ExitCode.TESTS_FAILED
        with contextlib.suppress(Exception):  # of what a mutant leaves behind, at the very end
            status = pytest.main([*OPTIONS, "-x", *files], plugins=[chooser])
        if status in {pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED}:
            say((chooser.killer or "the tests cannot be collected, or do not end well").encode())
            return
        if status != pytest.ExitCode.OK or not chooser.ran:
            say(NOTHING_RAN.encode())
            return
    say(SURVIVED.encode())


def stages(tests: Mapping[str, float]) -> Iterator[Mapping[str, float]]:
    """Yield tests in two parts: first some of one file, since most mutants die early and collecting all files takes long."""
    by_file = Counter(test.partition("::")[0] for test in list(tests)[: 3 * FEW])
    richest = max(by_file, key=by_file.__getitem__)
    first = [test for test in tests if test.startswith(f"{richest}::")][:FEW]
    yield {test: tests[test] for test in first}
    if rest := {test: seconds for test, seconds in tests.items() if test not in first}:
        yield rest
