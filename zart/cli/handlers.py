"""`--app package.module:name`: finds the handlers that a command line speaks of."""

import importlib
import inspect
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from zart.cli.errors import Exit, Refused
from zart.factories import StepFactory
from zart.frames import users_frame
from zart.handler import TaskHandler
from zart.problems import parted
from zart.registry import Registry

_FORM = "write --app package.module:name, or set ZART_APP"
_WHERE = "start the command where the module can be imported from"
_ANYTHING = "name a Registry, a handler, handlers, or a function that returns one of these"


def registry_of(app: str | None) -> Registry:
    """Import what `--app` names and return it as a registry.

    It may be a Registry, a handler, several, or a function without arguments that returns one of these. The current directory
    can be imported from.

    Raises:
        Refused: (78) nothing is named, it cannot be imported, or it is something else.
    """
    if app is None:
        raise _refused("no handlers are named", _FORM)
    module, _, name = app.partition(":")
    if not module or not name:
        raise _refused(f"{app!r} does not say which module and which name in it", _meant(app))
    if "/" in module or module.startswith("."):
        raise _refused(f"{module!r} is no module", _not_a_file(module, name))
    found = _found(module, name)
    if isinstance(found, StepFactory):
        raise _refused(f"{app!r} is a step, which only a handler can run", f"name the handler, or a Registry: {_there(module)}")
    if isinstance(found, type):
        raise _refused(*_class(app, found))
    if inspect.iscoroutinefunction(found):
        raise _refused(f"{app!r} is an async function and no handler", "make it one with @zart_durable, or name a Registry")
    if not isinstance(found, (Registry, TaskHandler)) and callable(found):
        found = _called(app, found)
    return _registered(app, found)


def _found(module: str, name: str) -> Any:
    if os.getcwd() not in sys.path:  # noqa: PTH109 # an entry of the path is text
        sys.path.insert(0, os.getcwd())  # noqa: PTH109 # as above
    try:
        found: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and (module == error.name or module.startswith(f"{error.name}.")):
            hint = _not_a_file(module, name) if module.endswith(".py") else _WHERE
            raise _refused(f"there is no module {module!r}", hint) from error
        raise _refused(f"{module!r} cannot be imported: {error}{_place(error)}", "install what it needs") from error
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        # A module may fail in any way, SystemExit included.
        raise _refused(
            f"{module!r} cannot be imported: {type(error).__name__}: {error}{_place(error)}", "importing it must work by itself"
        ) from error
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise _refused(f"{module!r} has no {name!r}", _there(module)) from None
    return found


def _place(error: BaseException) -> str:
    """Return where in the user's own files an error comes from, in brackets; nothing if it is in none, or says so itself."""
    if isinstance(error, SyntaxError):
        return ""
    found = users_frame(error)
    if found is None:
        return ""
    frame, line = found
    file = Path(frame.f_code.co_filename)
    return f" ({file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file}, line {line})"


def _class(app: str, found: type) -> tuple[str, str]:
    """Return what is wrong with naming a class, and what to name."""
    if issubclass(found, TaskHandler):
        return f"{app!r} is a handler's class, not a handler", f"name an instance, {found.__name__}(), or a Registry with it"
    return f"{app!r} is the class {found.__name__}", _ANYTHING


def _meant(app: str) -> str:
    """Return what to write for a name without its colon, or without what stands on one side of it."""
    module, _, name = app.strip(":").rpartition(".")
    if ":" not in app and module and name != "py":
        return f"write --app {module}:{name}"
    return f"write --app {_module(app.strip(':'))}:name" if app.strip(":") else _FORM


def _not_a_file(file: str, name: str) -> str:
    return f"name the module, not its file: --app {_module(file)}:{name}"


def _module(file: str) -> str:
    """Return what the module in a file is called."""
    return file.removesuffix(".py").strip("./").replace("/", ".")


def _there(module: str) -> str:
    """Return which names of a module could be meant."""
    found = vars(sys.modules[module])
    names = sorted(name for name, each in found.items() if isinstance(each, (Registry, TaskHandler)))
    if not names:
        return f"{module!r} has no Registry and no handler yet; make one and name it"
    return f"it has {', '.join(f'{module}:{each}' for each in names)}"


def _called(app: str, factory: Callable[[], Any]) -> Any:
    try:
        return factory()
    except Exception as error:
        raise _refused(
            f"{app!r} was called and failed: {type(error).__name__}: {error}{_place(error)}", "it is called without arguments"
        ) from error


def _registered(app: str, found: Any) -> Registry:
    if isinstance(found, Registry):
        registry = found
    else:
        if isinstance(found, TaskHandler):
            found = [found]
        if not isinstance(found, Iterable) or isinstance(found, str | bytes):
            raise _refused(f"{app!r} is of type {type(found).__name__}", _ANYTHING)
        try:
            registry = Registry(_instances(app, found))
        except (TypeError, ValueError) as error:
            message, mend = parted(error)
            raise _refused(f"{app!r}: {message}", mend or "mend the handler") from error
    if not len(registry):
        raise _refused(f"{app!r} holds no handler", "register at least one")
    return registry


def _instances(app: str, found: Iterable[Any]) -> Iterable[Any]:
    for each in found:
        if isinstance(each, type):
            raise _refused(f"{app!r} holds the class {each.__name__}", f"put an instance there, {each.__name__}()")
        yield each


def _refused(message: str, hint: str) -> Refused:
    return Refused("bad_app", message, hint, Exit.CONFIGURATION)
