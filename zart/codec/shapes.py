"""From a declared type to its shape: built once, eagerly, with everything inside it.

Why not a generic converter: it looks at the class of the value at hand where it should look at the declared type (a wrong value
in a class that holds itself is saved unseen), mixes up type variables of one name, and loses what `__init__` does not take. A
value that cannot come back as it was must be refused before it is saved. So every shape checks exact types, both ways.
"""

import collections.abc
import sys
import types
import typing
from collections.abc import Sequence
from enum import Enum
from typing import Any, NoReturn, TypeVar, get_args, get_origin

from zart.codec.classes import OBJECT, UnresolvedType, attributes_of, is_typed_dict, pydantic_shape, typed_dict_shape
from zart.codec.containers import dict_shape, optional_shape, series_shape, tuple_shape, union_shape
from zart.codec.leaves import LEAVES, RAW, Shape, enum_shape, literal_shape
from zart.codec.objects import class_shape

_QUALIFIERS = frozenset({"Required", "NotRequired", "ReadOnly", "Final"})
# What an abstract type may be in life; each comes back as what it was.
_ABSTRACT: dict[Any, tuple[Any, ...]] = {
    collections.abc.Sequence: (list, tuple),
    collections.abc.Collection: (list, tuple, set, frozenset),
    collections.abc.Iterable: (list, tuple, set, frozenset),
    collections.abc.MutableSequence: (list,),
    collections.abc.Set: (set, frozenset),
    collections.abc.MutableSet: (set,),
    collections.abc.Mapping: (dict,),
    collections.abc.MutableMapping: (dict,),
}
_shapes: dict[Any, Shape] = {}


def shape_of(hint: Any) -> Shape:
    """Return the shape of a declared type.

    Raises:
        TypeError: the type, or one inside it, cannot be saved.
    """
    builder = _Builder()
    shape = builder.shape(hint)
    # Kept only now, when all of it is whole: nobody else ever sees half a shape.
    _shapes.update(builder.done)
    return shape


