"""Where a play is played: a harness on a storage that is open already, each of whose workers has a line of its own."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from tests.conformance.language import Scenario
from tests.conformance.line import Witness, WorkerLine
from zart import Registry
from zart.spawner import ThreadSpawner
from zart.testing import Harness
from zart.worker import Worker


class _Quiet(ThreadSpawner):
    """Threads for sync steps, none for the heartbeat: plays beat by hand."""

    def loop(self, name: str, main: Callable[..., Any]) -> None:
        """Start nothing."""


class Stage(Harness):
    """A harness on a storage that is there already, each of whose workers has a line of its own."""

    def __init__(self, scenario: Scenario, play: Any, new_line: Callable[[], WorkerLine], **options: Any) -> None:
        self._new_line = new_line
        self._witness: Witness = play.witness
        self.line: WorkerLine
        super().__init__(Registry(scenario.handlers(play)), **options)

    async def replace(self) -> None:
        """Bury the worker as if killed; another begins when the lease has run out, and takes over when it next looks."""
        await self.kill()
        self.worker = self._new_worker()
        self.clock.advance(self.config.lease + timedelta(seconds=1))
        await self.worker.join()

    def _new_worker(self) -> Worker:
        self.line = self._new_line()
        return Worker(self.line, self.registry, self.config, clock=self.clock, spawner=_Quiet(), observer=self._witness)
