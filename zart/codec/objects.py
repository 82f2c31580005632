"""How objects of attrs classes, dataclasses and named tuples cross: by code written for each class.

Nearly all that crosses are objects of a few classes, and most attributes are text and numbers, which are their own raw form. So
each class gets two functions of its own, as attrs writes an `__init__`: they tell such values by their exact type on the spot,
and call a shape for the rest only. An object costs one frame of stack a level.
"""

from collections.abc import Callable, Sequence
from keyword import iskeyword
from typing import Any, NoReturn

import attrs

from zart.codec.classes import MISSING, OBJECT, Attribute, is_named_tuple, said, why_not
from zart.codec.leaves import LEAVES, Shape
from zart.codec.text import Mismatch, key_step

_ABSENT = object()
_NO_INT = "type({0}) is not int"
# When a value is not its own raw form, and when raw form is not its own value. An integer of a machine's size needs no tag.
_FOREIGN: dict[int, tuple[str, str]] = {
    id(LEAVES[int]): (_NO_INT + f" or not {-(2**62)} < {{0}} < {2**62}", _NO_INT),
    id(LEAVES[bool]): ("type({0}) is not bool",) * 2,
    id(LEAVES[str]): ("type({0}) is not str",) * 2,
}
_ALWAYS = ("True", "True")


def class_shape(name: str, kind: type, attributes: Sequence[Attribute]) -> Shape:
    """Return the shape of an attrs class, a dataclass or a named tuple."""
    scope: dict[str, Any] = {f"shape{number}": each.shape for number, each in enumerate(attributes)}
    scope |= {"Mismatch": Mismatch, "absent": _ABSENT, "construct": _constructor(kind), "key_step": key_step, "kind": kind}
    scope |= {"missing": _missing, "name": name, "said": said, "set_late": object.__setattr__, "why_not": why_not}
    scope |= {"required": [each.key for each in attributes if each.required], "sparse": _sparse_packer(attributes)}
    lines = [*_pack_lines(attributes), *_unpack_lines(attributes)]
    exec(compile("\n".join(lines), f"<codec of {name}>", "exec"), scope)  # noqa: S102 # every name in it is checked or quoted
    constant = _is_constant(kind) and all(each.shape.constant and not each.late for each in attributes)
    return Shape(name, scope["pack"], scope["unpack"], OBJECT, frozenset({kind}), composite=True, constant=constant)


def _is_constant(kind: type) -> bool:
    """Whether an object is only its attributes, for good: frozen, and made by code that neither checks nor changes them."""
    own = {name for each in kind.__mro__[:-1] for name in vars(each)}
    if own & {"__new__", "__getattribute__", "__attrs_pre_init__", "__attrs_post_init__", "__post_init__"}:
        return False
    if "__attrs_attrs__" in vars(kind):
        made = attrs.inspect(kind)
        return (
            made.is_frozen
            and made.added_init
            and all(each.converter is None and each.validator is None for each in attrs.fields(kind))
        )
    parameters = vars(kind).get("__dataclass_params__")
    return parameters is not None and parameters.frozen and parameters.init


def _pack_lines(attributes: Sequence[Attribute]) -> list[str]:
    lines = [
        "def pack(value):",
        "    if type(value) is not kind:",
        "        raise Mismatch(name, value, why_not(name, kind, value))",
        "    try:",
        "        pass",
    ]
    for number, each in enumerate(attributes):
        read = f"value.{each.name}" if _is_name(each.name) else f"getattr(value, {each.name!r})"
        lines.append(f"        item{number} = {read}")
    lines += ["    except AttributeError:", "        return sparse(value)"]
    lines += _converted(attributes, "pack")
    return [*lines, f"    return {{{', '.join(f'{each.key!r}: item{number}' for number, each in enumerate(attributes))}}}"]


def _unpack_lines(attributes: Sequence[Attribute]) -> list[str]:
    lines = ["def unpack(raw):", "    if type(raw) is not dict:", "        raise Mismatch(name, raw)", "    try:"]
    lines.append("        pass")
    arguments, given, late = [], [], []
    for number, each in enumerate(attributes):
        item = f"item{number}"
        lines.append(f"        {item} = " + (f"raw[{each.key!r}]" if each.required else f"raw.get({each.key!r}, absent)"))
        if each.late:
            late += [f"    if {item} is not absent:", f"        set_late(made, {each.name!r}, {item})"]
        elif each.required and _is_name(each.key):
            arguments.append(f"{each.key}={item}")
        else:
            given += [f"    if {item} is not absent:", f"        given[{each.key!r}] = {item}"]
    if given:
        given.insert(0, "    given = {}")
        arguments.append("**given")
    return [
        *lines,
        "    except KeyError:",
        "        missing(raw, required)",
        *_converted(attributes, "unpack"),
        *given,
        "    try:",
        f"        made = construct({', '.join(arguments)})",
        "    except Exception as error:",
        "        raise Mismatch(name, raw, f'is refused by {name}: {type(error).__name__}: {said(error)}') from error",
        *late,
        "    return made",
    ]


def _converted(attributes: Sequence[Attribute], way: str) -> list[str]:
    """Return the lines that take each item one way, and say of which key a wrong one is."""
    lines = ["    key = ''", "    try:", "        pass"]
    for number, each in enumerate(attributes):
        item = f"item{number}"
        when = _FOREIGN.get(id(each.shape), _ALWAYS)[way == "unpack"].format(item)
        when = f"({when})" + f" and {item} is not None" * each.nullable + f" and {item} is not absent" * (not each.required)
        lines += [f"        if {when}:", f"            key = {each.key!r}", f"            {item} = shape{number}.{way}({item})"]
    return [*lines, "    except Mismatch as wrong:", "        wrong.path.append(key_step(key))", "        raise"]


def _is_name(text: str) -> bool:
    # Python reads other letters than ASCII's in another form than they are written.
    return text.isascii() and text.isidentifier() and not iskeyword(text)


def _missing(raw: dict[str, Any], required: Sequence[str]) -> NoReturn:
    wrong = Mismatch("", raw, MISSING)
    wrong.path.append(key_step(next(key for key in required if key not in raw)))
    raise wrong


def _sparse_packer(attributes: Sequence[Attribute]) -> Callable[[Any], Any]:
    """Return what packs an object that lacks attributes: one was never set, or was deleted."""
    plan = [(each.name, each.key, each.nullable, each.shape) for each in attributes]

    def pack(value: Any) -> Any:
        raw = {}
        key = ""
        try:
            for attribute, key, nullable, shape in plan:
                item = getattr(value, attribute, _ABSENT)
                if item is not _ABSENT:
                    raw[key] = None if item is None and nullable else shape.pack(item)
        except Mismatch as wrong:
            wrong.path.append(key_step(key))
            raise
        return raw

    return pack


def _constructor(kind: type) -> Callable[..., Any]:
    if is_named_tuple(kind):
        named: Any = kind
        # Not by calling the class: a subclass may have a __new__ of its own.
        return lambda **given: tuple.__new__(named, ({**named._field_defaults, **given}[name] for name in named._fields))
    initialise = vars(kind).get("__attrs_init__")
    dataclass = vars(kind).get("__dataclass_params__")
    if initialise is None and (dataclass is None or dataclass.init):
        return kind

    def construct(**given: Any) -> Any:
        made: Any = object.__new__(kind)
        if initialise is not None:
            initialise(made, **given)
        else:
            for name, item in given.items():
                object.__setattr__(made, name, item)
        return made

    return construct
