"""A deterministic simulation of the real engine: workers and clients in virtual time, and everything that can go wrong.

`simulate(seed)` runs one: real workers and real clients on an in-memory storage, several simulated processes in one real one,
with lost requests, lost replies, outages, kills, pauses, clocks that disagree, late hints. A witness in the storage and a check
of the whole history say what did not hold. One seed is one run: the same seed gives the same report.
`python -m zart.testing.simulation` runs many and counts how often each fault hit; with `--planted` it catches known bugs.
"""

from zart.testing.simulation.planted import BUGS, PAIRS, Bug, Pair, hunt, planted
from zart.testing.simulation.simulation import Report, simulate
from zart.testing.simulation.tally import Tally

__all__ = ["BUGS", "PAIRS", "Bug", "Pair", "Report", "Tally", "hunt", "planted", "simulate"]
