"""How classes cross: attrs, dataclasses, named tuples, TypedDicts, and pydantic models by pydantic itself.

An object is written by its parameters' names and read by calling its class, so that validators and converters see what comes
from outside; what `__init__` does not take is set afterwards. Unknown keys are ignored: the writer may be of a newer version.
"""

import dataclasses
import inspect
import json
import sys
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import isnan
from operator import attrgetter
from typing import Any, TypeVar, get_args, get_origin

import attrs

from zart.codec.leaves import NATIVE, Shape
from zart.codec.text import Mismatch, key_step, pack_native, shielded, show, unpack_native, unshielded

OBJECT = frozenset({dict})
MISSING = "is missing"
"""What is wrong with an object that lacks a required key."""


class UnresolvedType(TypeError):
    """A type is only named, and nothing of that name can be found; perhaps it is defined later."""


@attrs.define
class Attribute:
    """One attribute of a class: its name, the name of its parameter, and what its type is."""

    name: str
    key: str
    hint: Any
    required: bool
    late: bool = False
    """`__init__` does not take it: set when all else is done."""
    shape: Shape = NATIVE
    nullable: bool = False
    """None is written as null here, and `shape` is that of everything else: a frame of stack less a level."""


# ---- what a class has -----------------------------------------------------------------------------------------------


def is_typed_dict(kind: type) -> bool:
    """Whether a class is a TypedDict, of `typing` or of another library."""
    return issubclass(kind, dict) and hasattr(kind, "__required_keys__")


def is_named_tuple(kind: type) -> bool:
    """Whether a class is a named tuple, or a subclass of one."""
    return issubclass(kind, tuple) and hasattr(kind, "_fields")


def attributes_of(kind: type, arguments: Sequence[Any]) -> list[Attribute] | None:
    """Return the attributes of a class, None if it is of no known sort; `arguments` are those of a generic one.

    Raises:
        TypeError: an annotation that cannot be resolved, or an attribute that cannot be kept.
    """
    if attrs.has(kind):
        found = list(_of_attrs(kind))
    elif dataclasses.is_dataclass(kind):
        found = list(_of_dataclass(kind))
    elif is_named_tuple(kind):
        defaults = kind._field_defaults  # type: ignore[attr-defined] # a named tuple has them
        found = [Attribute(name, name, Any, name not in defaults) for name in kind._fields]  # type: ignore[attr-defined] # as above
    elif is_typed_dict(kind):
        return list(_of_typed_dict(kind, arguments))
    else:
        return None
    hints = _hints(kind, arguments)
    for attribute in found:
        attribute.hint = hints.get(attribute.name, attribute.hint)
    if len({attribute.key for attribute in found}) != len(found):
        raise TypeError(f"{kind.__name__} has two attributes that are written alike; give one of them an alias")
    return found


def _of_attrs(kind: type) -> Iterator[Attribute]:
    for field in attrs.fields(kind):
        declared = Any if field.type is None else field.type
        key = field.alias or field.name
        if field.init:
            yield Attribute(field.name, key, declared, field.default is attrs.NOTHING)
        else:
            yield Attribute(field.name, field.name, declared, required=False, late=True)


def _of_dataclass(kind: type) -> Iterator[Attribute]:
    for name, field in kind.__dataclass_fields__.items():  # type: ignore[attr-defined] # fields() leaves the InitVars out
        if isinstance(field.type, dataclasses.InitVar) or str(field.type).partition("[")[0].endswith("InitVar"):
            raise TypeError(
                f"{kind.__name__}.{name} is an InitVar, which the object does not keep; make it a field, or save another type"
            )
    for field in dataclasses.fields(kind):
        bare = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        yield Attribute(field.name, field.name, field.type, bare and field.init, late=not field.init)


def _of_typed_dict(kind: type, arguments: Sequence[Any]) -> Iterator[Attribute]:
    given = dict(zip(getattr(kind, "__parameters__", ()), arguments, strict=False))
    for name, hint in _resolved(kind, {}).items():
        # A qualifier inside a postponed annotation is unknown to __required_keys__.
        qualifier = _qualifier(hint)
        required = qualifier == "Required"
        if qualifier is None:
            required = name in kind.__required_keys__  # type: ignore[attr-defined] # a TypedDict has them
        yield Attribute(name, name, substituted(hint, given), required)


def _qualifier(hint: Any) -> str | None:
    while (origin := get_origin(hint)) is not None:
        name = getattr(origin, "_name", None)
        if name in {"Required", "NotRequired"}:
            return str(name)
        if name != "ReadOnly" and not hasattr(hint, "__metadata__"):
            return None
        hint = get_args(hint)[0]
    return None


def _hints(kind: type, arguments: Sequence[Any]) -> dict[str, Any]:
    """Return the hints of a class, each with the type variables of the class that wrote it replaced by what they stand for."""
    given: dict[type, dict[Any, Any]] = {}
    _trace(kind, arguments, given)
    hints: dict[str, Any] = {}
    for owner in reversed(kind.__mro__[:-1]):
        own = inspect.get_annotations(owner)
        if own:
            resolved = _resolved(owner, {kind.__name__: kind})
            hints |= {name: substituted(resolved[name], given.get(owner, {})) for name in own}
    return hints


def _trace(kind: type, arguments: Sequence[Any], given: dict[type, dict[Any, Any]]) -> None:
    variables = dict(zip(getattr(kind, "__parameters__", ()), arguments, strict=False))
    given.setdefault(kind, variables)
    for parent in vars(kind).get("__orig_bases__", kind.__bases__):
        origin = get_origin(parent) or parent
        if isinstance(origin, type) and origin is not typing.Generic:
            _trace(origin, [substituted(each, variables) for each in get_args(parent)], given)


