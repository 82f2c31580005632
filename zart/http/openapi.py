"""The API's description in OpenAPI 3.1, made from the table of endpoints."""

from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from typing import Any

import msgspec

from zart.http import wire
from zart.http.endpoints import ENDPOINTS, Access, AnyJson, Endpoint, Way, errors_of
from zart.http.refusals import CODES, PROBLEM
from zart.http.schemas import described

_REF = "#/components/schemas/{name}"
_ASCII = {"type": "string", "maxLength": 255, "pattern": "^([!-~]([ -~]*[!-~])?)?$"}
_SEEN = {"type": "string", "maxLength": 60, "pattern": "^(([1-9][0-9]{0,8}:)?([0-9]{1,9}|end))?$"}
_EVENT = {"type": "object", "properties": {key: {"type": "string"} for key in ("id", "event", "data")}}
_PAGES = {"openapi": "application/json", "docs": "text/html", "metrics": "text/plain"}
_GIVEN = {"not": {"type": "null"}}
_FOLLOWED = {
    # An execution's id -> what can be done with it: what a start answers leads to everything else.
    "status": "execution_id",
    "wait": "execution_id",
    "cancel": "execution_id",
    "offer_event": "execution_id",
    "stream": "execution_id",
}


@cache
def description() -> dict[str, Any]:
    """Return the description."""
    shown = [each for each in ENDPOINTS if each.way is not Way.AGENT]
    types = {answer for each in shown for answer, _ in each.results.values() if answer is not None}
    bodies = {each.body for each in shown if isinstance(each.body, type) and each.body is not AnyJson}
    _, components = msgspec.json.schema_components(
        [*sorted(types | bodies | {wire.Problem}, key=lambda one: one.__name__)], ref_template=_REF
    )
    # What two fields have to do with each other no type can say.
    components["StartRequest"]["not"] = {"required": ["delay", "at"], "properties": {"delay": _GIVEN, "at": _GIVEN}}
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in shown:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Zart",
            "version": version("zart-durable"),
            "description": "Durable execution: start executions, send them events, and read what became of them.",
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "description": "A read or an operator token."}},
        },
    }


@cache
def document() -> bytes:
    """Return the description as it is served."""
    return msgspec.json.encode(description())


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    found: dict[str, Any] = {
        "operationId": endpoint.name,
        "summary": endpoint.summary,
        "x-zart-access": endpoint.access.value,
        "security": [] if endpoint.access is Access.PUBLIC else [{"token": []}],
        "parameters": [*_parameters(endpoint)],
        "responses": _responses(endpoint),
    }
    if endpoint.body is AnyJson:
        found["requestBody"] = {"required": False, "content": {"application/json": {"schema": {}}}}
    elif isinstance(endpoint.body, type):
        schema = {"$ref": _REF.format(name=endpoint.body.__name__)}
        found["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return found


def _parameters(endpoint: Endpoint) -> Iterator[dict[str, Any]]:
    name = msgspec.json.schema(wire.Name)
    for parameter in endpoint.parameters:
        yield {"name": parameter, "in": "path", "required": True, "schema": name}
    for key, schema in query_schemas(endpoint).items():
        text = schema.pop("description", "")
        yield {"name": key, "in": "query", "required": False, "description": text, "schema": schema}
    if endpoint.event_key:
        text = "The event's own id: sent twice, it is one event."
        yield {"name": "Idempotency-Key", "in": "header", "required": False, "description": text, "schema": _ASCII}
    if endpoint.trace:
        text = "The W3C trace context of the caller; what is none is left out."
        yield {"name": "traceparent", "in": "header", "required": False, "description": text, "schema": {"type": "string"}}
    if endpoint.way is Way.STREAM:
        text = "The id of the last event that was read."
        seen = _SEEN if endpoint.parameters else _ASCII
        yield {"name": "Last-Event-ID", "in": "header", "required": False, "description": text, "schema": seen}


def query_schemas(endpoint: Endpoint) -> dict[str, dict[str, Any]]:
    """Return the schemas of a query's parameters by name."""
    return {key: dict(value) for key, value in described(endpoint.query).get("properties", {}).items()}


def _responses(endpoint: Endpoint) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for status, (answer, text) in endpoint.results.items():
        found[str(status)] = {"description": text} | _content(endpoint, answer)
        if status == 201:
            found[str(status)]["headers"] = {"Location": {"schema": {"type": "string"}}}
        if endpoint.name == "start":
            found[str(status)]["links"] = _links()
    by_status: dict[int, list[str]] = {}
    for code in errors_of(endpoint):
        by_status.setdefault(CODES[code][0], []).append(code)
    for status, codes in sorted(by_status.items()):
        told = " ".join(f"`{code}`: {CODES[code][1]}" for code in codes)
        schema = {"allOf": [{"$ref": _REF.format(name="Problem")}, {"properties": {"code": {"enum": codes}}}]}
        found[str(status)] = {"description": told, "content": {PROBLEM: {"schema": schema}}}
        if status in {429, 503}:
            found[str(status)]["headers"] = {"Retry-After": {"schema": {"type": "integer"}}}
    return found


def _content(endpoint: Endpoint, answer: type[wire.Answer] | None) -> dict[str, Any]:
    match endpoint.way:
        case Way.STREAM if answer is not None:
            return {"content": {"text/event-stream": {"schema": _EVENT}}}
        case Way.PAGE:
            media = _PAGES[endpoint.name]
            return {"content": {media: {"schema": {"type": "object" if endpoint.name == "openapi" else "string"}}}}
        case _ if answer is not None:
            return {"content": {"application/json": {"schema": {"$ref": _REF.format(name=answer.__name__)}}}}
        case _:
            return {}


def _links() -> dict[str, Any]:
    return {
        name: {"operationId": name, "parameters": {parameter: "$response.body#/execution_id"}}
        for name, parameter in _FOLLOWED.items()
    }
