"""What the engine tells about its work to whoever watches: the testing kit, and telemetry.

All else that can be known of an execution passes the storage port, and is watched there (`zart.telemetry`).
"""

from typing import Any, Protocol, runtime_checkable

TEMPLATES: set[str] = set()
"""The names of `@zart_step`s before they are filled in: what telemetry calls a step whose name has values in it."""


class Observer(Protocol):
    """Told of every call of a step's function and of every outcome handed to a body. Must not raise."""

    def step_started(self, execution_id: str, name: str, attempt: int) -> None:
        """A step's function is about to be called, by this task and in these context variables; `attempt` counts from 1."""
        ...

    def handed_over(self, execution_id: str, name: str, value: Any) -> None:
        """An outcome reaches the body: its value, or the exception that it raises."""
        ...


@runtime_checkable
class Strict(Protocol):
    """An observer that is told of mistakes as well, which are otherwise only in the log."""

    def never_awaited(self, message: str) -> None:
        """A body has made a step and thrown it away; told again on every replay."""
        ...


@runtime_checkable
class Watched(Protocol):
    """A storage that is watched, as `zart.telemetry` does it: whoever works with it has this observer, too."""

    observer: Observer | None


class Unobserved:
    """Nobody watches."""

    def step_started(self, execution_id: str, name: str, attempt: int) -> None:
        """Do nothing."""

    def handed_over(self, execution_id: str, name: str, value: Any) -> None:
        """Do nothing."""


def observer_of(storage: object) -> Observer:
    """Return whoever watches a storage, or nobody."""
    return (storage.observer if isinstance(storage, Watched) else None) or Unobserved()
