"""The executions of a server: what commands work with under `--server`."""

from datetime import datetime, timedelta
from typing import Any

from zart.http.client import HttpScheduler
from zart.submission import Submission


class Remote(HttpScheduler):
    """The executions of a server."""

    async def submit(
        self,
        execution_id: str,
        task_name: str,
        data: Any,
        *,
        delay: timedelta | None = None,
        at: datetime | None = None,
        queue: str | None = None,
    ) -> Submission:
        """Start an execution, or find that the same one was started before: the server compares."""
        handle = await self.start(execution_id, task_name, data, delay=delay, at=at, queue=queue)
        return Submission(handle, repeated=handle.repeated)
