"""`make mutate`: plants small mistakes in the modules that promises rest on, and counts how many of them the tests find out."""

import argparse
import gc
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from random import Random
from types import CodeType

import msgspec
from attrs import frozen

from tests.mutation.mutants import Mutant, mutants_of, mutated
from tests.mutation.page import UNEXPLAINED, Count, figures, reasons, write
from tests.mutation.trials import SURVIVED, Learned, Verdict, attempt, learn, preload

ROOT = Path(__file__).parents[2]
GROUPS = {
    "replay": ("zart.replay",),
    "journal": ("zart.journal",),
    "scheduler": (
        "zart.scheduler",
        "zart.schedulers.memory",
        "zart.schedulers.ledger",
        "zart.schedulers.due",
        "zart.schedulers.hints",
    ),
    "run": ("zart.run",),
}
"""The scheduler is the one in memory: the specification of all others in code."""
ENOUGH = 85.0
"""Percent of the mutants that must be killed."""


class Outcome(msgspec.Struct, frozen=True):
    """A mutant and what became of it, as it is kept."""

    group: str
    mutant: str
    line: int
    how: str
    test: str
    seconds: float

    @property
    def is_killed(self) -> bool:
        """Whether the tests found it out."""
        return self.how in {"killed", "timed out"}


@frozen
class Task:
    """One mutant to try."""

    folder: Path
    group: str
    mutant: Mutant
    tests: dict[str, float]

    def source(self) -> Path:
        """Return where the module is."""
        return self.folder / file_of(self.mutant.module)


def main() -> int:
    """Run what the arguments say; return 1 when too many mutants survive."""
    parser = argparse.ArgumentParser("python -m tests.mutation", description=__doc__)
    parser.add_argument("--groups", nargs="+", choices=GROUPS, default=list(GROUPS), help="of modules")
    parser.add_argument("--limit", type=int, default=300, help="how many mutants of each group at most")
    parser.add_argument("--seed", type=int, default=1, help="which of them, when there are more")
    parser.add_argument("--jobs", type=int, default=2, help="how many processes share them")
    parser.add_argument("--again", action="store_true", help="try only those that survived the last time")
    parser.add_argument("--results", type=Path, default=ROOT / "build/mutation.json", help="where all outcomes are kept")
    parser.add_argument("--page", type=Path, help="write the figures into this page")
    given = parser.parse_args()
    os.nice(10)
    kept = msgspec.json.decode(given.results.read_bytes(), type=list[Outcome]) if given.results.exists() else []
    again = {each.mutant for each in kept if not each.is_killed} if given.again else None
    with tempfile.TemporaryDirectory(prefix="zart-mutation-") as name:
        folder = copied(Path(name))
        chosen = {group: choose(folder, group, given.limit, given.seed) for group in given.groups}
        outcomes = kept
        new: list[Outcome] = []
        for each in run(folder, {group: mutants for group, (_, mutants) in chosen.items()}, given.jobs, again):
            new.append(each)
            outcomes = merged(kept, new, again, given.groups)
            keep(given.results, outcomes)  # each at once: it takes long, and somebody may lose patience
    counts = [count(group, chosen[group][0], outcomes) for group in given.groups]
    survivors = {group: [each.mutant for each in of(group, outcomes) if not each.is_killed] for group in given.groups}
    report(counts, survivors)
    if given.page is not None:
        about = f"Of {datetime.now(UTC):%Y-%m-%d}, seed {given.seed}, at most {given.limit} mutants of each."
        write(given.page, figures(counts, survivors, about))
    return int(any(each.share < ENOUGH for each in counts))


def merged(kept: Sequence[Outcome], new: Sequence[Outcome], again: set[str] | None, groups: Sequence[str]) -> list[Outcome]:
    """Return all outcomes: the new ones, those of other groups, and those that were not to be tried again."""
    tried = {each.mutant for each in new}
    old = [each for each in kept if each.group not in groups or (again is not None and each.mutant not in tried)]
    return [*old, *new]


