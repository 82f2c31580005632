"""What a function says that it returns."""

import functools
import inspect
import sys
import types
import typing
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, ForwardRef, get_args, get_origin

_NOTHING = frozenset({typing.Never, typing.NoReturn, Any, inspect.Signature.empty})
_ABSENT: Any = object()
_known: dict[tuple[types.CodeType, Any], Any] = {}


def return_type(fn: Callable[..., Any]) -> Any:
    """Return the declared type of what a call of `fn` comes to, `Any` if nothing is declared.

    `fn` is a function, a partial, a method, an object with `__call__`, or a class, which returns its instances. Of a coroutine
    function, or one that says to return an awaitable, it is the type of what is awaited.

    Raises:
        TypeError: the annotation names something that cannot be found.
    """
    while isinstance(fn, functools.partial):
        fn = fn.func
    if isinstance(fn, type):
        return fn
    function: Any = fn if isinstance(fn, types.FunctionType) else _function_of(fn)
    if function is None:
        return Any
    declared = function.__annotations__.get("return", _ABSENT)
    if declared is _ABSENT:
        return Any
    code = function.__code__
    if isinstance(declared, str) and code.co_freevars and any(name in declared for name in code.co_freevars):
        return _resolved(function, declared)  # names that stand for something else each time the function is made
    try:
        return _known[code, declared]
    except TypeError:  # unhashable, such as Annotated[int, []]
        return _resolved(function, declared)
    except KeyError:
        found = _known[code, declared] = _resolved(function, declared)
        return found


def _function_of(fn: Any) -> types.FunctionType | None:
    found = getattr(fn, "__func__", None) or getattr(fn, "__wrapped__", None) or getattr(type(fn), "__call__", None)  # noqa: B004
    if isinstance(found, types.FunctionType):
        return found
    return None
