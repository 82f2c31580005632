"""Which execution a log record is about, as fields of the record.

Zart's own records carry `execution_id`, `task` and, where they are known, `step` and `attempt`; what users' code logs in a body
or a step gets them by this filter. Payloads, headers and database URLs are in none.
"""

import logging
from typing import Any

from zart.turns import CURRENT

FIELDS = ("execution_id", "task", "step", "attempt")
"""The fields; None where they do not apply. `attempt` counts from 0: the body's, or in a step the step's."""


class ExecutionFields(logging.Filter):
    """Gives each record the fields of the execution in which it was made; lets every record through.

    Add it to a handler: then it sees the records of all loggers, and a formatter may name the fields.

    Example:
        >>> handler = logging.StreamHandler()
        >>> handler.addFilter(ExecutionFields())
        >>> handler.setFormatter(logging.Formatter("%(levelname)s %(execution_id)s %(step)s %(message)s"))
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Add what the record does not have."""
        fields = record.__dict__
        for name, value in _here().items():
            fields.setdefault(name, value)
        return True


def _here() -> dict[str, Any]:
    scope: Any = CURRENT.get()
    try:
        info = scope.info
    except AttributeError:  # no execution, or one whose body has not begun
        return dict.fromkeys(FIELDS)
    return {
        "execution_id": info.execution_id,
        "task": info.task_name,
        "step": getattr(scope, "step_name", None),
        "attempt": info.current_attempt,
    }
