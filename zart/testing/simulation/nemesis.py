"""What goes wrong from outside: processes are killed, paused, cut off, told to stop; the storage is away; its clock jumps."""

import random
from collections.abc import Callable

from zart.clock import SECOND, pause
from zart.testing.simulation.loop import Process, SimulationLoop
from zart.testing.simulation.network import Faults, Network
from zart.testing.simulation.ports import StorageClock
from zart.testing.simulation.trace import Trace
from zart.testing.simulation.weather import Weather
from zart.testing.simulation.witness import Witness

_FEW_CALLBACKS = 150


class Nemesis:
    """Strikes by chance until the bad time is over, and then lets everybody go on."""

    def __init__(
        self,
        loop: SimulationLoop,
        weather: Weather,
        network: Network,
        clock: StorageClock,
        witness: Witness,
        trace: Trace,
        victims: Callable[[], list[Process]],
        stop: Callable[[Process], None],
    ) -> None:
        self._loop = loop
        self._weather = weather
        self._network = network
        self._clock = clock
        self._witness = witness
        self._trace = trace
        # Between two tellings of the time a fast clock runs ahead.
        witness.tolerance = round(weather.drift * (weather.longest_pause + 20) * SECOND)
        self._victims = victims
        self._stop = stop
        self._chance = random.Random(f"nemesis {weather.seed}")  # noqa: S311 # one number must reproduce a run
        self._over = False
        network.strike = self._strike_at_call

    async def rage(self) -> None:
        """Do harm, then make good what can be made good."""
        weather, chance = self._weather, self._chance
        self._network.faults = weather.faults
        blows = {
            self._kill: weather.kills,
            self._pause: weather.pauses,
            self._take_down: weather.outages,
            self._cut_off: weather.cuts,
            self._tell_to_stop: weather.stops,
            self._jump: weather.jumps,
        }
        end = self._clock.monotonic() + weather.lasts
        while self._clock.monotonic() < end:
            await pause(self._clock, chance.expovariate(1 / weather.between_strikes))
            if sum(blows.values()) > 0:
                chance.choices(list(blows), list(blows.values()))[0]()
        self.heal()

    def heal(self) -> None:
        """End all that goes wrong."""
        self._over = True
        self._network.faults = Faults()
        self._network.is_down = False
        self._network.cut_off.clear()
        for process in self._victims():
            self._loop.resume(process)
        self._trace.tell("healed")

    def kill(self, process: Process) -> None:
        """Kill a process: nothing of it ever runs again."""
        if process.alive:
            process.alive = False
            self._trace.hit("process killed", process.name)

    # ---- blows ------------------------------------------------------------------------------------------------------

    def _victim(self) -> Process | None:
        living = [process for process in self._victims() if process.alive]
        return self._chance.choice(living) if living else None

    def _kill(self) -> None:
        if (process := self._victim()) is not None:
            process.after(self._chance.randrange(_FEW_CALLBACKS), lambda: self.kill(process))

    def _pause(self) -> None:
        if (process := self._victim()) is not None:
            process.after(self._chance.randrange(_FEW_CALLBACKS), lambda: self._put_to_sleep(process))

    def _put_to_sleep(self, process: Process) -> None:
        if self._over or process.paused or not process.alive:
            return
        process.paused = True
        self._trace.hit("process paused", process.name)
        self._clock.call_later(self._chance.uniform(0.1, self._weather.longest_pause), lambda: self._loop.resume(process))

    def _strike_at_call(self, process: Process, dice: float) -> None:
        """Strike a process that has just sent something, or is about to hear the answer."""
        if self._over:
            return
        self._trace.hit("process struck at a call", process.name)
        act = (lambda: self.kill(process)) if dice < 0.5 else (lambda: self._put_to_sleep(process))
        process.after(self._chance.choice((0, 0, 1, 2, 5)), act)

    def _take_down(self) -> None:
        if not self._network.is_down:
            self._network.is_down = True
            self._trace.hit("storage down")
            self._clock.call_later(self._chance.uniform(0.1, 8), self._bring_up)

    def _bring_up(self) -> None:
        self._network.is_down = False

    def _cut_off(self) -> None:
        if (process := self._victim()) is not None:
            self._network.cut_off.add(process.name)
            self._trace.hit("process cut off", process.name)
            length = self._chance.uniform(0.5, self._weather.longest_pause)
            self._clock.call_later(length, lambda: self._network.cut_off.discard(process.name))

    def _tell_to_stop(self) -> None:
        if (process := self._victim()) is not None and not process.paused:
            self._trace.hit("worker told to stop", process.name)
            self._stop(process)

    def _jump(self) -> None:
        seconds = self._chance.choice((-20.0, -2.0, 2.0, 20.0))
        self._witness.clock_is_steady = False
        self._witness.tolerance += round(abs(seconds) * SECOND)
        self._trace.hit("storage clock put forward" if seconds > 0 else "storage clock put back")
        self._clock.jump(round(seconds * SECOND))
