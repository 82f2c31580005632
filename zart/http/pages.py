"""The table of endpoints for people, as a page of the server; `zart.http.reference` makes a page of the same rows."""

from collections.abc import Iterator
from functools import cache
from html import escape
from typing import Any

from zart.http import wire
from zart.http.endpoints import ENDPOINTS, AnyJson, Endpoint, Way
from zart.http.openapi import query_schemas
from zart.http.schemas import described

Row = tuple[str, str, str]
"""What stands in the cells of one line."""


@cache
def page() -> str:
    """Return the page: no styles, no scripts, nothing from elsewhere."""
    parts = ["<!doctype html><html lang=en><meta charset=utf-8><title>Zart</title><h1>Zart: the HTTP API</h1>"]
    parts.append('<p>For programs: <a href="openapi.json">openapi.json</a>.</p>')
    for endpoint in ENDPOINTS:
        parts.append(f"<h2>{escape(endpoint.method)} {escape(endpoint.path)}</h2><p>{escape(endpoint.summary)} ")
        parts.append(f"Access: {escape(endpoint.access)}.</p>")
        rows = [*parameters(endpoint)]
        if rows:
            parts.append("<table>" + "".join(f"<tr><td>{'<td>'.join(map(escape, row))}" for row in rows) + "</table>")
        told = [*results(endpoint)]
        parts.append("<table>" + "".join(f"<tr><td>{'<td>'.join(map(escape, row))}" for row in told) + "</table>")
    return "".join(parts)


def parameters(endpoint: Endpoint) -> Iterator[Row]:
    """Yield what a request may say: name, type, meaning."""
    for name, schema in query_schemas(endpoint).items():
        yield f"`{name}`", typed(schema), schema.get("description", "")
    if endpoint.event_key:
        yield "`Idempotency-Key` (header)", "text", "The event's own id: sent twice, it is one event."
    if endpoint.trace:
        yield "`traceparent` (header)", "text", "The W3C trace context of the caller; what is none is left out."
    if endpoint.way is Way.STREAM:
        yield "`Last-Event-ID` (header)", "text", "The id of the last event that was read."
    if endpoint.body is AnyJson:
        yield "body", "any JSON", "The payload; none is null."
    elif isinstance(endpoint.body, type) and issubclass(endpoint.body, wire.Request):
        for name, schema in described(endpoint.body)["properties"].items():
            yield f"`{name}` (body)", typed(schema), schema.get("description", "")


def results(endpoint: Endpoint) -> Iterator[Row]:
    """Yield what an answer is: status, body, meaning."""
    for status, (answer, text) in endpoint.results.items():
        yield str(status), "" if answer is None else f"`{answer.__name__}`", text


def typed(schema: dict[str, Any]) -> str:
    """Return a schema in few words."""
    if "anyOf" in schema:
        return " or ".join(typed(each) for each in schema["anyOf"] if each.get("type") != "null")
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    words = {"string": "text", "integer": "whole number", "number": "number", "boolean": "`true` or `false`"}
    kind = words.get(schema.get("type", ""), "any JSON")
    if "maximum" in schema:
        kind += f", {schema.get('minimum', 0):g} to {schema['maximum']:g}"
    if schema.get("format") == "date-time":
        kind = "time with its offset"
    default = schema.get("default")
    return kind if default in {None, ""} else f"{kind}; default `{str(default).lower()}`"
