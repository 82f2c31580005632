"""The operations as free functions: each finds the execution that it is called in."""

from typing import cast

from zart.errors import NoActiveExecution
from zart.operations import ExecutionInfo
from zart.steps import CURRENT


def context() -> ExecutionInfo:
    """Return what the execution, or the step around the call, knows of itself; also in the thread of a sync step.

    Raises:
        NoActiveExecution: called outside an execution.
    """
    current = CURRENT.get()
    if current is None:
        raise NoActiveExecution("zart.context() was called outside an execution; it belongs into a handler's body or a step")
    return cast("ExecutionInfo", current.info)
