"""`zart schema`."""

from importlib import import_module
from typing import Any

from zart.cli.access import remote
from zart.cli.errors import usage
from zart.cli.handlers import registry_of
from zart.cli.manual import manual
from zart.cli.output import put_record, put_table
from zart.cli.settings import DEFAULTS, AppOption, Settings
from zart.registry import Registry


async def schema(
    *,
    app: AppOption = None,
    settings: Settings = DEFAULTS,
) -> None:
    """Describe every command, and every task with the JSON Schemas of its input and output.

    It is for programs and agents. Tasks are those of --app or, with --server, of the server; without either there are none. No
    database is opened.

    Args:
        app: Where the handlers are, as package.module:name.
        settings: What every command takes.
    """
    tasks = await _tasks(app, settings)
    found = manual()
    if settings.format != "table":
        put_record({**found, "tasks": tasks}, settings.format)
        return
    put_table([{"command": each["usage"], "what it does": each["purpose"]} for each in found["commands"]])
    if tasks:
        put_table(
            [{**each, "input": _fields(each["input"]), "output": _fields(each["output"])} for each in tasks], title="tasks"
        )


async def _tasks(app: str | None, settings: Settings) -> list[dict[str, Any]]:
    if app is not None:
        return describe_all(registry_of(app))
    with usage():
        server = settings.server_url
    if server is None:
        return []
    async with remote(server) as client:
        return [
            {"name": task.name, "queue": task.queue, "input": task.input, "output": task.output}
            for task in await client.tasks()
        ]


def describe_all(registry: Registry) -> list[dict[str, Any]]:
    """Return all tasks of a registry by name."""
    found: list[dict[str, Any]] = import_module("zart.http.schemas").describe_all(registry)
    return found


def _fields(schema: dict[str, Any]) -> str:
    """Return what a person wants to know of a schema: the fields, or the type."""
    target = schema
    if "$ref" in schema:
        target = schema.get("$defs", {}).get(schema["$ref"].rpartition("/")[2], schema)
    if "properties" in target:
        return ", ".join(target["properties"])
    return str(target.get("type", "anything"))
