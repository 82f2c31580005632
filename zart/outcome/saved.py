"""Exceptions as text, and back: equal in class, text and arguments.

A saved error is an object with the class's name, those of its ancestors, its arguments, its attributes and its words. Each part
is a pair: `["", value]` describes itself, `["amount", value]` is of the type that the class declares under that name. An
exception is made again without calling its class: by its builtin ancestor's `__new__` and `__init__`, then arguments and
attributes. So an `__init__` with parameters of its own cannot be called wrongly. An attribute that cannot be saved is left out;
an argument that cannot, or a class that is not declared, makes the error a `StepFailed`.
"""

import builtins
import inspect
import typing
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import WrapperDescriptorType
from typing import Any

from zart import errors
from zart.codec.leaves import LEAVES
from zart.codec.shapes import shape_of
from zart.codec.text import TAG, Mismatch, read, refuse, tag_of, tagged, untagged, write
from zart.errors import DeserializationError, PayloadTooLarge, SealedPayload, StepFailed, UndeclaredType, ZartError
from zart.naming import type_name
from zart.outcome.wording import text_of, trace_of
from zart.payloads import why_sealed
from zart.status import ExecutionStatus

Declared = tuple[type[BaseException], ...]
Saved = dict[str, Any]

LARGEST = 256 * 1024
"""Characters of a saved error (a quarter inside another); a larger one is saved as `StepFailed`, whose texts are cut."""

TYPE = TAG + "type"
REFUSED = "StorageRefused"
"""What an outcome that storage has refused to hold has as the error type of its `StepFailed`."""
_LABEL = "zart_step"
_COLLECTIONS: dict[str, Callable[[Any], Any]] = {"tuple": tuple, "set": set, "frozenset": frozenset, "dict": dict}


def _table(names: dict[str, Any], root: type[BaseException]) -> dict[str, type[BaseException]]:
    return {name: kind for name, kind in names.items() if isinstance(kind, type) and issubclass(kind, root)}


_ZART = _table(vars(errors), ZartError)
_BUILTIN = _table(vars(builtins), BaseException)
_FINAL = frozenset(kind.__name__ for kind in (UndeclaredType, PayloadTooLarge, DeserializationError))
_STANDARD = {kind.__name__: shape for kind, shape in LEAVES.items() if isinstance(kind, type) and kind in shape.python}


def step_failed(step: str, error: BaseException) -> StepFailed:
    """Return what the body sees of an error that is not declared; the error is its `__cause__`."""
    failed = StepFailed(step, type_name(type(error)), text_of(error), trace_of(error))
    failed.__cause__ = error
    return failed


def save_error(error: BaseException, declared: Declared, step: str = "") -> str:
    """Return an error as text. What is neither declared nor Zart's own is saved as `StepFailed`. Raises nothing."""
    return error_through(error, declared, step)[0]


def error_through(error: BaseException, declared: Declared, step: str = "") -> tuple[str, BaseException]:
    """Return an error as text and as a replay would see it, with the traceback of the error itself. Raises nothing."""
    saved = _faithful(error, declared, step, nested=False) or _plain(error, step)
    text = write(saved)
    seen = load_error(text, declared)
    # Not by assignment: a class may have a __setattr__ of its own.
    same = type(seen) is type(error)
    BaseException.__setattr__(seen, "__cause__", error.__cause__ if same else error)
    if same:
        BaseException.__setattr__(seen, "__suppress_context__", error.__suppress_context__)
        BaseException.__setattr__(seen, "__traceback__", error.__traceback__)
    return text, seen


def load_error(text: str, declared: Declared) -> BaseException:
    """Return the error that was saved: itself if its class is still declared, else a declared ancestor, else `StepFailed`.

    Raises nothing: of a text that is no saved error, a `DeserializationError` tells.
    """
    try:
        saved = read(text)
        return revived(saved, declared) if "class" in saved else _unreadable(text)
    except Exception:  # noqa: BLE001 # whatever is in storage must not end a worker
        return _unreadable(text)


def is_final(text: str) -> bool:
    """Whether a saved error is that of a result that could not be saved; its function must never run again."""
    try:
        saved = read(text)
        if saved["class"] == StepFailed.__name__:
            return bool(saved["state"]["error_type"][1] == REFUSED)
        return saved["sort"] == "zart" and saved["class"] in _FINAL
    except Exception:  # noqa: BLE001 # as above
        return False


def saved_error(error: BaseException | None, declared: Declared, step: str = "") -> Saved | None:
    """Return an error in raw form if it can be had back as itself, being declared, Zart's or Python's own; else None."""
    return None if error is None else _faithful(error, declared, step, nested=True)


