"""`zart status`."""

from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from zart.cli.database import client_of
from zart.cli.inputs import read_name
from zart.cli.settings import DEFAULTS, Settings
from zart.cli.views import put_execution


async def status(
    execution_id: str,
    /,
    *,
    steps: Annotated[bool, Parameter(negative=())] = False,
    run: Annotated[int | None, Parameter(validator=Number(gte=1))] = None,
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
    async with client_of(settings.database_url, execution_id) as client:
        record = await client.status(execution_id, run)
    put_execution(record, settings.format, steps=steps)
