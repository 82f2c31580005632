"""JSON Schemas of what tasks take and give, as far as a schema can say it."""

import sys
from pathlib import PurePath
from typing import Any

import msgspec

from zart.registry import Registry, Task


def described(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the JSON Schema of a struct itself, with its properties."""
    _, components = msgspec.json.schema_components([kind])
    found: dict[str, Any] = components[kind.__name__]
    return found


def schema_of(declared: Any) -> dict[str, Any]:
    """Return the JSON Schema of a declared type; that of anything, where the type cannot be described."""
    pydantic = sys.modules.get("pydantic")
    if pydantic is not None and isinstance(declared, type) and issubclass(declared, pydantic.BaseModel):
        return _of_model(declared)
    try:
        return msgspec.json.schema(declared, schema_hook=_hook)
    except (TypeError, NotImplementedError, RuntimeError, NameError):
        return {}


def _hook(kind: type) -> dict[str, Any]:
    if issubclass(kind, PurePath):
        return {"type": "string"}
    if issubclass(kind, complex):
        return {"type": "string"}
    pydantic = sys.modules.get("pydantic")
    if pydantic is not None and issubclass(kind, pydantic.BaseModel):
        return _of_model(kind)
    raise NotImplementedError(kind)


def _of_model(model: Any) -> dict[str, Any]:
    found: dict[str, Any] = model.model_json_schema()
    return found


def describe(task: Task) -> dict[str, Any]:
    """Return a task's name and queue, with the schemas of its input and output."""
    return {
        "name": task.name,
        "queue": task.queue,
        "input": schema_of(task.data.declared),
        "output": schema_of(task.output.declared),
    }


def describe_all(registry: Registry | None) -> list[dict[str, Any]]:
    """Return all tasks of a registry by name."""
    return [describe(task) for task in sorted(registry or (), key=lambda task: task.name)]