def revived(saved: Saved, declared: Declared) -> BaseException:
    """Return the error that raw form stands for, or a `StepFailed` with its words.

    Raises:
        Exception: raw form is not that of a saved error.
    """
    kind = _class_of(saved, declared)
    if kind is not None:
        with suppress(Exception):  # a class that has changed since
            return _Reader(declared).error(saved, kind)
    return StepFailed(saved["step"], saved["class"], saved["message"], saved.get("traceback", ""))


def _unreadable(text: str) -> DeserializationError:
    if (why := why_sealed(text)) is not None:
        return SealedPayload(f"what was saved {why}")
    return DeserializationError(f"what was saved is not an error: {text[:60]!r}; it was written by something else, or damaged")


def _plain(error: BaseException, step: str) -> Saved:
    return _Writer((), step).error(step_failed(step, error), "zart")


def _faithful(error: BaseException, declared: Declared, step: str, *, nested: bool) -> Saved | None:
    """Return an error in raw form, None unless it comes back as it is."""
    try:
        sort = _sort_of(type(error), declared, nested=nested)
        saved = None if sort is None else _Writer(declared, step).error(error, sort)
        return saved if saved and _comes_back(saved, type(error), declared, LARGEST // 4 if nested else LARGEST) else None
    except Exception:  # noqa: BLE001 # users' classes: whatever they do, there is the plain form
        return None


def _comes_back(saved: Saved, kind: type[BaseException], declared: Declared, largest: int) -> bool:
    text = write(saved)
    if len(text) > largest:
        return False
    again = revived(read(text), declared)
    # What is inside has been tried by itself; to try it again at each level would double the work with each.
    writer = _Writer(declared, saved["step"], proven=True)
    return type(again) is kind and _essence(writer.error(again, saved["sort"])) == _essence(saved)


def _sort_of(kind: type[BaseException], declared: Declared, *, nested: bool) -> str | None:
    if _ZART.get(kind.__name__) is kind:
        return "zart"
    if issubclass(kind, declared):
        return "declared"
    return "builtin" if nested and _BUILTIN.get(kind.__name__) is kind else None


def _essence(saved: Saved) -> str:
    return write(_untraced([saved["args"], saved["state"], saved["message"]]))


def _untraced(raw: Any) -> Any:
    """Return raw form without the tracebacks of the errors inside: one that was made again has none."""
    if type(raw) is list:
        return [_untraced(each) for each in raw]
    if type(raw) is dict:
        return {key: _untraced(each) for key, each in raw.items() if key != "traceback" or "sort" not in raw}
    return raw


def _class_of(saved: Saved, declared: Declared) -> type[BaseException] | None:
    match saved["sort"]:
        case "zart":
            return _ZART.get(saved["class"])
        case "builtin":
            return _BUILTIN.get(saved["class"])
        case _:
            return next(filter(None, (_named(name, declared) for name in (saved["class"], *saved["ancestors"]))), None)


def _named(name: str, declared: Declared) -> type[BaseException] | None:
    return next((kind for kind in _with_subclasses(declared) if type_name(kind) == name), None)


def _with_subclasses(declared: Declared) -> Iterator[type[BaseException]]:
    seen: set[int] = set()
    rest = list(reversed(declared))
    while rest:
        kind = rest.pop()
        if id(kind) not in seen:
            seen.add(id(kind))
            yield kind
            rest.extend(type.__subclasses__(kind))


def _origin(kind: type[BaseException]) -> Any:
    """Return the builtin class that an exception class comes from; it knows the parts that Python keeps out of `__dict__`."""
    return next(each for each in kind.__mro__ if _BUILTIN.get(each.__name__) is each)


def _hints(kind: type[BaseException]) -> dict[str, Any]:
    hints: dict[str, Any] = {}
    for owner in (kind, kind.__init__):
        with suppress(Exception):  # names that cannot be resolved: the parts must do without
            hints |= typing.get_type_hints(owner, include_extras=True)
    return hints


class _Writer:
    """Puts exceptions into raw form."""

    def __init__(self, declared: Declared, step: str, *, proven: bool = False) -> None:
        self.declared = declared
        self.step = step
        self.proven = proven

    def error(self, error: BaseException, sort: str) -> Saved:
        """Return an exception in raw form.

        Raises:
            Exception: an argument that cannot be saved, or whatever the class raises when it is looked at.
        """
        kind = type(error)
        _, initial, *more = _origin(kind).__reduce__(error)
        hints = _hints(kind)
        names = _parameters(kind)
        state = dict(more[0]) if more and more[0] else {}
        saved = {
            "sort": sort,
            "class": type_name(kind),
            "ancestors": [type_name(each) for each in kind.__mro__[1:] if issubclass(each, self.declared)],
            "args": self._parts(error.args, names, hints),
            "state": dict(self._state({**state, **_slots(error)}, hints)),
            "step": self.step or str(state.get(_LABEL, "")),
            "message": text_of(error),
        }
        if len(initial) != len(error.args):  # an OSError keeps the names of its files elsewhere
            saved["initial"] = self._parts(initial, names, hints)
        if sort == "declared":
            saved["traceback"] = trace_of(error)
        return saved

    def _parts(self, values: tuple[Any, ...], names: list[str], hints: dict[str, Any]) -> list[Any]:
        named = names + [""] * len(values)
        return [self._part(value, name, hints) for value, name in zip(values, named, strict=False)]

    def _state(self, state: dict[str, Any], hints: dict[str, Any]) -> Iterator[tuple[str, Any]]:
        for name, value in state.items():
            if name != _LABEL:
                with suppress(Exception):
                    yield name, self._part(value, name, hints)

    def _part(self, value: Any, name: str, hints: dict[str, Any]) -> list[Any]:
        try:
            return ["", tagged(value, self._described)]
        except Mismatch:
            if name not in hints:
                raise
            return [name, shape_of(hints[name]).pack(value)]

    def _described(self, value: Any) -> Any:
        """Return what is not JSON's own with the name of its type, if it is one of a few."""
        kind = type(value)
        if kind.__name__ in _STANDARD and kind in _STANDARD[kind.__name__].python:
            inner = _STANDARD[kind.__name__].pack(value)
        elif kind is tuple or kind is set or kind is frozenset:
            inner = [tagged(item, self._described) for item in value]
            inner = inner if kind is tuple else sorted(inner, key=repr)
        elif kind is dict:
            inner = [[tagged(key, self._described), tagged(item, self._described)] for key, item in value.items()]
        elif kind is ExecutionStatus:
            inner = value.value
        elif isinstance(value, BaseException):
            return {TYPE: ["error", self._nested(value)]}
        else:
            refuse(value)
        return {TYPE: [kind.__name__, inner]}

    def _nested(self, error: BaseException) -> Saved:
        sort = _sort_of(type(error), self.declared, nested=True) if self.proven else None
        if sort is not None:
            return self.error(error, sort)
        return saved_error(error, self.declared, self.step) or _plain(error, self.step)


class _Reader:
    """Makes exceptions from raw form."""

    def __init__(self, declared: Declared) -> None:
        self.declared = declared

    def error(self, saved: Saved, kind: type[BaseException]) -> BaseException:
        """Return an exception as it was saved.

        Raises:
            Exception: the class does not take it.
        """
        hints = _hints(kind)
        args = [self._part(part, hints) for part in saved["args"]]
        initial = [self._part(part, hints) for part in saved["initial"]] if "initial" in saved else args
        origin = _origin(kind)
        made: BaseException = origin.__new__(kind, *initial)
        with suppress(Exception):  # not called by the class either, if its arguments are its own
            origin.__init__(made, *initial)
        BaseException.__setattr__(made, "args", tuple(args))
        for name, part in saved["state"].items():
            with suppress(Exception):
                BaseException.__setattr__(made, name, self._part(part, hints))
        if saved["step"]:
            BaseException.__setattr__(made, _LABEL, saved["step"])
        return made

    def _part(self, part: list[Any], hints: dict[str, Any]) -> Any:
        name, raw = part
        return shape_of(hints[name]).unpack(raw) if name else untagged(raw, self._undescribed)

    def _undescribed(self, raw: dict[str, Any]) -> Any:
        if tag_of(raw) != "type":
            raise Mismatch("", raw, "has a tag that nothing has written")
        name, inner = raw[TYPE]
        if name in _STANDARD:
            return _STANDARD[name].unpack(inner)
        if name == "error":
            return revived(inner, self.declared)
        if name == ExecutionStatus.__name__:
            return ExecutionStatus(inner)
        items: Any = untagged(inner, self._undescribed)
        return _COLLECTIONS[name](items)


def _parameters(kind: type[BaseException]) -> list[str]:
    if isinstance(kind.__init__, WrapperDescriptorType):  # a builtin's, which names nothing and is long in being read
        return []
    with suppress(ValueError, TypeError):
        parameters = list(inspect.signature(kind.__init__).parameters.values())[1:]
        return [each.name for each in parameters if each.kind is each.POSITIONAL_OR_KEYWORD]
    return []


def _slots(error: BaseException) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for kind in type(error).__mro__:
        slots = vars(kind).get("__slots__", ())
        for slot in (slots,) if isinstance(slots, str) else slots:
            name = f"_{kind.__name__.lstrip('_')}{slot}" if slot.startswith("__") and not slot.endswith("__") else slot
            if hasattr(error, name) and name not in {"__weakref__", "__dict__"}:
                found[name] = getattr(error, name)
    return found
