"""Whether the workers of this process get at their work: what `/readyz` says."""

from attrs import define

from zart.clock import Clock
from zart.errors import ZartError

PATIENCE = 10.0
"""Seconds that a claim may be under way, or a worker that has joined may take to its first."""


@define
class _Passes:
    """How one worker's claims go."""

    began: float | None
    """When the one under way was begun, or the first one was due; None when the last one is done."""
    error: str | None = None


class Health:
    """Learns of every claim, and says what is wrong. A worker whose slots are all taken claims nothing, and is well."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._passes: dict[str, _Passes] = {}
        self._absent: str | None = None

    def joined(self, worker: str) -> None:
        """A worker has registered."""
        self._absent = None
        self._passes[worker] = _Passes(self._clock.monotonic())

    def gone(self, worker: str) -> None:
        """A worker has said goodbye, or was declared dead."""
        if self._passes.pop(worker, None) is not None and not self._passes:
            self._absent = f"worker {worker} is gone, and no other has joined"

    def claiming(self, worker: str) -> None:
        """A claim is under way."""
        if (passes := self._passes.get(worker)) is not None:
            passes.began = self._clock.monotonic()

    def claimed(self, worker: str) -> None:
        """It has succeeded."""
        if (passes := self._passes.get(worker)) is not None:
            passes.began = passes.error = None

    def failed(self, worker: str, error: Exception) -> None:
        """It has failed."""
        if (passes := self._passes.get(worker)) is not None:
            passes.began = None
            # By its kind: the text may say where the database is.
            passes.error = type(error).__name__ if isinstance(error, ZartError) else "a fault"

    def knows(self, worker: str) -> bool:
        """Whether a worker has joined and is not gone."""
        return worker in self._passes

    def problem(self) -> str | None:
        """Return what is wrong, in words that may be shown to anybody; None when nothing is, or no worker was ever here."""
        now = self._clock.monotonic()
        for worker, passes in tuple(self._passes.items()):
            if passes.error is not None:
                return f"the last claim of worker {worker} failed: {passes.error}"
            if passes.began is not None and now - passes.began > PATIENCE:
                return f"worker {worker} has waited {now - passes.began:.0f} s for a claim"
        return self._absent
