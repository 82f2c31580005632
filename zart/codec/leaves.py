"""How the values without parts cross: numbers, text, times, identifiers, enums, literals.

Every check is by exact type. A subclass would come back as its parent, and a bool as an int; so they are refused, not coerced.
"""

import base64
from collections.abc import Callable
from contextlib import suppress
from datetime import date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from enum import Enum, Flag
from math import isfinite
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from types import NoneType
from typing import Any
from uuid import UUID

import msgspec
from attrs import Factory, define, fields

from zart.codec.text import TAG, Mismatch, pack_float, pack_int, pack_native, show, unpack_native, unpack_number

RAW = frozenset({NoneType, bool, int, float, str, list, dict})
"""The types of raw form."""

_FOLD = TAG + "fold"
_DOUBLE_DIGITS = 15
"""Every decimal number of so many digits is told apart by a float."""


@define(eq=False)
class Shape:
    """How the values of one declared type cross, and what a union must know to tell them from others.

    `pack` and `unpack` raise `Mismatch`. A shape whose type is still being built (a class that holds itself) is filled in
    later: keep the shape, not its functions.
    """

    name: str
    pack: Callable[[Any], Any]
    unpack: Callable[[Any], Any]
    accepts: frozenset[type] = RAW
    """The types of raw form that `unpack` may take."""
    python: frozenset[type] = frozenset()
    """The exact types of its values, as far as they are known."""
    rank: int = 99
    """Members of a union are tried in this order: the particular before the general."""
    constant: bool = False
    """Its values cannot be changed, and what comes back is not to be told from what went: one may stand for the other."""
    text: bool = False
    """The raw form is always text, so that it can be an object's key."""
    composite: bool = False
    """Its values have parts."""
    optional: "Shape | None" = None
    """The shape of the values other than None, when None has no other meaning."""
    members: list["Shape"] = Factory(list)
    """A union's."""

    def adopt(self, other: "Shape") -> None:
        """Become what `other` is."""
        for field in fields(Shape):
            setattr(self, field.name, getattr(other, field.name))


NATIVE = Shape("Any", pack_native, unpack_native, composite=True)
"""What nothing is declared about."""


def _check(name: str, kind: type) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if type(value) is kind:
            return value
        raise Mismatch(name, value)

    return check


def _scalar(kind: type, name: str, rank: int, *, text: bool = False) -> Shape:
    check = _check(name, kind)
    return Shape(name, check, check, frozenset({kind}), frozenset({kind}), rank, constant=True, text=text)


def _pack_int(value: Any) -> Any:
    if type(value) is int:
        return pack_int(value)
    raise Mismatch("int", value)


def _unpack_int(raw: Any) -> Any:
    if type(raw) is int:
        return raw
    number = unpack_number(raw) if type(raw) is dict else None
    if type(number) is int:
        return number
    raise Mismatch("int", raw)


def _to_float(value: Any) -> float:
    """Return a float, or an integer as PEP 484 has it, but only if the float is equal."""
    if type(value) is float:
        return value
    if type(value) is int:
        with suppress(OverflowError):
            converted = float(value)
            if converted == value:
                return converted
        raise Mismatch("float", value, f"is {show(value)}, which no float is equal to; declare int")
    raise Mismatch("float", value)


def _pack_float(value: Any) -> Any:
    return pack_float(_to_float(value))


def _unpack_float(raw: Any) -> Any:
    number = unpack_number(raw) if type(raw) is dict else None
    return number if type(number) is float else _to_float(raw)


def _moment_text(value: datetime | time) -> Any:
    if value.tzinfo is not None and value.utcoffset() is None:
        raise Mismatch("", value, "has a time zone that does not say its offset; use a datetime, or a fixed offset")
    return {_FOLD: value.isoformat()} if value.fold else value.isoformat()


def _moment_of(kind: type[datetime] | type[time], shortest: int) -> Callable[[Any], Any]:
    def read(raw: Any) -> Any:
        folded = type(raw) is dict and len(raw) == 1 and type(raw.get(_FOLD)) is str
        text = raw[_FOLD] if folded else raw
        if type(text) is not str or len(text) < shortest:
            raise ValueError
        return kind.fromisoformat(text).replace(fold=1) if folded else kind.fromisoformat(text)

    return read


def _text_of(read: Callable[[str], Any]) -> Callable[[Any], Any]:
    def checked(raw: Any) -> Any:
        if type(raw) is not str:
            raise ValueError
        return read(raw)

    return checked


def _decimal_of(raw: Any) -> Decimal:
    if type(raw) is float and isfinite(raw):
        value = Decimal(repr(raw))
        if len(value.as_tuple().digits) <= _DOUBLE_DIGITS:
            return value
        raise Mismatch("Decimal", raw, f"is the JSON number {raw!r}, of which digits may be lost; write it as text")
    if type(raw) is str or type(raw) is int:
        return Decimal(raw)
    raise ValueError


def _length_of(raw: Any) -> timedelta:
    if type(raw) is str:
        return msgspec.convert(raw, timedelta)
    if type(raw) is int or type(raw) is float:
        return timedelta(seconds=raw)
    raise ValueError