def keep(path: Path, outcomes: Sequence[Outcome]) -> None:
    """Write all outcomes into a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(outcomes)))


def copied(folder: Path) -> Path:
    """Copy what the tests need into a folder, so that nobody's edits disturb them; return the folder."""
    for part in ("zart", "tests"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    for part in ("pyproject.toml", "setup.cfg"):
        shutil.copy(ROOT / part, folder / part)
    return folder


def choose(folder: Path, group: str, limit: int, seed: int) -> tuple[int, list[Mutant]]:
    """Return how many mutants a group has, and those to try in the order of the text."""
    everything = [
        mutant for module in GROUPS[group] for mutant in mutants_of(module, (folder / file_of(module)).read_text("utf-8"))
    ]
    places = sorted(Random(f"{seed}/{group}").sample(range(len(everything)), min(limit, len(everything))))
    return len(everything), [everything[place] for place in places]


def run(folder: Path, chosen: dict[str, list[Mutant]], jobs: int, again: set[str] | None) -> Iterator[Outcome]:
    """Try mutants and tell about each."""
    files = [file_of(module) for group in chosen for module in GROUPS[group]]
    learned = learn(folder, files)
    say(f"{len(learned.reached)} tests in {sum(learned.seconds.values()):.0f} s, {len(learned.failed)} left out")
    for test in learned.failed:
        say(f"  fails or is skipped without a mutant: {test}")
    preload(learned.modules)
    for group in chosen:
        check_innocence(folder, group, learned)
    tasks = [
        Task(folder, group, each, learned.tests_of(file_of(each.module), each.line))
        for group, mutants in chosen.items()
        for each in mutants
        if again is None or each.key in again
    ]
    gc.collect()
    gc.freeze()  # what is shared with the trials stays as it is, and need not be looked at in each
    with get_context("fork").Pool(jobs) as pool:
        for number, (task, verdict) in enumerate(pool.imap(try_one, tasks), 1):
            mutant = task.mutant
            say(f"{number:4}/{len(tasks)} {verdict.how:11} {verdict.seconds:5.1f} s {mutant.line:4} {mutant.key}")
            yield Outcome(task.group, mutant.key, mutant.line, verdict.how, verdict.test, round(verdict.seconds, 1))


def check_innocence(folder: Path, group: str, learned: Learned) -> None:
    """Run a group's tests as a trial does, but without a mutant: a test that fails then would kill them all."""
    tests = {module: learned.tests_of(file_of(module), 0) for module in GROUPS[group]}
    module = max(tests, key=lambda each: len(tests[each]))
    path = folder / file_of(module)
    code = partial(compile, path.read_text("utf-8"), str(path), "exec", dont_inherit=True)
    verdict = attempt(folder, module, code, tests[module])
    if verdict.how != SURVIVED:
        raise SystemExit(f"without a mutant in {module} the tests do not pass: {verdict.how} by {verdict.test}")


def try_one(task: Task) -> tuple[Task, Verdict]:
    """Try one mutant."""
    return task, attempt(task.folder, task.mutant.module, partial(compiled, task), task.tests)


def compiled(task: Task) -> CodeType:
    """Return the code of a mutant."""
    path = task.source()
    return compile(mutated(path.read_text("utf-8"), task.mutant.number), str(path), "exec", dont_inherit=True)


def of(group: str, outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Return the outcomes of a group."""
    return [each for each in outcomes if each.group == group]


def count(group: str, possible: int, outcomes: Sequence[Outcome]) -> Count:
    """Return the figures of a group."""
    those = of(group, outcomes)
    killed = sum(each.is_killed for each in those)
    return Count(group, possible, len(those), killed, sum(each.how == "timed out" for each in those))


def report(counts: Sequence[Count], survivors: dict[str, list[str]]) -> None:
    """Print what a campaign came to."""
    why = reasons()
    for each in counts:
        say(f"\n{each.group}: {each.killed} of {each.tried} killed, {each.share:.1f} % (there are {each.possible})")
        for mutant in survivors[each.group]:
            say(f"  {mutant}\n      {why.get(mutant, UNEXPLAINED)}")


def file_of(module: str) -> str:
    """Return a module's path in the tree."""
    return f"{module.replace('.', '/')}.py"


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
