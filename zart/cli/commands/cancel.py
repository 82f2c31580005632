"""`zart cancel`."""

from zart.cli.access import executions
from zart.cli.inputs import read_name
from zart.cli.output import put_record
from zart.cli.settings import DEFAULTS, Settings


async def cancel(
    execution_id: str,
    /,
    *,
    settings: Settings = DEFAULTS,
) -> None:
    """Cancel an execution.

    It ends at once or, while it runs, within two seconds. `on_failure` does not run: what its steps have done stays done.

    Prints the status now true, and as `cancelled` whether this command made it so. One that has ended stays as it is, with
    exit code 0, so that repeating it does no harm.

    Args:
        execution_id: Which one.
        settings: What every command takes.
    """
    read_name(execution_id, "execution id")
    async with executions(settings, execution_id) as client:
        cancelled = await client.cancel(execution_id)
        record = await client.status(execution_id)
    put_record(
        {"execution_id": execution_id, "task": record.name, "status": str(record.status), "cancelled": cancelled},
        settings.format,
    )