def _bytes_of(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _bytes_text(value: bytes | bytearray) -> str:
    return base64.b64encode(value).decode("ascii")


def _leaf(
    kind: type,
    rank: int,
    say: Callable[[Any], Any],
    read: Callable[[Any], Any],
    accepts: tuple[type, ...] = (str,),
    *,
    name: str = "",
) -> Shape:
    """Return the shape of a type; `read` raises what it likes about what it does not understand."""
    called = name or kind.__name__

    def pack(value: Any) -> Any:
        if type(value) is not kind:
            raise Mismatch(called, value)
        return say(value)

    def unpack(raw: Any) -> Any:
        try:
            return read(raw)
        except (ValueError, InvalidOperation, OverflowError, msgspec.ValidationError):
            raise Mismatch(called, raw) from None

    return Shape(called, pack, unpack, frozenset(accepts), frozenset({kind}), rank, text=str in accepts and dict not in accepts)


def _leaves() -> dict[Any, Shape]:
    shapes: dict[Any, Shape] = {
        Any: NATIVE,
        object: NATIVE,
        NoneType: _scalar(NoneType, "None", 0),
        bool: _scalar(bool, "bool", 1),
        int: Shape("int", _pack_int, _unpack_int, frozenset({int, dict}), frozenset({int}), 2, constant=True),
        float: Shape("float", _pack_float, _unpack_float, frozenset({int, float, dict}), frozenset({float}), 3, constant=True),
        datetime: _leaf(datetime, 10, _moment_text, _moment_of(datetime, len("2024-01-01T00")), (str, dict)),
        date: _leaf(date, 11, date.isoformat, _text_of(date.fromisoformat)),
        time: _leaf(time, 12, _moment_text, _moment_of(time, len("00")), (str, dict)),
        timedelta: _leaf(timedelta, 13, msgspec.to_builtins, _length_of, (str, int, float)),
        UUID: _leaf(UUID, 14, str, _text_of(UUID)),
        Decimal: _leaf(Decimal, 15, str, _decimal_of, (str, int, float)),
        bytes: _leaf(bytes, 16, _bytes_text, _text_of(_bytes_of)),
        bytearray: _leaf(bytearray, 17, _bytes_text, _text_of(lambda text: bytearray(_bytes_of(text)))),
        str: _scalar(str, "str", 90, text=True),
    }
    # Path() and PurePath() make an instance of the platform's class, and text says which path, not which class.
    kinds: tuple[type[PurePath], ...] = (Path, PurePath, PurePosixPath, PureWindowsPath, type(Path()))
    for rank, kind in enumerate(kinds, 80):
        shapes[kind] = _leaf(type(kind()), rank, str, _text_of(kind), name=kind.__name__)
    return shapes


LEAVES = _leaves()
"""The shapes of the types that have no parts and take no arguments."""


def enum_shape(kind: type[Enum]) -> Shape:
    """Return the shape of an enum: by value where all values are plain and different, else by name; flags as integers."""
    if issubclass(kind, Flag):
        return _flag_shape(kind)
    by_value = all(_is_plain(member.value) for member in kind)
    said = {member: member.value if by_value else member.name for member in kind}
    read = {(type(raw), raw): member for member, raw in said.items()}
    return _table_shape(kind.__name__, read, {(kind, member): raw for member, raw in said.items()}, 20)


def _flag_shape(kind: type[Flag]) -> Shape:
    def read(raw: Any) -> Flag:
        if type(raw) is not int:
            raise ValueError
        return kind(raw)

    return _leaf(kind, 21, lambda member: member.value, read, (int,))


def _is_plain(value: object) -> bool:
    if type(value) is int:
        return type(pack_int(value)) is int
    return type(value) is str or type(value) is bool or (type(value) is float and isfinite(value))


def literal_shape(name: str, values: tuple[Any, ...]) -> Shape:
    """Return the shape of a `Literal`; the values of enums and bytes cross as their types do."""
    read: dict[tuple[type, Any], Any] = {}
    said: dict[tuple[type, Any], Any] = {}
    for value in values:
        shape = enum_shape(type(value)) if isinstance(value, Enum) else LEAVES[type(value)]
        raw = shape.pack(value)
        if read.setdefault((type(raw), raw), value) is not value:
            raise TypeError(f"{name} has two values that are both written {raw!r}; declare the types instead")
        said[type(value), value] = raw
    return _table_shape(name, read, said, 22)


def _table_shape(name: str, read: dict[tuple[type, Any], Any], said: dict[tuple[type, Any], Any], rank: int) -> Shape:
    kinds = frozenset(kind for kind, _ in said)

    def pack(value: Any) -> Any:
        kind = type(value)
        if kind in kinds and (kind, value) in said:
            return said[kind, value]
        raise Mismatch(name, value)

    def unpack(raw: Any) -> Any:
        try:
            return read[type(raw), raw]
        except (KeyError, TypeError):
            raise Mismatch(name, raw) from None

    accepts = frozenset(kind for kind, _ in read)
    return Shape(name, pack, unpack, accepts, kinds, rank, text=accepts <= {str})
