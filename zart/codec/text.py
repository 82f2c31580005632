"""JSON text for every value that JSON almost says: NaN, infinities, lone surrogates, integers of any length, any key.

A value crosses in two steps: a shape (`zart.codec.shapes`) packs it into *raw* form, that is None, bool, int, float, str, list
and dict with text keys, and this module writes raw form as text. What JSON itself cannot say is an object with one key that
begins with `TAG`; an object of the user's that looks so is wrapped in one, so that nothing is ever taken for what it is not:

* `{"$zart:float": "nan"}`, `{"$zart:int": "0x…"}` (too long for a JSON reader), `{"$zart:fold": "2024-10-27T02:30:00"}`;
* `{"$zart:type": ["Cat", {…}]}`: which member of a union it is, looked up among the declared ones only;
* `{"$zart:dict": {"$zart:…": …}}`: an object of the user's;
* `{"$zart:escaped": …}` around a whole text that holds lone surrogates, which no database takes: in all its strings and keys,
  `%` and surrogates are written as `%` and four hexadecimal digits.
"""

import json
import re
from collections.abc import Callable, Collection
from math import isfinite
from typing import Any, NoReturn

import msgspec

TAG = "$zart:"
DEPTH = 500
"""How many lists and objects may stand inside one another: what every Python reads without running out of stack."""

# A level costs two characters, so that most texts are too short to be too deep, and most others have too few brackets.
_FLAT = 2 * DEPTH
_INT, _FLOAT, _DICT, _ESCAPED = TAG + "int", TAG + "float", TAG + "dict", TAG + "escaped"
_FLOATS = ("nan", "inf", "-inf")
# Below the smallest limit that can be set for the length of an integer in text (640 digits), so that any process can read it.
_LONGEST_INT = 10**600
_SPECIAL = re.compile("[%\ud800-\udfff]")
_WRITTEN = re.compile("%([0-9a-f]{4})")
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class Mismatch(Exception):
    """A value that is not what was declared, and where: `path` grows from the inside out while the error travels up.

    `expected` names the declared type and is empty where nothing was declared; `reason`, if any, says it all by itself.
    """

    def __init__(self, expected: str, value: object = None, reason: str = "") -> None:
        super().__init__(expected, reason)
        self.expected = expected
        self.value = value
        self.reason = reason
        self.path: list[str] = []

    def place(self, what: str) -> str:
        """Return where it is: `what` and the path inside it."""
        path = "".join(reversed(self.path))
        return f"{what}{path}" if not path or what.isidentifier() else f"{what} at {path}"


def key_step(key: object) -> str:
    """Return the piece of a path that stands for a key."""
    return f".{key}" if isinstance(key, str) and key.isidentifier() else f"[{show(key)}]"


def show(value: object) -> str:
    """Return a value in few words, never failing: a scalar as it is written, anything else by its type."""
    match value:
        case bool() | float() | None:
            return repr(value)
        case str():
            return repr(value if len(value) <= 60 else value[:60] + "…")
        case int():
            return repr(value) if -_LONGEST_INT < value < _LONGEST_INT else "a very long integer"
        case list():
            return f"a list of {len(value)}"
        case dict():
            return f"an object of {len(value)}"
        case _:
            return type(value).__name__


# ---- raw form and text ----------------------------------------------------------------------------------------------


def write(raw: Any) -> str:
    """Return raw form as text that every database can hold.

    Raises:
        Mismatch: nested too deeply.
    """
    try:
        text = _encode(raw).decode()
    except UnicodeEncodeError:
        text = _encode({_ESCAPED: _mapped(raw, _escaped)}).decode()
    if len(text) > _FLAT:
        _check_depth(raw, text)
    return text


def read(text: str) -> Any:
    """Return the raw form that a text says, one's own or anybody's JSON.

    Raises:
        Mismatch: no JSON, or nested too deeply.
    """
    try:
        raw = _decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError):
        raw = _read_slowly(text)
    if type(raw) is dict and len(raw) == 1 and _ESCAPED in raw:
        raw = _mapped(raw[_ESCAPED], _unescaped)
    if len(text) > _FLAT:
        _check_depth(raw, text)
    return raw


def _read_slowly(text: str) -> Any:
    # msgspec refuses lone surrogates, which JSON from outside may hold as \ud800.
    try:
        return json.loads(text, parse_int=_whole, parse_float=_finite, parse_constant=_finite)
    except json.JSONDecodeError as error:
        raise Mismatch("", reason=f"is not JSON: {error}") from None


def _whole(digits: str) -> int:
    try:
        return int(digits)
    except ValueError:
        raise Mismatch("", reason=f"has an integer of {len(digits):,} digits, more than can be read") from None


def _finite(digits: str) -> float:
    value = float(digits)
    if not isfinite(value):
        raise Mismatch("", reason=f"has the number {digits[:60]}, which JSON cannot say or a float not hold")
    return value


def _check_depth(raw: Any, text: str) -> None:
    if text.count("[") + text.count("{") > DEPTH:
        depth, level = 0, [raw]
        while containers := [each for each in level if type(each) is list or type(each) is dict]:
            depth += 1
            if depth > DEPTH:
                raise too_deep()
            level = [child for each in containers for child in _children(each)]


def _children(container: Any) -> Collection[Any]:
    return container.values() if type(container) is dict else container


def too_deep() -> Mismatch:
    """Return the error for a value with too many levels, a cycle included."""
    return Mismatch("", reason=f"is nested deeper than {DEPTH} levels or contains itself; save it flat, with references by key")


def _escaped(text: str) -> str:
    return _SPECIAL.sub(lambda found: f"%{ord(found[0]):04x}", text)


