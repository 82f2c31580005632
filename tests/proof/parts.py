"""One attempt to refute what is promised: a command, what it needs, and what came of it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from attrs import field, frozen

from zart.clock import SystemClock

ROOT = Path(__file__).parents[2]
PROVEN, FAILED, OPEN = "proven", "FAILED", "NOT PROVEN"


@frozen
class Verdict:
    """What came of a part."""

    name: str
    how: str
    seconds: float
    said: str

    def __str__(self) -> str:
        """One line for people."""
        return f"{self.how:10}  {self.name:12} {self.seconds / 60:6.1f} min  {self.said}"


@frozen
class Part:
    """One of them."""

    name: str
    about: str
    command: tuple[str, ...]
    tools: Mapping[str, str] = field(factory=dict)
    """The programs it needs, any of those that are parted by bars, and what to do about one that is missing."""
    first: tuple[str, ...] = ()
    """What makes ready for it; where that fails it cannot be done here."""
    otherwise: str = ""
    """What to do then."""
    more: Mapping[str, str] = field(factory=dict)
    """What its environment has beside the usual."""
    invalid: int | None = None
    """Its exit status when it found nothing, but did not really look either."""

    def attempt(self, folder: Path) -> Verdict:
        """Run it, keep what it prints, and say what came of it."""
        missing = [mend for program, mend in self.tools.items() if not any(map(shutil.which, program.split("|")))]
        if missing:
            return Verdict(self.name, OPEN, 0.0, "; ".join(missing))
        began, file = SystemClock.monotonic(), folder / f"{self.name}.txt"
        environment = os.environ | self.more
        with file.open("wb") as output:
            if self.first and subprocess.run(self.first, cwd=ROOT, check=False, stdout=output, stderr=output).returncode:
                return Verdict(self.name, OPEN, SystemClock.monotonic() - began, self.otherwise)
            code = subprocess.run(
                self.command, cwd=ROOT, check=False, stdout=output, stderr=output, stdin=subprocess.DEVNULL, env=environment
            ).returncode
        how = PROVEN if code == 0 else OPEN if code == self.invalid else FAILED
        said = last_line(file) if how != FAILED else f"{last_line(file)} (all of it: {file.relative_to(ROOT)})"
        return Verdict(self.name, how, SystemClock.monotonic() - began, said)


def last_line(file: Path) -> str:
    """Return the last line that says anything."""
    lines = [line.strip(" =") for line in file.read_text("utf-8", "replace").splitlines()]
    return next((line for line in reversed(lines) if line), "it said nothing")


def parts(minutes: float, seeds: int, stories: int, mutants: int) -> list[Part]:
    """Return all of them, the quick ones first."""
    python = sys.executable
    return [
        Part("conformance", "one scenario for each clause, on every backend", (python, "-m", "tests.conformance")),
        Part(
            "differential",
            "the same random stories on all backends",
            (python, "-m", "pytest", "--quiet", "-p", "no:cacheprovider", "tests/differential"),
            more={"ZART_STORIES": str(stories)},
        ),
        Part(
            "planted",
            "known bugs are planted, and the simulation finds each",
            (python, "-m", "zart.testing.simulation", "--planted", "--seeds", "400"),
        ),
        Part(
            "simulation",
            "the real engine through random lives on a simulated network",
            (python, "-m", "zart.testing.simulation", "--seeds", str(seeds), "--jobs", "2"),
        ),
        Part(
            "model",
            "all states of the protocol's model",
            (python, "-m", "models"),
            {"spin": "install spin (Debian, Ubuntu: apt-get install spin)", "gcc|cc": "install a C compiler, such as gcc"},
        ),
        Part(
            "mutation",
            "small mistakes are planted in the code, and the tests find them",
            (python, "-m", "tests.mutation", "--limit", str(mutants), "--results", "build/proof/mutation.json"),
        ),
        Part(
            "chaos",
            "real processes that are killed, stopped and cut off",
            (python, "-m", "tests.chaos", "--minutes", f"{minutes:g}"),
            invalid=2,
        ),
        Part(
            "audit",
            "known weaknesses of the code and of what it requires",
            ("make", "audit"),
            {"make": "install make"},
            ("make", ".audit/.installed"),
            "its tools could not be installed: it needs the network",
        ),
    ]
