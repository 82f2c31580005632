"""What a function says that it takes and returns."""

import functools
import inspect
import types
import typing
from collections.abc import Awaitable, Callable
from typing import Any, get_args, get_origin

from zart.codec.classes import UnresolvedType

_ABSENT: Any = object()
_known: dict[tuple[types.CodeType, Any], Any] = {}


def return_type(fn: Callable[..., Any]) -> Any:
    """Return the declared type of what a call of `fn` comes to, `Any` if nothing is declared.

    `fn` is a function, a partial, a method, an object with `__call__`, or a class, which returns its instances. Of a coroutine
    function, or one that says to return an awaitable, it is the type of what is awaited.

    Raises:
        TypeError: the annotation names something that cannot be found.
    """
    if type(fn) is types.FunctionType and not hasattr(fn, "__wrapped__"):
        try:
            return _known[fn.__code__, fn.__annotations__["return"]]
        except (KeyError, TypeError, NameError):
            pass  # not seen before, or nothing that can be kept
    else:
        fn = _whole(fn)
        if isinstance(fn, type):
            return fn
        fn = _function_of(fn)
    declared = _annotation(fn, "return")
    return Any if declared is _ABSENT else _type_of(fn, declared)


def parameter_type(fn: Callable[..., Any], name: str) -> Any:
    """Return the declared type of a parameter of a function, `Any` if nothing is declared; raises as `return_type` does."""
    fn = _function_of(_whole(fn))
    declared = _annotation(fn, name)
    return Any if declared is _ABSENT else _evaluated(fn, declared, f"annotation {declared!r} of {name!r}")


def _whole(fn: Any) -> Any:
    while isinstance(fn, functools.partial):
        fn = fn.func
    return fn


def _function_of(fn: Any) -> Any:
    if not hasattr(fn, "__wrapped__") and not inspect.isroutine(fn):
        fn = type(fn).__call__
    # A decorator's wrapper has its function's annotations, but not the names that they speak of.
    return inspect.unwrap(getattr(fn, "__func__", fn))


def _annotation(fn: Any, name: str) -> Any:
    try:
        return getattr(fn, "__annotations__", {}).get(name, _ABSENT)
    except NameError as error:  # evaluated only now, since Python 3.14
        raise _unresolved(fn, f"annotation of {name!r}", error) from None


def _type_of(function: Any, declared: Any) -> Any:
    code = function.__code__
    if isinstance(declared, str) and any(name in declared for name in code.co_freevars):
        return _resolved(function, declared)  # names that stand for something else each time the function is made
    try:
        return _known[code, declared]
    except TypeError:  # unhashable, such as Annotated[int, []]
        return _resolved(function, declared)
    except KeyError:
        found = _known[code, declared] = _resolved(function, declared)
        return found


def _resolved(function: Any, declared: Any) -> Any:
    found = _evaluated(function, declared, f"return annotation {declared!r}")
    if found is typing.Never or found is typing.NoReturn:
        return Any
    origin = get_origin(found) or found
    if isinstance(origin, type) and issubclass(origin, Awaitable):
        return (get_args(found) or (Any,))[-1]
    return found


def _evaluated(function: Any, declared: Any, what: str) -> Any:
    names = {each.__name__: each for each in getattr(function, "__type_params__", ())}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            names[name] = cell.cell_contents
        except ValueError:  # not yet assigned
            continue

    def carrier() -> None:
        """Carry the one annotation: those of the parameters need not be resolvable."""

    carrier.__annotations__ = {"return": declared}
    try:
        return typing.get_type_hints(carrier, function.__globals__, names, include_extras=True)["return"]
    except (NameError, AttributeError, SyntaxError, TypeError) as error:
        raise _unresolved(function, what, error) from None


def _unresolved(function: Any, what: str, error: Exception) -> UnresolvedType:
    mend = ", or pass returns=" if "return" in what else ""
    return UnresolvedType(
        f"the {what} of {function.__qualname__} cannot be resolved: {error}; "
        f"import the name where the function is defined{mend}"
    )
