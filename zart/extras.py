"""Parts of Zart that come with an extra, where it is not installed: whoever asks for them is told so, and nobody else."""

from collections.abc import Callable, Mapping
from typing import NoReturn


def lacking(module: str, absent: Mapping[str, str]) -> Callable[[str], NoReturn]:
    """Return the `__getattr__` of a module that has no `absent` names, since the extras that they need are not installed."""

    def refuse(name: str) -> NoReturn:
        if (extra := absent.get(name)) is not None:
            raise ModuleNotFoundError(f"{module}.{name} needs the extra {extra!r}; pip install 'zart-durable[{extra}]'")
        raise AttributeError(f"module {module!r} has no attribute {name!r}")

    return refuse
