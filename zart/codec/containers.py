"""How the values with parts cross: lists, sets, tuples, dicts, and unions of anything.

One frame of stack a level: what may hold itself must go as deep as `DEPTH` everywhere.
"""

from collections.abc import Callable, Sequence
from types import NoneType
from typing import Any

import msgspec

from zart.codec.leaves import LEAVES, RAW, Shape
from zart.codec.text import TAG, Mismatch, key_step, shielded, show, unshielded

_TYPE = TAG + "type"
_LIST = frozenset({list})


def series_shape(name: str, kind: Callable[[list[Any]], Any], inner: Shape) -> Shape:
    """Return the shape of a list, set, frozenset or tuple of one type. Sets are written in order: equal ones look alike."""
    ordered = kind is list or kind is tuple

    def pack(value: Any) -> Any:
        if type(value) is not kind:
            raise Mismatch(name, value)
        items: list[Any] = []
        convert = inner.pack
        try:
            for item in value:
                items.append(convert(item))  # noqa: PERF401 # the path needs the position, and a comprehension a second frame
        except Mismatch as wrong:
            wrong.path.append(f"[{len(items)}]")
            raise
        return items if ordered else _in_order(items)

    def unpack(raw: Any) -> Any:
        if type(raw) is not list:
            raise Mismatch(name, raw)
        items: list[Any] = []
        convert = inner.unpack
        try:
            for item in raw:
                items.append(convert(item))  # noqa: PERF401 # as above
        except Mismatch as wrong:
            wrong.path.append(f"[{len(items)}]")
            raise
        return items if kind is list else _collected(kind, items)

    return Shape(name, pack, unpack, _LIST, frozenset({kind}), composite=True)  # type: ignore[arg-type] # it is a type, too


def _in_order(items: list[Any]) -> list[Any]:
    try:
        return sorted(items)
    except TypeError:
        return sorted(items, key=repr)


def _collected(kind: Callable[[list[Any]], Any], items: list[Any]) -> Any:
    try:
        return kind(items)
    except TypeError as error:
        raise Mismatch("", items, f"has an item that cannot be in a set: {error}") from None


def tuple_shape(name: str, inner: Sequence[Shape]) -> Shape:
    """Return the shape of a tuple whose places have their own types."""

    def pack(value: Any) -> Any:
        if type(value) is not tuple or len(value) != len(inner):
            raise Mismatch(name, value)
        return _each(value, [shape.pack for shape in inner])

    def unpack(raw: Any) -> Any:
        if type(raw) is not list or len(raw) != len(inner):
            raise Mismatch(name, raw)
        return tuple(_each(raw, [shape.unpack for shape in inner]))

    return Shape(name, pack, unpack, _LIST, frozenset({tuple}), composite=True)


def _each(items: Sequence[Any], converters: Sequence[Callable[[Any], Any]]) -> list[Any]:
    done: list[Any] = []
    try:
        for item, convert in zip(items, converters, strict=True):
            done.append(convert(item))  # as above
    except Mismatch as wrong:
        wrong.path.append(f"[{len(done)}]")
        raise
    return done


def dict_shape(name: str, key: Shape, inner: Shape) -> Shape:
    """Return the shape of a dict: an object where its keys are always text in raw form, else a list of pairs; both are read."""
    both = frozenset({dict, list})
    return Shape(
        name, _dict_packer(name, key, inner), _dict_unpacker(name, key, inner), both, frozenset({dict}), composite=True
    )


def _dict_packer(name: str, key: Shape, inner: Shape) -> Callable[[Any], Any]:
    def pack(value: Any) -> Any:
        if type(value) is not dict:
            raise Mismatch(name, value)
        pairs: list[Any] = []
        each = None
        try:
            for each, item in value.items():
                pairs.append([key.pack(each), inner.pack(item)])
        except Mismatch as wrong:
            wrong.path.append(key_step(each))
            raise
        if not key.text:
            return pairs
        object_ = dict(pairs)
        if len(object_) != len(pairs):
            raise Mismatch("", value, "has two keys that are written alike")
        return shielded(object_)

    return pack


def _dict_unpacker(name: str, key: Shape, inner: Shape) -> Callable[[Any], Any]:
    def unpack(raw: Any) -> Any:
        pairs = _pairs(raw, key)
        if pairs is None:
            raise Mismatch(name, raw)
        made: dict[Any, Any] = {}
        each = None
        try:
            for each, item in pairs:
                made[key.unpack(each)] = inner.unpack(item)
        except Mismatch as wrong:
            wrong.path.append(key_step(each))
            raise
        except TypeError as error:
            raise Mismatch("", raw, f"has a key that cannot be one: {error}") from None
        if len(made) != len(pairs):
            raise Mismatch("", raw, "has one key twice")
        return made

    return unpack


