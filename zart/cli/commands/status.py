"""`zart status`."""

from typing import Annotated

from cyclopts import Parameter

from zart.cli.database import client_of
from zart.cli.inputs import read_name
from zart.cli.output import put_record
from zart.cli.settings import DEFAULTS, Settings
from zart.cli.views import summary


async def status(
    execution_id: str,
    /,
    *,
    steps: Annotated[bool, Parameter(negative=())] = False,
    run: int | None = None,
    settings: Settings = DEFAULTS,
) -> None:
    """Show an execution as it is now.

    Args:
        execution_id: Which one.
        steps: With every step: attempts, deadlines of waits, errors.
        run: An earlier run instead of the current one.
        settings: What every command takes.
    """
    read_name(execution_id, "execution id")
    async with client_of(settings.database_url) as client:
        record = await client.status(execution_id, run)
    put_record(summary(record, steps=steps), settings.format)
