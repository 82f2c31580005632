"""`make model`: searches all states of the model, then plants one mistake after the other and sees each refuted.

It needs `spin` and a C compiler (on Debian and Ubuntu: `apt-get install spin gcc`), and writes into a temporary folder only.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from attrs import frozen

MODEL = Path(__file__).parent / "claims.pml"
JOBS = 2
"""Searches at a time."""
MEGABYTES = 2000
"""What one search may take."""
PATIENCE = 600
"""Seconds for one search."""
OPTIONS = ("-O1", "-w", "-DCOLLAPSE", f"-DMEMLIM={MEGABYTES}", "-DVECTORSZ=2048")
SAFETY = "what must never happen, never happens"
LIVENESS = "every execution ends while one worker lives"


@frozen
class World:
    """How large a model is searched, and for what."""

    name: str
    sizes: tuple[str, ...]
    promise: str = SAFETY

    @property
    def defines(self) -> list[str]:
        """What Spin is told."""
        alive = ("LIVENESS", "PASSIVE") if self.promise == LIVENESS else ()
        return [f"-D{each}" for each in (*self.sizes, *alive)]


@frozen
class Mutant:
    """A rule that is broken, and the worlds of which one must show the harm."""

    name: str
    rule: str
    worlds: tuple[World, ...]


@frozen
class Found:
    """What a search came to."""

    complete: bool
    error: str
    states: int
    megabytes: float
    seconds: float


TWO = World("two workers, two executions", ("WORKERS=2", "EXECUTIONS=2", "TROUBLE=1"))
STEP = World("two workers, a step and a timed wait", ("WORKERS=2", "EXECUTIONS=1", "TROUBLE=2"))
WAITS = World("two workers, two waits", ("WORKERS=2", "EXECUTIONS=1", "TIMED_ONE=9", "TROUBLE=2"))
THREE = World("three workers, a step and a timed wait", ("WORKERS=3", "EXECUTIONS=1", "TROUBLE=1"))
BEATS = World("beats take time, two waits", ("WORKERS=2", "EXECUTIONS=1", "TIMED_ONE=9", "TROUBLE=1", "SLOW_BEATS"))
ENDS = World("two workers, two executions", ("WORKERS=2", "EXECUTIONS=2", "TROUBLE=1"), LIVENESS)
LONE = World("two workers, a step and a timed wait", ("WORKERS=2", "EXECUTIONS=1", "TROUBLE=2"), LIVENESS)
HANDS = World("beats take time, a step and a timed wait", ("WORKERS=2", "EXECUTIONS=1", "TROUBLE=1", "SLOW_BEATS"), LIVENESS)

HARM = {
    "owner[e]==w": "somebody writes who does not hold it",
    "finisher[e]": "a worker is told that it has finished what it has not",
    "records[": "an outcome is lost or replaced",
    "owner[e]==255": "it is handed to a second worker",
    "mail[e]>known[e]": "it waits beside an event that it has never seen",
    "value==100": "a wait times out although its event has come",
    "status[e]==2": "what has ended goes on",
    "mail[e]==(n-1)": "an event is recorded twice",
    "buried[w]": "a dead worker lives",
    "held[w]==": "a living worker loses what it runs",
    "acceptance cycle": "an execution never ends",
}
"""What a counterexample shows, by what is in Spin's words."""

WORLDS = (TWO, STEP, WAITS, THREE, BEATS, LONE, HANDS, ENDS)
MUTANTS = (
    Mutant("NO_FENCE_CHECK", "a commit's fence is not compared (3)", (STEP,)),
    Mutant("CLAIM_KEEPS_FENCE", "a claim does not raise the fence (2)", (STEP, WAITS)),
    Mutant("TAKEOVER_KEEPS_FENCE", "a takeover does not raise the fence (7)", (STEP, WAITS)),
    Mutant("CANCEL_KEEPS_FENCE", "a cancel does not raise the fence (6)", (STEP, WAITS)),
    Mutant("CLAIM_LEAVES_DUE", "what is claimed stays due (2)", (STEP,)),
    Mutant("END_LEAVES_DUE", "what has ended stays due (3, 6)", (STEP,)),
    Mutant("PARK_IGNORES_MAIL", "it parks although the mailbox has grown (4)", (WAITS,)),
    Mutant("TIMEOUT_IGNORES_MAIL", "it times out although the mailbox has grown (4)", (STEP,)),
    Mutant("SEEN_IS_THE_COUNTER", "a claim says it has seen mail that it does not carry (2)", (WAITS,)),
    Mutant("EVENT_WAKES_NOBODY", "an event does not make a waiting execution due (5)", (WAITS,)),
    Mutant("DUPLICATE_IS_NEW", "an event that is sent again is another one (5)", (WAITS,)),
    Mutant("BEAT_REVIVES", "a beat brings a dead worker back (7)", (STEP,)),
    Mutant("EXPIRY_WITHOUT_LEASE", "a worker is declared dead while its lease holds (7)", (LONE,)),
    Mutant("NO_TAKEOVER", "what a dead worker held stays with it (7)", (LONE,)),
    Mutant("NO_HAND_BACK", "a claim whose reply was lost stays with its worker (7, 10)", (LONE,)),
    Mutant("HAND_BACK_WHAT_IS_NEW", "what was claimed after the beat was sent is handed back too (7)", (BEATS,)),
)


