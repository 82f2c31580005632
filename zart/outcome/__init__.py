"""How an operation or an execution ended, in memory and as text.

A failure is saved so that a replay raises what the first run raised: equal in class, text and arguments. Classes are looked up
among those that were declared, their subclasses, and fixed tables; a name in stored data never imports anything. Whatever
exception comes in, saving gives text and raises nothing, and reading gives an exception.
"""

from zart.outcome.failures import (
    attempt_summary,
    error_summary,
    failure_fields,
    failure_of,
    failure_reason,
    failure_traceback,
    load_failure,
    save_failure,
)
from zart.outcome.outcomes import BusinessErr, Ok, StepOutcome, ZartErr
from zart.outcome.saved import REFUSED, error_through, is_final, load_error, save_error, step_failed

__all__ = [
    "REFUSED",
    "BusinessErr",
    "Ok",
    "StepOutcome",
    "ZartErr",
    "attempt_summary",
    "error_summary",
    "error_through",
    "failure_fields",
    "failure_of",
    "failure_reason",
    "failure_traceback",
    "is_final",
    "load_error",
    "load_failure",
    "save_error",
    "save_failure",
    "step_failed",
]
