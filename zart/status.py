"""The states of an execution and of its steps, spelled alike on every surface."""

from enum import StrEnum


class ExecutionStatus(StrEnum):
    """Where an execution is in its life. The last three absorb everything."""

    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        """Whether nothing can change any more."""
        return self in TERMINAL


TERMINAL = frozenset({ExecutionStatus.COMPLETED, ExecutionStatus.FAILED, ExecutionStatus.CANCELLED})


class StepKind(StrEnum):
    """What sort of operation a name stands for; replay compares it."""

    STEP = "step"
    SLEEP = "sleep"
    EVENT = "event"
    CAPTURE = "capture"
    NOW = "now"
    UUID = "uuid"
    RANDOM = "random"
    BODY = "body"
    """The handler's own attempts and its failure; its name is empty."""


class Phase(StrEnum):
    """Which of the three things a step record says."""

    OPENED = "opened"
    ATTEMPT = "attempt"
    OUTCOME = "outcome"
