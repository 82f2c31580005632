"""Bodies: read no further than is allowed, and taken for JSON only when they are harmless JSON."""

import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, NoReturn

from zart.clock import Clock, limited, pause
from zart.http.limits import Gates, Limits
from zart.http.refusals import Refusal

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
_SWALLOWED = 4 * 1024 * 1024
_SWALLOW_TIME = 2.0
_SWALLOW_GAP = 0.01
_INFINITE = frozenset({float("inf"), float("-inf")})


class Disconnected(Exception):
    """The caller has gone."""


def has_body(headers: Mapping[bytes, bytes]) -> bool:
    """Whether a body comes with these headers."""
    return b"transfer-encoding" in headers or headers.get(b"content-length", b"0").strip() not in {b"", b"0"}


async def read_body(receive: Receive, headers: Mapping[bytes, bytes], limits: Limits, clock: Clock, gates: Gates) -> bytes:
    """Return the body.

    Raises:
        Refusal: (body_too_large, body_too_slow, unsupported_media_type, overloaded) it is not taken; more may be to come.
        Disconnected: nobody is there any more.
    """
    if headers.get(b"content-encoding", b"identity").strip().lower() not in {b"", b"identity"}:
        raise Refusal("unsupported_media_type", "the body is encoded", "send it without Content-Encoding")
    length = headers.get(b"content-length", b"")
    if length.isdigit() and int(length[:20]) > limits.body:
        raise _too_large(limits)
    pieces: list[bytes] = []
    size = 0
    try:
        async with limited(clock, limits.body_time, "the body did not come in time"):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Disconnected
                piece = message.get("body", b"")
                size += len(piece)
                gates.buffered += len(piece)
                if size > limits.body:
                    pieces.clear()  # the error's traceback keeps this frame while the rest is swallowed
                    raise _too_large(limits)
                if gates.buffered > limits.buffered:
                    raise Refusal("overloaded", "too many bodies come in at once", "try again in a second")
                pieces.append(piece)
                if not message.get("more_body", False):
                    break
    except TimeoutError:
        raise Refusal("body_too_slow", f"the body did not come within {limits.body_time:g} s", "send it faster") from None
    finally:
        gates.buffered -= size
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


async def swallow(receive: Receive, clock: Clock) -> None:
    """Read on for a moment and forget what comes, after the answer was sent.

    Whoever still sends would otherwise be told that the connection is broken, and never see the answer. It is read slowly, so
    that a sender with much to come has to wait, looks up, and sees the answer.
    """
    size = 0
    try:
        async with limited(clock, _SWALLOW_TIME, "the rest is not read"):
            while size < _SWALLOWED:
                message = await receive()
                size += len(message.get("body", b""))
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    return
                await pause(clock, _SWALLOW_GAP)
    except TimeoutError:
        return


def check_media_type(headers: Mapping[bytes, bytes]) -> None:
    """Refuse a body that does not say that it is JSON: a page elsewhere can have a browser send other kinds unasked.

    Raises:
        Refusal: (unsupported_media_type) it is something else.
    """
    kind, _, parameters = headers.get(b"content-type", b"").partition(b";")
    charset = parameters.strip().lower().replace(b'"', b"")
    if kind.strip().lower() != b"application/json" or charset not in {b"", b"charset=utf-8"}:
        raise Refusal("unsupported_media_type", "the body must be JSON in UTF-8", "send Content-Type: application/json")


def parse_json(body: bytes, limits: Limits) -> Any:
    """Return the value of a body.

    Raises:
        Refusal: (invalid_json) it is no JSON, or above a limit.
    """
    try:
        value = json.loads(body.decode("utf-8"), parse_int=_Integers(limits.digits).read, parse_constant=_no_constant)
    except RecursionError:
        raise _too_deep(limits) from None
    except ValueError as error:
        raise Refusal("invalid_json", f"the body is no JSON: {_said(error)}", "send one JSON value in UTF-8") from None
    _check_shape(value, limits)
    return value


class _Integers:
    def __init__(self, digits: int) -> None:
        self._digits = digits

    def read(self, text: str) -> int:
        if len(text) > self._digits:
            raise ValueError(f"an integer has more than {self._digits} digits")
        return int(text)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _check_shape(value: Any, limits: Limits) -> None:
    level, found = [value], 0
    for _ in range(limits.depth + 1):
        below: list[Any] = []
        containers = False
        for each in level:
            if type(each) is dict:
                containers = True
                below += each.values()
            elif type(each) is list:
                containers = True
                below += each
            elif type(each) is float and each in _INFINITE:
                raise Refusal("invalid_json", "a number in the body is beyond what a float can say", "send it as text")
        found += len(below)
        if found > limits.keys:
            raise Refusal("invalid_json", f"the body holds more than {limits.keys} keys and items", "send less at once")
        if not containers:
            return
        level = below
    raise _too_deep(limits)


def _said(error: ValueError) -> str:
    return f"byte {error.start} is no UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)


def _too_deep(limits: Limits) -> Refusal:
    return Refusal("invalid_json", f"the body is nested more than {limits.depth} deep", "send it flatter")


def _too_large(limits: Limits) -> Refusal:
    return Refusal("body_too_large", f"the body has more than {limits.body:,} bytes", "send a reference instead")
