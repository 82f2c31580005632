"""Durable execution for Python: ordinary async code whose every step is saved in the database you already run."""

from zart.client import DurableScheduler, ExecutionHandle, ScheduleResult
from zart.config import WorkerConfig
from zart.context import StepHandle, TaskContext
from zart.errors import (
    BodyFailure,
    DeadlineExceeded,
    DeserializationError,
    DuplicateStepName,
    EventTimeout,
    ExecutionAlreadyExists,
    ExecutionCancelled,
    ExecutionFailed,
    ExecutionFailure,
    ExecutionFinished,
    ExecutionNotFound,
    IdempotencyMismatch,
    InsideStep,
    MaxRetriesExhausted,
    NoActiveExecution,
    NonDeterminism,
    NonRetryable,
    NotSupported,
    PayloadTooLarge,
    RetriesExhausted,
    RetryAfter,
    RetryExhausted,
    SchedulerError,
    SchemaMismatch,
    StepError,
    StepFailed,
    StepFailure,
    StepTimedOut,
    StorageUnavailable,
    TaskCancelled,
    TaskError,
    TaskTimeout,
    UndeclaredType,
    UnknownTask,
    WaitTimedOut,
    ZartError,
)
from zart.functions import context
from zart.handler import TaskHandler
from zart.operations import ExecutionInfo
from zart.outcome import BusinessErr, Ok, StepOutcome, ZartErr
from zart.records import Delivery
from zart.registry import Registry
from zart.report import DurableExecutionStatus, StepStatusInfo, Waiting
from zart.retry import RetryConfig
from zart.scheduler import Inspector, Scheduler
from zart.schedulers import connect
from zart.schedulers.memory import InMemoryScheduler
from zart.schedulers.sqlite import SqliteScheduler
from zart.status import ExecutionStatus
from zart.steps import Step, ZartStep
from zart.worker import Worker

__all__ = [
    "BodyFailure",
    "BusinessErr",
    "DeadlineExceeded",
    "Delivery",
    "DeserializationError",
    "DuplicateStepName",
    "DurableExecutionStatus",
    "DurableScheduler",
    "EventTimeout",
    "ExecutionAlreadyExists",
    "ExecutionCancelled",
    "ExecutionFailed",
    "ExecutionFailure",
    "ExecutionFinished",
    "ExecutionHandle",
    "ExecutionInfo",
    "ExecutionNotFound",
    "ExecutionStatus",
    "IdempotencyMismatch",
    "InMemoryScheduler",
    "InsideStep",
    "Inspector",
    "MaxRetriesExhausted",
    "NoActiveExecution",
    "NonDeterminism",
    "NonRetryable",
    "NotSupported",
    "Ok",
    "PayloadTooLarge",
    "Registry",
    "RetriesExhausted",
    "RetryAfter",
    "RetryConfig",
    "RetryExhausted",
    "ScheduleResult",
    "Scheduler",
    "SchedulerError",
    "SchemaMismatch",
    "SqliteScheduler",
    "Step",
    "StepError",
    "StepFailed",
    "StepFailure",
    "StepHandle",
    "StepOutcome",
    "StepStatusInfo",
    "StepTimedOut",
    "StorageUnavailable",
    "TaskCancelled",
    "TaskContext",
    "TaskError",
    "TaskHandler",
    "TaskTimeout",
    "UndeclaredType",
    "UnknownTask",
    "WaitTimedOut",
    "Waiting",
    "Worker",
    "WorkerConfig",
    "ZartErr",
    "ZartError",
    "ZartStep",
    "connect",
    "context",
]