class _Builder:
    """Builds the shape of one type and of all in it; `done` also holds those still being built."""

    def __init__(self) -> None:
        self.done: dict[Any, Shape] = {}

    def shape(self, hint: Any) -> Shape:
        """Return the shape of a type, building it if it is new."""
        hint = _bare(hint)
        try:
            found = self.done.get(hint) or _shapes.get(hint) or LEAVES.get(hint)
        except TypeError:  # unhashable, such as list[Annotated[int, []]]
            return self._build(hint, Shape(name_of(hint), _unbuilt, _unbuilt))
        if found is not None:
            return found
        # Entered before it is built: what holds itself finds it here.
        self.done[hint] = own = Shape(name_of(hint), _unbuilt, _unbuilt, composite=True)
        own.adopt(self._build(hint, own))
        return own

    def _build(self, hint: Any, own: Shape) -> Shape:
        if isinstance(hint, TypeVar):
            return self.shape(hint.__bound__) if hint.__bound__ else self._union(own.name, hint.__constraints__ or (Any,))
        kind, arguments = get_origin(hint) or hint, get_args(hint)
        if hasattr(kind, "__value__"):  # an alias made by `type`
            return self.shape(kind.__value__[arguments] if arguments else kind.__value__)
        if kind is typing.Union or kind is types.UnionType:
            return self._union(own.name, arguments)
        if kind is typing.Literal:
            return literal_shape(own.name, arguments)
        return self._container(hint, kind, arguments, own.name) or self._class(hint, kind, arguments, own)

    def _union(self, name: str, hints: Sequence[Any]) -> Shape:
        members: list[Shape] = []
        for hint in hints:
            shape = self.shape(hint)
            members.extend(each for each in shape.members or [shape] if each not in members)
        rest = [each for each in members if each is not LEAVES[types.NoneType]]
        if len(members) == 1 or rest == [LEAVES[Any]]:
            return (rest or members)[0]
        if len(rest) == 1 and types.NoneType not in rest[0].accepts:
            return optional_shape(name, rest[0])
        return union_shape(name, members)

    def _container(self, hint: Any, kind: Any, arguments: tuple[Any, ...], name: str) -> Shape | None:
        if kind in _ABSTRACT:
            return self._union(name, [_concrete(each, arguments) for each in _ABSTRACT[kind]])
        if kind is dict:
            key, item = arguments or (Any, Any)
            return dict_shape(name, LEAVES[str] if _bare(key) is Any else self.shape(key), self.shape(item))
        if kind is tuple and hasattr(hint, "__args__") and arguments[1:] != (...,):  # tuple[()] has arguments: none
            return tuple_shape(name, [self.shape(each) for each in arguments])
        if kind in {list, set, frozenset, tuple}:
            return series_shape(name, kind, self.shape(arguments[0] if arguments else Any))
        return None

    def _class(self, hint: Any, kind: Any, arguments: tuple[Any, ...], own: Shape) -> Shape:
        if not isinstance(kind, type) or issubclass(kind, BaseException):
            raise _unsupported(hint)
        if issubclass(kind, Enum):
            return enum_shape(kind)
        pydantic = sys.modules.get("pydantic")
        if pydantic is not None and issubclass(kind, pydantic.BaseModel):
            return pydantic_shape(own.name, kind, RAW if issubclass(kind, pydantic.RootModel) else OBJECT)
        attributes = attributes_of(kind, arguments)
        if attributes is None:
            raise _unsupported(hint)
        # A union inside that has this class as a member must know what to expect of it before it is built.
        own.accepts, own.python = OBJECT, frozenset({dict if is_typed_dict(kind) else kind})
        for attribute in attributes:
            shape = self.shape(attribute.hint)
            attribute.nullable = shape.optional is not None
            attribute.shape = shape.optional or shape
        return typed_dict_shape(own.name, attributes) if is_typed_dict(kind) else class_shape(own.name, kind, attributes)


def _bare(hint: Any) -> Any:
    """Return a hint without what says nothing about its values."""
    while True:
        if hint is None:
            return types.NoneType
        if hasattr(hint, "__supertype__"):
            hint = hint.__supertype__
        elif hasattr(hint, "__metadata__") or getattr(get_origin(hint), "_name", None) in _QUALIFIERS:
            hint = get_args(hint)[0]
        else:
            return hint


def _concrete(kind: Any, arguments: tuple[Any, ...]) -> Any:
    if not arguments:
        return kind
    return kind[*arguments, ...] if kind is tuple else kind[arguments]


def name_of(hint: Any) -> str:
    """Return a type as users write it, without modules."""
    if hint is Any or hint is ... or hint is None or hint is types.NoneType:
        return {Any: "Any", ...: "..."}.get(hint, "None")
    kind, arguments = get_origin(hint), get_args(hint)
    if kind is typing.Union or kind is types.UnionType:
        return " | ".join(map(name_of, arguments))
    if kind is typing.Literal:
        return f"Literal[{', '.join(map(repr, arguments))}]"
    if hasattr(hint, "__metadata__"):
        return name_of(arguments[0])
    called = getattr(kind or hint, "__name__", None) or repr(hint).replace("typing.", "")
    return f"{called}[{', '.join(map(name_of, arguments))}]" if arguments else str(called)


def _unbuilt(_: Any) -> NoReturn:
    raise AssertionError("a shape was used before it was built")


def _unsupported(hint: Any) -> TypeError:
    if isinstance(hint, str | typing.ForwardRef):
        return UnresolvedType(f"the type {hint!r} is only named; import it and pass the type itself")
    return TypeError(
        f"values of type {name_of(hint)} cannot be saved; use an attrs class, a dataclass, a pydantic model, a standard type "
        "such as datetime, Decimal or set, or plain JSON values"
    )
