"""`zart event`."""

from zart.cli.access import executions
from zart.cli.inputs import DataOption, read_data, read_name
from zart.cli.output import put_record
from zart.cli.settings import DEFAULTS, Settings
from zart.records import Delivery
from zart.status import StepKind


async def event(
    execution_id: str,
    name: str,
    /,
    *,
    data: DataOption = None,
    event_id: str | None = None,
    settings: Settings = DEFAULTS,
) -> None:
    """Send an event to an execution.

    It is kept if nobody waits for it yet. The `result` is "delivered", or "duplicate" when --event-id was sent before. To an
    execution that has ended nothing is sent (exit code 5).

    "delivered" means that it is in the mailbox, and no more. What name and what payload a wait takes is known to the body
    alone. `waiting_for` in the answer names the waits for events that were open just before: look there for a misspelt
    name. A payload that does not fit is set aside when the wait looks at it; the wait goes on, and `reason` in `zart
    status` says what was wrong.

    Args:
        execution_id: Which execution.
        name: The event's name.
        data: The payload: JSON, @file, or - for stdin.
        event_id: The event's own id: sent twice, it is one event, and the answer is "duplicate".
        settings: What every command takes.
    """
    read_name(execution_id, "execution id")
    read_name(name, "event name")
    if event_id is not None:
        read_name(event_id, "event id")
    payload = read_data(data)
    async with executions(settings, execution_id) as client:
        before = await client.status(execution_id)
        delivery = await client.offer_event(execution_id, name, payload, event_id=event_id)
    result = "duplicate" if delivery is Delivery.DUPLICATE else "delivered"
    answer = {
        "execution_id": execution_id,
        "event": name,
        "event_id": event_id,
        "waiting_for": [wait.name for wait in before.waiting_for if wait.kind == StepKind.EVENT],
        "result": result,
    }
    put_record(answer, settings.format)
