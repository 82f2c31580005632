"""Where an exception comes from in the files of whoever uses Zart."""

import sysconfig
from pathlib import Path
from traceback import walk_tb
from types import FrameType

_ZART, _PYTHON = Path(__file__).parent, sysconfig.get_path("stdlib")
_INSTALLED = frozenset({"site-packages", "dist-packages"})
"""Folders below Python's own with what others have written."""


def users_frame(error: BaseException) -> tuple[FrameType, int] | None:
    """Return the innermost frame of users' code that an exception came through, with its line; None if there is none.

    What is installed counts only where nothing else does, and then from where it begins: it may be an application as a whole.
    """
    frames = [each for each in walk_tb(error.__traceback__) if not _is_foreign(Path(each[0].f_code.co_filename))]
    own = (each for each in reversed(frames) if not _is_installed(Path(each[0].f_code.co_filename)))
    return next(own, frames[0] if frames else None)


def _is_foreign(file: Path) -> bool:
    """Whether a file is Python's own or Zart's."""
    return (
        file.is_relative_to(_ZART)
        or str(file).startswith("<frozen ")
        or (file.is_relative_to(_PYTHON) and not _is_installed(file))
    )


def _is_installed(file: Path) -> bool:
    return not _INSTALLED.isdisjoint(file.parts)
