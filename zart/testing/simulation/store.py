"""The in-memory scheduler under the eyes of a witness: every operation is one transaction, looked at before and after."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from zart.clock import Micros
from zart.records import BeatReply, Claim, Commit, Committed, Delivery, Demand, Event, NewExecution, Started, WorkerBeat
from zart.schedulers.due import Run
from zart.schedulers.ledger import Life
from zart.schedulers.memory import InMemoryScheduler
from zart.status import ExecutionStatus
from zart.testing.simulation.ports import StorageClock
from zart.testing.simulation.witness import Witness


class WatchedScheduler(InMemoryScheduler):
    """The storage of a simulation."""

    def __init__(self, clock: StorageClock, witness: Witness) -> None:
        super().__init__(clock=clock)
        self._witness = witness

    def due_in(self, interest: Demand | Collection[str]) -> Micros | None:
        """Return how long it is until something of interest; None when it is not in sight."""
        return self._due_in(interest)

    def stored(self, execution_id: str, run: int | None = None) -> Run | None:
        """Return a run as it is stored."""
        return self._find(execution_id, run)

    def stored_runs(self) -> list[Run]:
        """Return all runs, the ended ones of the same execution included."""
        return list(self._by_key.values())

    def restless(self) -> list[str]:
        """Return the executions that have not ended, with their status."""
        return [f"{run.id}/{run.run} {run.task} {run.status}" for run in self._by_key.values() if not run.status.is_terminal]

    def is_at_rest(self) -> bool:
        """Whether every execution has ended."""
        return all(run.status.is_terminal for run in self._by_key.values())

    async def start(self, new: Sequence[NewExecution]) -> Sequence[Started]:
        """Open runs."""
        answers = await super().start(new)
        self._witness.started(new, answers)
        self._look(each.id for each in new)
        return answers

    async def claim(self, demand: Demand) -> Sequence[Claim]:
        """Hand out due executions."""
        claims = await super().claim(demand)
        self._witness.claimed(demand, claims)
        self._look(claim.token.execution_id for claim in claims)
        return claims

    async def commit(self, commits: Sequence[Commit]) -> Sequence[Committed]:
        """Write what workers have to say."""
        # Each on its own, as they are one by one in a batch: so the witness sees what each of them did.
        answers: list[Committed] = []
        for each in commits:
            answers += await super().commit([each])
            run = self._by_key.get(each.token.key)
            if run is not None:
                self._witness.committed(each, answers[-1], run)
        return answers

    async def deliver(self, events: Sequence[Event]) -> Sequence[Delivery]:
        """Put events into mailboxes."""
        answers = await super().deliver(events)
        self._witness.delivered(events, answers)
        self._look(event.execution_id for event in events)
        return answers

    async def cancel(self, ids: Collection[str], run: int | None = None) -> Mapping[str, tuple[ExecutionStatus, bool]]:
        """End executions from outside."""
        answers = await super().cancel(ids, run)
        self._look(ids)
        return answers

    async def beat(self, beat: WorkerBeat) -> BeatReply:
        """Register or renew a worker, and take over from the dead."""
        running = [run.id for run in self._running.values()]
        reply = await super().beat(beat)
        dead = {name for name, worker in self._workers.items() if worker.life is Life.DEAD}
        self._witness.beaten(beat, reply, dead)
        self._look(running)
        return reply

    def _look(self, ids: Iterable[str]) -> None:
        for each in dict.fromkeys(ids):
            run = self._runs.get(each)
            if run is not None:
                self._witness.look(run)
