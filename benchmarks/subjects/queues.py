"""Queues without steps: jobs are put in, and that is all that is measured of them."""

from typing import Any


class Queue:
    """What a subject of W6 refuses."""

    async def result(self, handle: Any) -> Any:
        """Refuse: a job has no result."""
        raise self._refused()

    async def send(self, handle: Any) -> None:
        """Refuse: a job waits for nothing."""
        raise self._refused()

    async def finished(self) -> int:
        """Refuse: nobody works, or a job that has ended is gone."""
        raise self._refused()

    def work(self, workload: str) -> None:
        """Refuse: a job has no steps to measure."""
        raise self._refused()

    def _refused(self) -> Exception:
        return NotImplementedError(f"{type(self).__name__} is measured in W6 only")
