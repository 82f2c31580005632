"""How objects of attrs classes, dataclasses and named tuples cross: by code written for each class.

Nearly all that crosses are objects of a few classes, and most attributes are text and numbers, which are their own raw form. So
each class gets two functions of its own, as attrs writes an `__init__`: they tell such values by their exact type on the spot,
and call a shape for the rest only. An object costs one frame of stack a level.
"""

from collections.abc import Callable, Sequence
from keyword import iskeyword
from typing import Any

from zart.codec.classes import OBJECT, Attribute, is_named_tuple, missing, said, why_not
from zart.codec.leaves import LEAVES, Shape
from zart.codec.text import Mismatch, key_step

_ABSENT = object()
_INT = "type({0}) is not int"
# Per shape: when a value is not its own raw form, and when raw form is not its own value. A machine word needs no tag.
_FOREIGN: dict[int, tuple[str, str]] = {
    id(LEAVES[int]): (f"{_INT} or not {-(2**63)} <= {{0}} < {2**63}", _INT),
    id(LEAVES[float]): ("True", "type({0}) is not float"),
    **{id(LEAVES[kind]): (f"type({{0}}) is not {kind.__name__}",) * 2 for kind in (bool, str)},
}
_ALWAYS = ("True", "True")


def class_shape(name: str, kind: type, attributes: Sequence[Attribute]) -> Shape:
    """Return the shape of an attrs class, a dataclass or a named tuple."""
    names = {
        **{f"shape{number}": each.shape for number, each in enumerate(attributes)},
        "Mismatch": Mismatch,
        "absent": _ABSENT,
        "construct": _constructor(kind),
        "key_step": key_step,
        "kind": kind,
        "missing": missing,
        "name": name,
        "said": said,
        "set_late": object.__setattr__,
        "sparse": _sparse_packer(attributes),
        "why_not": why_not,
    }
    pack, unpack = _compiled("pack", name, _pack_lines(attributes), names), _compiled("unpack", name, _unpack_lines(attributes), names)
    return Shape(name, pack, unpack, OBJECT, frozenset({kind}), composite=True)


def _compiled(function: str, name: str, lines: Sequence[str], names: dict[str, Any]) -> Callable[[Any], Any]:
    scope = dict(names)
    exec(compile("\n".join(lines), f"<{function} of {name}>", "exec"), scope)  # noqa: S102 # names are quoted or checked
    made: Callable[[Any], Any] = scope[function]
    return made


def _pack_lines(attributes: Sequence[Attribute]) -> list[str]:
    numbered = list(enumerate(attributes))
    return [
        "def pack(value):",
        "    if type(value) is not kind:",
        "        raise Mismatch(name, value, why_not(name, kind, value))",
        "    try:",
        *(f"        item{number} = {_reading(each.name)}" for number, each in numbered),
        "        pass",
        "    except AttributeError:",
        "        return sparse(value)",
        *_converting("pack", 0, numbered),
        f"    return {{{', '.join(f'{each.key!r}: item{number}' for number, each in numbered)}}}",
    ]


def _unpack_lines(attributes: Sequence[Attribute]) -> list[str]:
    numbered = list(enumerate(attributes))
    # What may be missing, or is no name that can be written, does not go by keyword.
    direct = [(number, each) for number, each in numbered if each.required and _is_name(each.key)]
    loose = [(number, each) for number, each in numbered if not each.late and not (each.required and _is_name(each.key))]
    late = [(number, each) for number, each in numbered if each.late]
    arguments = [f"{each.key}=item{number}" for number, each in direct] + ["**given"] * bool(loose)
    lines = [
        "def unpack(raw):",
        "    if type(raw) is not dict:",
        "        raise Mismatch(name, raw)",
    ]
    for number, each in numbered:
        lines.append(f"    item{number} = raw.get({each.key!r}, absent)")
    lines += [*_converting("unpack", 1, numbered)]
    if loose:
        lines.append("    given = {}")
    for number, each in loose:
        lines += [f"    if item{number} is not absent:", f"        given[{each.key!r}] = item{number}"]
    lines += [
        "    try:",
        f"        made = construct({', '.join(arguments)})",
        "    except Exception as error:",
        "        raise Mismatch(name, raw, f'is refused by {name}: {type(error).__name__}: {said(error)}') from error",
    ]
    for number, each in late:
        lines += [f"    if item{number} is not absent:", f"        set_late(made, {each.name!r}, item{number})"]
    return [*lines, "    return made"]
