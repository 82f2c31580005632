"""What the engine tells about its work to whoever watches: the testing kit, and later telemetry."""

from typing import Any, Protocol


class Observer(Protocol):
    """Told of every call of a step's function and of every outcome handed to a body. Must not raise."""

    def step_started(self, execution_id: str, name: str, attempt: int) -> None:
        """A step's function is about to be called; `attempt` counts from 1."""
        ...

    def handed_over(self, execution_id: str, name: str, value: Any) -> None:
        """An outcome reaches the body: its value, or the exception that it raises."""
        ...


class Unobserved:
    """Nobody watches."""

    def step_started(self, execution_id: str, name: str, attempt: int) -> None:
        """Do nothing."""

    def handed_over(self, execution_id: str, name: str, value: Any) -> None:
        """Do nothing."""
