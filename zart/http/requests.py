"""From a request to the call that it means: path, query, headers and body, each as the endpoint declares it."""

from collections.abc import Mapping, MutableMapping
from typing import Any
from urllib.parse import parse_qsl, quote, unquote_to_bytes

import msgspec

from zart.clock import Clock
from zart.http.bodies import Receive, check_media_type, has_body, parse_json, read_body
from zart.http.endpoints import AnyJson, Endpoint
from zart.http.limits import Gates, Limits
from zart.http.operations import Call
from zart.http.refusals import Refusal
from zart.ids import LONGEST_NAME
from zart.traceparent import traceparent

Scope = MutableMapping[str, Any]


def segments_of(scope: Scope) -> tuple[str, ...]:
    """Return the pieces of the path below where the API is mounted, as they came: an id may hold an encoded slash."""
    known: tuple[str, ...] | None = scope.get("zart_segments")
    if known is not None:
        return known
    raw: bytes = scope.get("raw_path") or quote(scope["path"]).encode("ascii")
    mounted = scope.get("root_path", "").strip("/")
    pieces = raw.partition(b"?")[0].decode("latin-1").split("/")[1:]
    found = scope["zart_segments"] = tuple(pieces[mounted.count("/") + 1 if mounted else 0 :])
    return found


def headers_of(scope: Scope) -> dict[bytes, bytes]:
    """Return the headers by name; of several of one name the last."""
    return dict(scope["headers"])


def fitting(endpoint: Endpoint, segments: tuple[str, ...]) -> dict[str, str] | None:
    """Return the still encoded parameters of a path; None when it is not the endpoint's."""
    if len(endpoint.segments) != len(segments):
        return None
    found: dict[str, str] = {}
    for wanted, piece in zip(endpoint.segments, segments, strict=True):
        if wanted.startswith("{"):
            if not piece:
                return None
            found[wanted[1:-1]] = piece
        elif wanted != piece:
            return None
    return found


def decoded(parameters: Mapping[str, str]) -> dict[str, str]:
    """Return the parameters of a path as text.

    Raises:
        Refusal: (invalid_request) one is no UTF-8.
    """
    try:
        return {name: unquote_to_bytes(piece).decode("utf-8") for name, piece in parameters.items()}
    except UnicodeDecodeError:
        raise Refusal("invalid_request", "the path is no UTF-8", "percent-encode ids and names as UTF-8") from None


def _query(endpoint: Endpoint, raw: bytes) -> Any:
    try:
        pairs = [] if not raw else parse_qsl(raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=100)
        values = dict(pairs)
        if len(values) != len(pairs):
            raise Refusal("invalid_request", "a parameter of the query is given twice", "give it once")
        return msgspec.convert(values, endpoint.query, strict=False)
    except msgspec.ValidationError as error:
        raise Refusal("invalid_request", f"the query is wrong: {error}", "see /openapi.json") from None
    except ValueError as error:
        raise Refusal("invalid_request", f"the query cannot be read: {error}", "percent-encode it as UTF-8") from None


def printable(header: bytes | None, name: str) -> str | None:
    """Return a header's value; None when it is absent or empty.

    Raises:
        Refusal: (invalid_request) it is no printable ASCII, or longer than any key or id.
    """
    text = (header or b"").decode("latin-1").strip()
    if not text:
        return None
    if not (text.isascii() and text.isprintable() and len(text) <= LONGEST_NAME):
        raise Refusal("invalid_request", f"the header {name} is wrong", f"use up to {LONGEST_NAME} characters of ASCII")
    return text


def trace_of(headers: Mapping[bytes, bytes]) -> str | None:
    """Return the caller's W3C `traceparent`; None without one, or if it is none."""
    return traceparent(headers.get(b"traceparent", b"").decode("latin-1").strip())


async def call_of(
    endpoint: Endpoint,
    parameters: Mapping[str, str],
    scope: Scope,
    headers: Mapping[bytes, bytes],
    receive: Receive,
    limits: Limits,
    gates: Gates,
    clock: Clock,
) -> Call:
    """Return what is asked for.

    Raises:
        Refusal: it is not as the endpoint declares it.
        Disconnected: the caller has gone meanwhile.
    """
    path, query = decoded(parameters), _query(endpoint, scope["query_string"])
    if endpoint.body is None:
        if has_body(headers):
            check_media_type(headers)
            await read_body(receive, headers, limits, clock, gates)
        return Call(path=path, query=query)
    key = printable(headers.get(b"idempotency-key"), "Idempotency-Key") if endpoint.event_key else None
    if endpoint.body is AnyJson and not has_body(headers):
        return Call(path=path, query=query, event_key=key)
    check_media_type(headers)
    raw = await read_body(receive, headers, limits, clock, gates)
    value = parse_json(raw, limits) if raw or endpoint.body is not AnyJson else None
    if endpoint.body is not AnyJson:
        try:
            value = msgspec.convert(value, endpoint.body)
        except msgspec.ValidationError as error:
            raise Refusal("invalid_request", f"the body is wrong: {error}", "see /openapi.json") from None
    return Call(path=path, query=query, body=value, event_key=key, trace=trace_of(headers) if endpoint.trace else None)
