"""`zart demo`."""

import shutil
import sys
import tempfile
from pathlib import Path

from zart.cli.demo.story import Story, Told
from zart.cli.errors import Exit, Problem, Refused, complain
from zart.cli.output import put_record
from zart.cli.settings import DEFAULTS, OutputSettings
from zart.cli.terminal import visible


async def demo(
    *,
    keep: Path | None = None,
    settings: OutputSettings = DEFAULTS,
) -> int:
    """Run a data pipeline, kill its worker, watch it finish.

    It has a SQLite database of its own. It kills the worker with `kill -9` in the middle of a step, starts the worker again and
    gives the approval that a person would give. The table at the end says how often each step's function started, counted by
    the functions themselves, and how often its outcome was saved. Exit code 1 if a number is not as it must be: everything
    saved once, the interrupted step started twice, all others once.

    Args:
        keep: A new or empty folder for all files; without it only the report is kept, in a temporary folder.
        settings: How to print.
    """
    folder = _folder(keep)
    told: Told | None = None
    try:
        told = await Story(folder, _say).play()
    finally:
        if keep is None:
            _clear(folder, told)
    put_record(told.record, settings.format)
    if not told.differences:
        return Exit.DONE
    sys.stdout.flush()
    hint = "keep all files with --keep DIR and look at worker.log"
    complain(Problem("demo_differs", "; ".join(told.differences), hint, Exit.FAILED), as_json=settings.format != "table")
    return Exit.FAILED


def _folder(keep: Path | None) -> Path:
    if keep is None:
        return Path(tempfile.mkdtemp(prefix="zart-demo-"))
    try:
        keep.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"the folder {str(keep)!r} cannot be made: {error.strerror or error}"
        raise Refused("usage", message, "name another one with --keep", Exit.USAGE) from error
    if any(keep.iterdir()):
        raise Refused("folder_not_empty", f"the folder {str(keep)!r} is not empty", "name a new one", Exit.USAGE)
    return keep.resolve()


def _clear(folder: Path, told: Told | None) -> None:
    if told is None:
        shutil.rmtree(folder, ignore_errors=True)
        return
    report = {told.record["table"], told.record["chart"]}
    for path in folder.iterdir():
        if str(path) not in report:
            path.unlink()


def _say(seconds: float, line: str) -> None:
    sys.stderr.write(visible(f"{seconds:5.1f} s  {line}") + "\n")
    sys.stderr.flush()
