"""What happened in a run: a hash over every event, how often each fault hit, and what was found to be wrong."""

import hashlib
from collections import Counter, deque

from zart.testing.simulation.loop import SimulationLoop

KEPT = 4000
"""The last events, for people."""


class Violation(AssertionError):
    """An invariant does not hold; says which, of what, and what was seen."""


class Trace:
    """Remembers the events of one run. After `close` it takes no more: what is torn down then is no part of the run."""

    def __init__(self, loop: SimulationLoop) -> None:
        self._loop = loop
        self._hash = hashlib.blake2b(digest_size=16)
        self._closed = False
        self.lines: deque[str] = deque(maxlen=KEPT)
        self.hits: Counter[str] = Counter()
        """How often each fault, and each thing that is worth counting, has happened."""
        self.violations: list[str] = []

    @property
    def digest(self) -> str:
        """A hash over all events and their times."""
        return self._hash.hexdigest()

    def tell(self, event: str) -> None:
        """Take down an event."""
        if not self._closed:
            line = f"{self._loop.now / 1e6:12.6f} {event}"
            self._hash.update(line.encode(errors="surrogatepass"))
            self.lines.append(line)

    def hit(self, fault: str, about: str = "") -> None:
        """Count a fault."""
        if not self._closed:
            self.hits[fault] += 1
            self.tell(f"! {fault} {about}")

    def violated(self, invariant: str, what: str) -> None:
        """Take down that an invariant does not hold."""
        if not self._closed:
            self.violations.append(f"{invariant}: {what} (at {self._loop.now / 1e6:.3f} s)")
            self.tell(f"VIOLATION {invariant} {what}")

    def close(self) -> None:
        """Take nothing down any more."""
        self._closed = True
