"""Classes and exceptions by name, whatever users' code does when it is asked. Only `exactly` raises."""

_OWN = frozenset({"builtins", "zart.errors"})
_LONGEST = 255


def type_name(kind: type) -> str:
    """Return a class's qualified name; those of Python and Zart stand alone."""
    try:
        name, module = exactly(type.__dict__["__qualname__"].__get__(kind)), kind.__module__
        return name if module in _OWN else f"{exactly(module)}.{name}"[-_LONGEST:]
    except Exception:  # noqa: BLE001 # a metaclass may do anything
        return "(a class without a name)"


def said(error: object) -> str:
    """Return what an error says, even if its own `__str__` raises: it must not hide the error it is part of."""
    try:
        return str(error)
    except BaseException:  # noqa: BLE001 # users' code, and may raise even SystemExit
        return f"{type(error).__name__}, whose text cannot be had"


def exactly(text: str) -> str:
    """Return a text as a plain str, whatever a subclass makes of it.

    Raises:
        TypeError: it is none.
    """
    return str.__getitem__(text, slice(None))
