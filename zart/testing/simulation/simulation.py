"""One simulation: one seed, one storage, some workers and clients, a bad time and a good time, and a verdict."""

import gc
import logging
import random
import warnings
from asyncio.events import _get_running_loop
from collections import Counter

from attrs import Factory, define

from zart.clock import micros, pause
from zart.testing.simulation.city import City
from zart.testing.simulation.histories import check_calm, check_histories
from zart.testing.simulation.loop import Process, SimulationLoop, SimulationStuck
from zart.testing.simulation.nemesis import Nemesis
from zart.testing.simulation.network import Network
from zart.testing.simulation.ports import StorageClock
from zart.testing.simulation.store import WatchedScheduler
from zart.testing.simulation.trace import Trace
from zart.testing.simulation.weather import Weather, weather
from zart.testing.simulation.witness import Witness

MOST_CALLBACKS = 3_000_000
PATIENCE = 1200.0
"""Virtual seconds after the bad time within which everything must have ended."""
_GLANCE = 2.0


@define
class Report:
    """What one seed came to."""

    seed: int
    calm: bool
    digest: str
    """A hash over everything that happened; the same for the same seed."""
    violations: list[str]
    hits: Counter[str]
    """How often each fault hit, and each operation of the storage was called."""
    ends: Counter[str]
    """How many executions ended how."""
    seconds: float
    """How much virtual time went by."""
    callbacks: int
    lines: list[str] = Factory(list)
    """The last events."""


class _Complaints(logging.Handler):
    """Takes every error that the engine logs for what it is: something that must not happen."""

    def __init__(self, trace: Trace) -> None:
        super().__init__(logging.ERROR)
        self._trace = trace

    def emit(self, record: logging.LogRecord) -> None:
        """Take down an error."""
        caught = record.exc_info[1] if record.exc_info else None
        self._trace.violated("ENGINE", f"{record.getMessage()}{'' if caught is None else f': {caught!r}'}")


def simulate(seed: int, *, calm: bool = False) -> Report:
    """Run the simulation of one seed; the same seed gives the same report in every process.

    It runs in the calling thread, in virtual time, on a loop of its own: not from within a running event loop. `calm`: nothing
    goes wrong; then everything must happen once, at its time, with no more calls of the storage than needed.

    Raises:
        RuntimeError: an event loop runs in this thread.
    """
    if _get_running_loop() is not None:
        raise RuntimeError("a simulation has an event loop of its own; call simulate() from a thread in which none runs")
    drawn = weather(seed, calm=calm)
    loop = SimulationLoop()
    trace = Trace(loop)
    log = logging.getLogger("zart")
    complaints, propagated = _Complaints(trace), log.propagate
    log.addHandler(complaints)
    log.propagate = False
    # A killed process's objects must not be collected while the simulation runs: their clean-up would run, which it must not.
    gc.disable()
    gc.freeze()  # what was there before need not be looked through at the end
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # what was killed between making a coroutine and awaiting it
            report = _Simulation(drawn, loop, trace).run()
            gc.collect()
        return report
    finally:
        gc.unfreeze()
        gc.enable()
        log.removeHandler(complaints)
        log.propagate = propagated


class _Simulation:
    def __init__(self, drawn: Weather, loop: SimulationLoop, trace: Trace) -> None:
        self.weather = drawn
        self.loop = loop
        self.trace = trace
        self.clock = StorageClock(loop)
        self.witness = Witness(self.clock, trace)
        self.witness.calm = drawn.calm
        self.witness.lease = micros(drawn.config.lease)
        self.witness.most_crashes = drawn.config.max_crashes
        self.storage = WatchedScheduler(self.clock, self.witness)
        chance = random.Random(f"network {drawn.seed}")  # noqa: S311 # one number must reproduce a run
        self.network = Network(loop, self.storage, trace, chance)
        self.city = City(loop, drawn, self.storage, self.network, self.clock, self.witness, trace, self._kill)
        self.nemesis = Nemesis(
            loop, drawn, self.network, self.clock, self.witness, trace, self.city.victims, self.city.tell_to_stop
        )

    def run(self) -> Report:
        try:
            self.loop.play(self._story(), MOST_CALLBACKS)
        except SimulationStuck as stuck:
            self.trace.violated("I6", str(stuck))
        for fault in self.loop.faults:
            self.trace.violated("ENGINE", fault)
        ends = check_histories(self.storage, self.witness, self.city.customers, self.weather, self.trace)
        if self.weather.calm:
            check_calm(self.storage, self.witness, self.city.customers, self.weather, self.trace)
        self.trace.close()
        self.loop.bury(self.city.processes)
        report = Report(
            self.weather.seed,
            self.weather.calm,
            self.trace.digest,
            list(self.trace.violations),
            self.trace.hits,
            ends,
            self.loop.time(),
            self.loop.callbacks,
            list(self.trace.lines),
        )
        self.loop.close()
        return report

    def _kill(self, process: Process) -> None:
        self.nemesis.kill(process)

    async def _story(self) -> None:
        self.city.open()
        if not self.weather.calm:
            await self.nemesis.rage()
        end = self.clock.monotonic() + PATIENCE
        while not (self.city.all_customers_gone() and self.storage.is_at_rest()):
            if self.clock.monotonic() > end:
                left = ", ".join(self.storage.restless())
                self.trace.violated("I6", f"{PATIENCE:g} s after the last fault these have not ended: {left or 'clients'}")
                return
            await pause(self.clock, _GLANCE)
