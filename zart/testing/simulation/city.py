"""The processes of a simulation: workers that are started again whenever they are gone, and clients that are not."""

import random
from collections.abc import Callable
from typing import Any

from zart.client import DurableScheduler
from zart.clock import pause
from zart.errors import SchedulerError
from zart.records import Claim
from zart.registry import Registry
from zart.testing.simulation.customers import Customer
from zart.testing.simulation.loop import Process, SimulationLoop
from zart.testing.simulation.network import Connection, Network
from zart.testing.simulation.ports import ProcessClock, ProcessSpawner, SeededRandomness, StorageClock
from zart.testing.simulation.program import World
from zart.testing.simulation.store import WatchedScheduler
from zart.testing.simulation.trace import Trace
from zart.testing.simulation.weather import Weather
from zart.testing.simulation.witness import Witness
from zart.testing.simulation.workload import handlers
from zart.worker import Worker

_SUPERVISION = 1.0


class WorkerEyes:
    """Tells the witness what one worker's bodies do."""

    def __init__(self, witness: Witness, storage: WatchedScheduler) -> None:
        self._witness = witness
        self._storage = storage
        self.worker: Worker | None = None

    def _claim(self, execution_id: str) -> Claim | None:
        runs = [] if self.worker is None else self.worker.runs
        return next((run.claim for run in reversed(runs) if run.execution_id == execution_id), None)

    def step_started(self, execution_id: str, name: str, attempt: int) -> None:
        """A step's function is about to be called."""
        if (claim := self._claim(execution_id)) is not None:
            self._witness.step_started(claim, name, attempt)
        if self.worker is not None:
            self._witness.believed(self.worker.now(), self.worker.id)

    def handed_over(self, execution_id: str, name: str, value: Any) -> None:
        """An outcome reaches a body."""
        if (claim := self._claim(execution_id)) is not None:
            run = self._storage.stored(execution_id, claim.token.run)
            if run is not None:
                self._witness.handed_over(claim, name, value, run)


class City:
    """All processes of one simulation."""

    def __init__(
        self,
        loop: SimulationLoop,
        weather: Weather,
        storage: WatchedScheduler,
        network: Network,
        clock: StorageClock,
        witness: Witness,
        trace: Trace,
        kill: Callable[[Process], None],
    ) -> None:
        self._loop = loop
        self._weather = weather
        self._storage = storage
        self._network = network
        self._clock = clock
        self._witness = witness
        self._trace = trace
        self._chance = random.Random(f"city {weather.seed}")  # noqa: S311 # one number must reproduce a run
        self._world = World()
        self._world.crash = kill
        self._world.worked = witness.worked
        self._slots: dict[int, Process] = {}
        self._ended: set[str] = set()
        self._workers: dict[str, Worker] = {}
        self._lives = 0
        self.processes: list[Process] = []
        """All that ever lived."""
        self.customers: list[Customer] = []
        self._customers_at: dict[str, Customer] = {}

    def open(self) -> None:
        """Start everybody."""
        for slot in range(self._weather.workers):
            self._boot(slot)
        for number in range(self._weather.clients):
            self._welcome(number)
        self._loop.spawn(self._supervise(), None, "supervisor")

    def victims(self) -> list[Process]:
        """Return the processes that something may happen to."""
        return [*self._slots.values(), *(process for process in self.processes if process.name in self._customers_at)]

    def tell_to_stop(self, process: Process) -> None:
        """Send a worker the signal to stop; a client does not listen to it."""
        worker = self._workers.get(process.name)
        if worker is not None:
            worker.stop()

    def all_customers_gone(self) -> bool:
        """Whether every client has done its errands, or was killed."""
        return all(
            self._customers_at[process.name].done or not process.alive
            for process in self.processes
            if process.name in self._customers_at
        )

    # ---- inside -----------------------------------------------------------------------------------------------------

    def _process(self, name: str) -> tuple[Process, ProcessClock, SeededRandomness]:
        weather, chance = self._weather, self._chance
        process = Process(name)
        self.processes.append(process)
        skew, drift = chance.uniform(-weather.skew, weather.skew), chance.uniform(-weather.drift, weather.drift)
        clock = ProcessClock(self._loop, process, skew, drift)
        randomness = SeededRandomness(f"{weather.seed} {name}")
        self._world.clocks[name], self._world.chances[name] = clock, randomness.random
        return process, clock, randomness

    def _boot(self, slot: int) -> None:
        self._lives += 1
        process, clock, randomness = self._process(f"worker{slot}.{self._lives}")
        self._slots[slot] = process
        eyes = WorkerEyes(self._witness, self._storage)
        worker = eyes.worker = Worker(
            Connection(self._network, self._storage, process, clock),
            Registry(handlers(self._world)),
            self._weather.config,
            clock=clock,
            randomness=randomness,
            spawner=ProcessSpawner(self._loop, process, clock, randomness),
            observer=eyes,
        )
        self._workers[process.name] = worker
        self._trace.tell(f"boot {process.name} as {worker.id}")
        self._loop.spawn(self._work(process, worker), process, process.name)

    async def _work(self, process: Process, worker: Worker) -> None:
        try:
            await worker.run()
        except SchedulerError as error:
            self._trace.hit("worker could not start", f"{process.name}: {error}")
        self._ended.add(process.name)

    async def _supervise(self) -> None:
        while True:
            await pause(self._clock, _SUPERVISION * (0.5 + self._chance.random()))
            for slot, process in self._slots.items():
                if not process.alive or process.name in self._ended:
                    process.alive = False
                    self._boot(slot)

    def _welcome(self, number: int) -> None:
        process, clock, randomness = self._process(f"client{number}")
        client = DurableScheduler(Connection(self._network, self._storage, process, clock), clock=clock, randomness=randomness)
        chance = random.Random(f"{self._weather.seed} {process.name}")  # noqa: S311 # one number must reproduce a run
        customer = Customer(process.name, client, clock, chance, self._weather, self._trace)
        self.customers.append(customer)
        self._customers_at[process.name] = customer
        self._loop.spawn(customer.live(), process, process.name)
