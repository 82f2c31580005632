"""Whether the input on a command line fits a task, and all that is wrong with it if it does not.

The codec that workers use stops at the first mistake and ignores unknown fields, since their writer may be of a newer version.
A person who types has rather misspelt them: here every mistake is told, and an unknown field is one.
"""

import json
from collections.abc import Iterator
from difflib import get_close_matches
from itertools import islice
from typing import Any

from zart.cli.errors import Exit, Refused
from zart.codec import ANY, Codec, codec_for
from zart.codec.classes import Attribute, attributes_of
from zart.codec.shapes import name_of
from zart.codec.text import key_step
from zart.errors import DeserializationError, UndeclaredType
from zart.registry import Task

_MOST = 10
"""Unknown fields that are told: each is tried by itself."""
_Path = tuple[str | int, ...]


def check_input(task: Task, value: Any, *, given: bool) -> None:
    """See that a value fits a task; `given` says whether it was on the command line at all.

    Raises:
        Refused: (2) it does not fit; every wrong, missing and unknown field is named.
    """
    attributes = _attributes(task.data.declared)
    problems = list(_problems(task.data, attributes, value))
    if not problems:
        return
    declared = name_of(task.data.declared)
    if not given:
        message = f"--data is missing: task {task.name!r} takes {_indefinite(declared)}"
    else:
        message = f"the data for task {task.name!r} does not fit: {', and '.join(problems)}"
    raise Refused("invalid_data", message, _form(declared, attributes), Exit.USAGE)


def _form(declared: str, attributes: list[Attribute]) -> str:
    fields = ", ".join(
        f"{each.key} ({name_of(each.hint)}{'' if each.required else ', may be left out'})" for each in attributes
    )
    if fields:
        return f"{declared} has {fields}"
    return "leave --data out" if declared == "None" else f"give JSON for {declared}"


def _attributes(declared: Any) -> list[Attribute]:
    """Return the fields of a class whose fields are declared; none of any other type."""
    if not isinstance(declared, type):
        return []
    return [each for each in attributes_of(declared, ()) or [] if not each.late]


def _problems(codec: Codec, attributes: list[Attribute], value: Any) -> Iterator[str]:
    try:
        text = ANY.encode(value, "data")
    except UndeclaredType as error:
        yield str(error)
        return
    try:
        decoded = codec.decode(text)
    except DeserializationError as error:
        found = list(_wrong_fields(attributes, value)) if isinstance(value, dict) else []
        yield from found or [str(error)]
        return
    yield from _unknown(codec, decoded, value)


def _wrong_fields(attributes: list[Attribute], value: dict[str, Any]) -> Iterator[str]:
    if not attributes:
        return
    for each in attributes:
        place = f"data{key_step(each.key)}"
        if each.key in value:
            try:
                codec_for(each.hint).decode(ANY.encode(value[each.key]), place)
            except DeserializationError as error:
                yield str(error)
        elif each.required:
            yield f"{place} is missing"
    known = [each.key for each in attributes]
    for key in value:
        if key not in known:
            yield _unheard_of(f"data{key_step(key)}", key, [name for name in known if name not in value])


def _unknown(codec: Codec, decoded: Any, value: Any) -> Iterator[str]:
    """Yield the fields that make no difference to what comes out: those that the task's types do not have."""
    try:
        kept = codec.encode(decoded)
    except UndeclaredType:  # a model that does not survive its own JSON is its worker's to refuse
        return
    for path, others in islice(_not_kept(value, json.loads(kept), ()), _MOST):
        try:
            same = codec.encode(codec.decode(ANY.encode(_without(value, path)))) == kept
        except (DeserializationError, UndeclaredType):
            continue
        if same:
            place = "data" + "".join(f"[{step}]" if isinstance(step, int) else key_step(step) for step in path)
            yield _unheard_of(place, str(path[-1]), others)


def _not_kept(value: Any, kept: Any, path: _Path) -> Iterator[tuple[_Path, list[str]]]:
    """Yield where a key is that did not come back, and which did that were not there."""
    if isinstance(value, dict) and isinstance(kept, dict):
        for key, each in value.items():
            if key in kept:
                yield from _not_kept(each, kept[key], (*path, key))
            else:
                yield (*path, key), [other for other in kept if other not in value]
    elif isinstance(value, list) and isinstance(kept, list):
        for place, (each, other) in enumerate(zip(value, kept, strict=False)):
            yield from _not_kept(each, other, (*path, place))


def _without(value: Any, path: _Path) -> Any:
    """Return a copy that lacks the key at the path's end."""
    first, *rest = path
    if isinstance(value, list):
        return [_without(each, tuple(rest)) if place == first else each for place, each in enumerate(value)]
    if not rest:
        return {key: each for key, each in value.items() if key != first}
    return {key: _without(each, tuple(rest)) if key == first else each for key, each in value.items()}


def _unheard_of(place: str, key: str, others: list[str]) -> str:
    near = get_close_matches(key, others, 1)
    return f"there is no field {place}" + (f" (did you mean {near[0]!r}?)" if near else "")


def _indefinite(noun: str) -> str:
    return f"an {noun}" if noun[:1].lower() in "aeiou" else f"a {noun}"