def search(world: World, *breaks: str) -> Found:
    """Search all states of a world, or up to the first that shows something wrong."""
    with tempfile.TemporaryDirectory(prefix="zart-model-") as name:
        return search_in(Path(name), world, *breaks)


def search_in(folder: Path, world: World, *breaks: str) -> Found:
    """Search in a folder of its own."""
    began = time.monotonic()
    run("spin", "-a", *world.defines, *(f"-D{each}" for each in breaks), str(MODEL), folder=folder)
    lively = world.promise == LIVENESS
    run("cc", *OPTIONS, "-DNFAIR=4" if lively else "-DSAFETY", "-o", "pan", "pan.c", folder=folder)
    how = ("-a", "-f") if lively else ("-E",)  # -E: that all wait for what never comes is no error in itself
    told = run("./pan", "-m1000000", "-w23", *how, folder=folder)
    found = re.search(r"^pan:\d+: (.*?) \(at depth", told, re.MULTILINE)
    error = "" if found is None else found[1]
    states, megabytes = re.search(r"(\d+) states, stored", told), re.search(r"([\d.]+)\s+total actual memory", told)
    complete = "errors: 0" in told and not re.search(r"Search not completed|max search depth too small|out of memory", told)
    return Found(
        complete,
        error,
        int(states[1]) if states else 0,
        float(megabytes[1]) if megabytes else 0.0,
        time.monotonic() - began,
    )


def run(*command: str, folder: Path) -> str:
    """Run a program in a folder and return what it prints."""
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE, check=False)  # noqa: S603 # constants
    except subprocess.TimeoutExpired:
        return f"Search not completed within {PATIENCE} s"
    if done.returncode and command[0] != "./pan":
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def in_words(error: str) -> str:
    """Say what a counterexample shows."""
    return next((harm for sign, harm in HARM.items() if sign in error), error)


def refute(mutant: Mutant) -> Found | None:
    """Return the first counterexample to a mutant, None if there is none."""
    return next((found for world in mutant.worlds if (found := search(world, mutant.name)).error), None)


def main() -> int:
    """Search everything; return 1 when the model is wrong, or too large to be searched, or a mutant is not refuted."""
    argparse.ArgumentParser(prog="python -m models", description=__doc__).parse_args()
    missing = [each for each in ("spin", "cc") if shutil.which(each) is None]
    if missing:
        sys.stderr.write(f"The model needs {' and '.join(missing)}. On Debian and Ubuntu: apt-get install spin gcc\n")
        return 2
    wrong = 0
    with ThreadPoolExecutor(JOBS) as pool:
        say("The protocol as it is: all states are searched.\n")
        for world, found in zip(WORLDS, pool.map(search, WORLDS), strict=True):
            holds = found.complete and not found.error
            wrong += not holds
            what = "holds " if holds else in_words(found.error) if found.error else "NOT SEARCHED TO THE END"
            size = f"{found.states:,} states, {found.megabytes:.0f} MB, {found.seconds:.0f} s"
            say(f"{what:7} {world.promise}: {world.name}; {size}")
        say("\nOne rule broken at a time: each must show its harm.\n")
        for mutant, refuted in zip(MUTANTS, pool.map(refute, MUTANTS), strict=True):
            wrong += refuted is None
            what, harm = ("NOT REFUTED", "") if refuted is None else ("refuted", in_words(refuted.error))
            say(f"{what:7} {mutant.name}: {mutant.rule}\n        {harm}")
    say(f"\n{len(WORLDS)} searches, {len(MUTANTS)} mutants, {wrong} of them not as they must be")
    return int(wrong > 0)


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
