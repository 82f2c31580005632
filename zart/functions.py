"""The operations as free functions: each finds the execution that it is called in."""

from typing import cast

from zart.operations import ExecutionInfo
from zart.steps import current


def context() -> ExecutionInfo:
    """Return what the execution, or the step around the call, knows of itself; also in the thread of a sync step.

    Raises:
        NoActiveExecution: called outside an execution.
    """
    return cast(
        "ExecutionInfo", current("zart.context() was called", "it belongs into a handler's body or a step's function").info
    )