def _resolved(owner: type, known: dict[str, Any]) -> dict[str, Any]:
    module = sys.modules.get(owner.__module__)
    # The names of the class's own body come last: a field is often called like its type.
    names = {**vars(owner), **(vars(module) if module else {}), **known, owner.__name__: owner}
    try:
        return typing.get_type_hints(owner, localns=names, include_extras=True)
    except (NameError, AttributeError, SyntaxError, TypeError) as error:
        raise UnresolvedType(
            f"an annotation of {owner.__name__} cannot be resolved: {error}; import the name where the class is defined"
        ) from None


def substituted(hint: Any, given: Mapping[Any, Any]) -> Any:
    """Return a hint with its type variables replaced by what they stand for; the unknown ones stay."""
    if isinstance(hint, TypeVar):
        return given.get(hint, hint)
    variables = () if isinstance(hint, type) and get_origin(hint) is None else getattr(hint, "__parameters__", ())
    return hint[tuple(given.get(each, each) for each in variables)] if variables else hint


# ---- shapes ---------------------------------------------------------------------------------------------------------


def typed_dict_shape(name: str, attributes: Sequence[Attribute]) -> Shape:
    """Return the shape of a TypedDict."""
    plan = {each.key: each.shape for each in attributes}
    needed = [each.key for each in attributes if each.required]

    def declared(value: dict[Any, Any]) -> dict[Any, Any]:
        for key in value:
            if key not in plan:
                raise Mismatch("", value, f"has the key {show(key)}, which {name} does not declare")
        return value

    pack = _dict_way(name, plan, needed, attrgetter("pack"), declared, shielded)
    unpack = _dict_way(name, plan, needed, attrgetter("unpack"), unshielded, dict)
    return Shape(name, pack, unpack, OBJECT, frozenset({dict}), composite=True)


def _dict_way(
    name: str,
    plan: Mapping[str, Shape],
    needed: Sequence[str],
    way: Callable[[Shape], Callable[[Any], Any]],
    before: Callable[[dict[Any, Any]], dict[Any, Any]],
    after: Callable[[dict[str, Any]], dict[str, Any]],
) -> Callable[[Any], Any]:
    def convert(value: Any) -> Any:
        if type(value) is not dict:
            raise Mismatch(name, value)
        value = before(value)
        made = {}
        key = ""
        try:
            for key in needed:
                if key not in value:
                    raise Mismatch("", value, MISSING)
            for key, item in value.items():
                if key in plan:
                    made[key] = way(plan[key])(item)
        except Mismatch as wrong:
            wrong.path.append(key_step(key))
            raise
        return after(made)

    return convert


def pydantic_shape(name: str, kind: Any, accepts: frozenset[type]) -> Shape:
    """Return the shape of a pydantic model: dumped and validated by pydantic, refused if that does not bring back the same."""

    def validated(native: Any) -> Any:
        return kind.model_validate_json(json.dumps(native))

    def pack(value: Any) -> Any:
        if type(value) is not kind:
            raise Mismatch(name, value, why_not(name, kind, value))
        why = "it comes back as another value"
        for by_alias in (True, False):
            try:
                native = value.model_dump(mode="json", round_trip=True, by_alias=by_alias, warnings="error")
                if _same(validated(native), value):
                    return pack_native(native)
            except Exception as error:  # noqa: BLE001 # the model's own serializers may raise anything
                why = f"{type(error).__name__}: {said(error)}"
        raise Mismatch(name, value, f"does not survive pydantic's own JSON: {why}")

    def unpack(raw: Any) -> Any:
        try:
            return validated(unpack_native(raw))
        except ValueError as error:
            raise _of_pydantic(name, raw, error) from None

    return Shape(name, pack, unpack, accepts, frozenset({kind}), composite=True)


def _of_pydantic(name: str, raw: Any, error: ValueError) -> Mismatch:
    errors = getattr(error, "errors", None)
    first = errors()[0] if errors else {"msg": said(error), "loc": ()}
    wrong = Mismatch(name, raw, f"is refused by {name}: {first['msg']}")
    wrong.path = [f"[{step}]" if isinstance(step, int) else key_step(step) for step in reversed(first["loc"])]
    return wrong


def _same(one: Any, other: Any) -> bool:
    """Whether two values are equal and of the same types, NaN being equal to NaN."""
    if type(one) is not type(other):
        return False
    if hasattr(one, "__pydantic_private__"):
        private = one.__pydantic_private__, other.__pydantic_private__
        extra = one.__pydantic_extra__, other.__pydantic_extra__
        return _same(vars(one), vars(other)) and _same(*extra) and bool(private[0] == private[1])
    if type(one) is dict:
        return one.keys() == other.keys() and all(_same(item, other[key]) for key, item in one.items())
    if type(one) is list or type(one) is tuple:
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other) or (type(one) is float and isnan(one) and isnan(other))


def why_not(name: str, kind: type, value: object) -> str:
    """Return why a value of another type is not taken for a `kind`, if that needs saying."""
    if not isinstance(value, kind):
        return ""
    called = type(value).__name__
    return f"is of type {called}, a subclass of {name}, and would come back as its parent; declare {called}, or a union with it"


def said(error: BaseException) -> str:
    """Return the text of an error of users' code."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001 # users' code again
        return "(its text cannot be had)"
