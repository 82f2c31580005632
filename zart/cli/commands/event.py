"""`zart event`."""

from zart.cli.database import client_of
from zart.cli.inputs import DataOption, read_data, read_name
from zart.cli.output import put_record
from zart.cli.settings import DEFAULTS, Settings
from zart.records import Delivery


async def event(
    execution_id: str,
    name: str,
    /,
    *,
    data: DataOption = None,
    event_id: str | None = None,
    settings: Settings = DEFAULTS,
) -> None:
    """Send an event to an execution; it is kept if nobody waits for it yet.

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
    async with client_of(settings.database_url) as client:
        delivery = await client.offer_event(execution_id, name, payload, event_id=event_id)
    result = "duplicate" if delivery is Delivery.DUPLICATE else "delivered"
    put_record({"execution_id": execution_id, "event": name, "event_id": event_id, "result": result}, settings.format)