def _pairs(raw: Any, key: Shape) -> list[Any] | None:
    if type(raw) is list:
        return raw if all(type(pair) is list and len(pair) == 2 for pair in raw) else None
    if type(raw) is not dict:
        return None
    raw = unshielded(raw)
    if str in key.accepts:
        return list(raw.items())
    # From outside, where {"7": …} is the only way to write such an object.
    return [[_said(each), item] for each, item in raw.items()]


def _said(key: str) -> Any:
    try:
        return msgspec.json.decode(key)
    except (msgspec.DecodeError, UnicodeEncodeError):
        return key


def optional_shape(name: str, inner: Shape) -> Shape:
    """Return the shape of a type or None, where None is nothing else's raw form."""

    def pack(value: Any) -> Any:
        return None if value is None else inner.pack(value)

    def unpack(raw: Any) -> Any:
        return None if raw is None else inner.unpack(raw)

    accepts, python = inner.accepts | {NoneType}, inner.python | {NoneType}
    none = LEAVES[NoneType]
    return Shape(
        name,
        pack,
        unpack,
        accepts,
        python,
        constant=inner.constant,
        composite=inner.composite,
        optional=inner,
        members=[none, inner],
    )


def union_shape(name: str, shapes: Sequence[Shape]) -> Shape:
    """Return the shape of a union.

    Raw form is read by the first member that takes it, in an order that does not depend on how the union was written. A value
    that would so be read by another member than its own is tagged with its member's name, and so is every value with parts
    whose raw form another such member might ever take: classes grow.
    """
    members = sorted(shapes, key=lambda shape: (shape.rank, shape.name))
    by_name = _by_name(name, members)
    readers = {kind: [member for member in members if kind in member.accepts] for kind in RAW}
    python = frozenset(kind for member in members for kind in member.python)
    pack, unpack = _union_packer(name, by_name, readers), _union_unpacker(name, by_name, readers)
    return Shape(name, pack, unpack, python=python, members=members)


_Readers = dict[type, list[Shape]]


def _union_packer(name: str, by_name: dict[str, Shape], readers: _Readers) -> Callable[[Any], Any]:
    members = list(by_name.values())
    name_of = {id(member): said for said, member in by_name.items()}
    marked = {id(member) for member in members if member.composite and _is_mistakable(member, members)}
    writers: _Readers = {}
    for member in members:
        for kind in member.python:
            writers.setdefault(kind, []).append(member)

    def pack(value: Any) -> Any:
        likely = writers.get(type(value), [])
        failure = None
        for member in (*likely, *members):
            try:
                raw = member.pack(value)
            except Mismatch as wrong:
                failure = failure or wrong
                continue
            if id(member) in marked or not (member.composite or _is_first(member, raw, readers[type(raw)])):
                return {_TYPE: [name_of[id(member)], raw]}
            return raw
        # Where only one was likely, its error says more than that of the union.
        raise failure if failure and len(likely) == 1 and failure.path else Mismatch(name, value)

    return pack


def _union_unpacker(name: str, by_name: dict[str, Shape], readers: _Readers) -> Callable[[Any], Any]:
    def unpack(raw: Any) -> Any:
        if type(raw) is dict and len(raw) == 1 and _TYPE in raw:
            member, raw = _named(name, raw, by_name)
            return member.unpack(raw)
        failures = []
        for member in readers[type(raw)]:
            try:
                return member.unpack(raw)
            except Mismatch as wrong:
                failures.append(wrong)
        inside = [wrong for wrong in failures if wrong.path]
        raise inside[0] if len(inside) == 1 else Mismatch(name, raw)

    return unpack


def _is_mistakable(member: Shape, members: Sequence[Shape]) -> bool:
    return member.accepts == RAW or any(
        other is not member and other.composite and other.accepts & member.accepts for other in members
    )


def _is_first(member: Shape, raw: Any, readers: Sequence[Shape]) -> bool:
    for other in readers:
        if other is member:
            return True
        try:
            other.unpack(raw)
        except Mismatch:
            continue
        return False
    return False


def _by_name(name: str, members: Sequence[Shape]) -> dict[str, Shape]:
    short = [member.name for member in members]
    named = {member.name if short.count(member.name) == 1 else _full_name(member): member for member in members}
    if len(named) != len(members):
        raise TypeError(f"{name} has two members of one name, which could not be told apart when they are read; rename one")
    return named


def _full_name(member: Shape) -> str:
    kinds = sorted(f"{kind.__module__}.{kind.__qualname__}" for kind in member.python)
    return f"{' | '.join(kinds)}:{member.name}"


def _named(name: str, raw: dict[str, Any], members: dict[str, Shape]) -> tuple[Shape, Any]:
    match raw[_TYPE]:
        case [str(said), inner] if said in members:
            return members[said], inner
        case [str(said), _]:
            raise Mismatch("", raw, f"is a {show(said)}, which is no member of {name}")
        case _:
            raise Mismatch(name, raw)