def _unescaped(text: str) -> str:
    return _WRITTEN.sub(lambda found: chr(int(found[1], 16)), text)


def _mapped(raw: Any, change: Callable[[str], str]) -> Any:
    kind = type(raw)
    if kind is str:
        return change(raw)
    if kind is list:
        items = []
        for item in raw:
            items.append(_mapped(item, change))  # noqa: PERF401 # a comprehension costs a second frame of stack a level
        return items
    if kind is dict:
        object_ = {}
        for key, item in raw.items():
            object_[change(key)] = _mapped(item, change)
        return object_
    return raw


# ---- values that JSON has itself ------------------------------------------------------------------------------------


def pack_int(value: int) -> Any:
    """Return an integer in raw form."""
    return value if -_LONGEST_INT < value < _LONGEST_INT else {_INT: hex(value)}


def pack_float(value: float) -> Any:
    """Return a float in raw form."""
    return value if isfinite(value) else {_FLOAT: repr(value)}


def shielded(raw: dict[str, Any]) -> dict[str, Any]:
    """Return an object with keys of the user's own, kept from being taken for a tag."""
    return {_DICT: raw} if len(raw) == 1 and next(iter(raw)).startswith(TAG) else raw


def unshielded(raw: dict[str, Any]) -> dict[str, Any]:
    """Return the user's object as it was before `shielded`."""
    inner = raw.get(_DICT) if len(raw) == 1 else None
    return inner if type(inner) is dict else raw


def tag_of(raw: dict[str, Any]) -> str | None:
    """Return the tag of a tagged value, without its prefix."""
    if len(raw) == 1:
        key = next(iter(raw))
        if type(key) is str and key.startswith(TAG):
            return key[len(TAG) :]
    return None


def unpack_number(raw: dict[str, Any]) -> int | float | None:
    """Return the number that a tag stands for, None if it is no number's."""
    if len(raw) != 1:
        return None
    [(tag, said)] = raw.items()
    if tag == _FLOAT and said in _FLOATS:
        return float(said)
    if tag == _INT and type(said) is str:
        try:
            return int(said, 16)
        except ValueError:
            return None
    return None


def refuse(value: Any) -> NoReturn:
    """Refuse a value that is neither JSON's own nor declared."""
    raise Mismatch("", value)


def pack_native(value: Any) -> Any:
    """Return a value made of None, bool, int, float, str, list and dict with text keys, exactly these types, in raw form.

    Raises:
        Mismatch: something else is in it.
    """
    check = _CHECKS.get(type(value))
    if check is None:
        raise Mismatch("", value)
    return value if check(value) else tagged(value, refuse)


# Each says whether a native value is its own raw form, and refuses what is not native on the way. One frame of stack a level.


def _is_raw_list(value: list[Any]) -> bool:
    raw = True
    for position, item in enumerate(value):
        kind = type(item)
        if kind is not str:
            try:
                if not _CHECKS[kind](item):
                    raw = False
            except (KeyError, Mismatch) as error:
                wrong = error if isinstance(error, Mismatch) else Mismatch("", item)
                wrong.path.append(f"[{position}]")
                raise wrong from None
    return raw


def _is_raw_dict(value: dict[Any, Any]) -> bool:
    raw = len(value) != 1 or tag_of(value) is None
    for key, item in value.items():
        if type(key) is not str:
            raise Mismatch("", value, f"has the key {show(key)}; keys other than text must be declared, e.g. as dict[int, str]")
        kind = type(item)
        if kind is not str:
            try:
                if not _CHECKS[kind](item):
                    raw = False
            except (KeyError, Mismatch) as error:
                wrong = error if isinstance(error, Mismatch) else Mismatch("", item)
                wrong.path.append(key_step(key))
                raise wrong from None
    return raw


_CHECKS: dict[type, Callable[[Any], bool]] = {
    type(None): lambda _: True,
    bool: lambda _: True,
    int: lambda value: -_LONGEST_INT < value < _LONGEST_INT,
    float: isfinite,
    str: lambda _: True,
    list: _is_raw_list,
    dict: _is_raw_dict,
}


def tagged(value: Any, leaf: Callable[[Any], Any]) -> Any:
    """Return a native value in raw form, with tags where JSON needs them; what is not native is `leaf`'s."""
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return value
    if kind is int:
        return pack_int(value)
    if kind is float:
        return pack_float(value)
    if kind is list:
        items: list[Any] = []
        for item in value:
            items.append(tagged(item, leaf))  # noqa: PERF401 # a comprehension costs a second frame of stack a level
        return items
    if kind is dict and all(type(key) is str for key in value):
        raw = {}
        for key, item in value.items():
            raw[key] = tagged(item, leaf)
        return shielded(raw)
    return leaf(value)


def unpack_native(raw: Any) -> Any:
    """Return what `pack_native` packed. Tags of declared types stay as they are: so anything saved can be looked at."""
    return untagged(raw, dict)


def untagged(raw: Any, revive: Callable[[dict[str, Any]], Any]) -> Any:
    """Return what `tagged` packed, leaving `raw` as it is; tags of other things are `revive`'s."""
    if type(raw) is list:
        items: list[Any] = []
        for item in raw:
            items.append(untagged(item, revive) if type(item) is list or type(item) is dict else item)  # noqa: PERF401 # as above
        return items
    if type(raw) is not dict:
        return raw
    if tag_of(raw) is not None:
        inner = unshielded(raw)
        if inner is raw:
            number = unpack_number(raw)
            return revive(raw) if number is None else number
        raw = inner
    object_ = {}
    for key, item in raw.items():
        object_[key] = untagged(item, revive) if type(item) is list or type(item) is dict else item
    return object_
