"""Many simulations taken together: what did not hold, and whether every fault has really hit."""

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any, Self

from attrs import Factory, define

from zart.testing.simulation.simulation import Report, simulate

FAULTS = (
    "process killed",
    "process paused",
    "process cut off",
    "process struck at a call",
    "worker told to stop",
    "storage down",
    "storage clock put back",
    "storage clock put forward",
    "slow message",
    *(f"request lost: {name}" for name in ("start", "beat", "claim", "commit", "deliver", "cancel", "get")),
    *(f"reply lost: {name}" for name in ("start", "beat", "claim", "commit", "deliver", "cancel", "get")),
    "request met an outage",
    "request arrived after its caller gave up",
    "request arrived after its sender died",
    "request arrived while its sender was paused",
    "reply after its caller gave up",
    "hint lost",
    "hint late",
    "start repeated",
    "letter sent twice",
    "execution cancelled",
)
"""What is done to the engine."""
EFFECTS = (
    "worker could not start",
    "worker declared dead",
    "taken from its worker",
    "stale write refused",
    "repeated move",
    "withheld timeout",
    "function started under an old fence",
)
"""What the engine had to do about it."""
ENOUGH = 300
"""From so many seeds on, a fault that never hit makes the result worthless."""
CALM_EVERY = 5
"""Every so many seeds are run a second time with nothing going wrong."""


@define
class Tally:
    """What a number of seeds came to."""

    runs: int = 0
    seconds: float = 0.0
    """Virtual time that went by."""
    callbacks: int = 0
    hits: Counter[str] = Factory(Counter)
    ends: Counter[str] = Factory(Counter)
    violations: dict[str, list[str]] = Factory(dict)
    """By seed; a calm run's has the word behind it."""

    def add(self, report: Report) -> None:
        """Count a report."""
        self.runs += 1
        self.seconds += report.seconds
        self.callbacks += report.callbacks
        self.hits += report.hits
        self.ends += report.ends
        if report.violations:
            self.violations[f"{report.seed} calm" if report.calm else str(report.seed)] = report.violations

    def merge(self, other: Self) -> None:
        """Count what another has counted."""
        self.runs += other.runs
        self.seconds += other.seconds
        self.callbacks += other.callbacks
        self.hits += other.hits
        self.ends += other.ends
        self.violations |= other.violations

    @property
    def misses(self) -> list[str]:
        """The faults that never hit, when so many seeds were run that each must have."""
        return [fault for fault in (*FAULTS, *EFFECTS) if not self.hits[fault]] if self.runs >= ENOUGH else []

    def dumps(self) -> str:
        """Return it as one line of text."""
        told: dict[str, Any] = {
            "runs": self.runs,
            "seconds": self.seconds,
            "callbacks": self.callbacks,
            "hits": self.hits,
            "ends": self.ends,
            "violations": self.violations,
        }
        return json.dumps(told)

    @classmethod
    def loads(cls, text: str) -> Self:
        """Return what `dumps` has written."""
        told = json.loads(text)
        return cls(
            told["runs"],
            told["seconds"],
            told["callbacks"],
            Counter(told["hits"]),
            Counter(told["ends"]),
            told["violations"],
        )

    def table(self) -> str:
        """Return it for people."""
        lines = [f"{self.runs} runs, {self.seconds / 3600:.1f} virtual hours, {self.callbacks} callbacks", "", "executions"]
        lines += [f"  {count:9} {end}" for end, count in sorted(self.ends.items())]
        lines += ["", "faults"]
        lines += [f"  {self.hits[fault]:9} {fault}" for fault in FAULTS]
        lines += ["", "seen by the engine"]
        lines += [f"  {self.hits[effect]:9} {effect}" for effect in EFFECTS]
        lines += ["", f"seeds with violations: {len(self.violations)}"]
        for seed, found in self.violations.items():
            lines += [f"  seed {seed}: {violation}" for violation in found[:3]]
        lines += [f"  never hit: {fault}" for fault in self.misses]
        return "\n".join(lines)


def tally(seeds: Iterable[int]) -> Tally:
    """Run seeds, every few of them also calm."""
    counted = Tally()
    for seed in seeds:
        counted.add(simulate(seed))
        if seed % CALM_EVERY == 0:
            counted.add(simulate(seed, calm=True))
    return counted
