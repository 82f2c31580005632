"""The database that a URL names, or the shards that several name."""

import os
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

from zart.cli.errors import Exit, Problem, Refused, without_extra
from zart.cli.sealing import payload_codec
from zart.cli.settings import DATABASE_VARIABLES, masked
from zart.cli.terminal import visible
from zart.errors import NotSupported, SchedulerError
from zart.places import MAP, Place
from zart.problems import parted
from zart.scheduler import Shardable, Storage
from zart.schedulers import connect, urls_of


def storage_at(url: str) -> Storage:
    """Return the unopened storage of a database URL, behind the payload codec that the environment asks for.

    Raises:
        Refused: (78) it is no URL of a database that Zart knows, its driver is not installed, or the codec cannot be had.
    """
    codec = payload_codec()
    try:
        return connect(url, payload_codec=codec)
    except (ValueError, NotSupported) as error:
        raise Refused.of(without_extra(error) or _bad(url, error)) from error


async def tell_of_others(storage: Storage, url: str) -> None:
    """Say on stderr that an open database is one of several shards: those that were not given are neither seen nor served."""
    if not isinstance(storage, Shardable):  # such as all shards together
        return
    try:
        kept = await storage.recall(MAP)
        place = None if kept is None else Place.of(kept)
    except (SchedulerError, ValueError):
        return  # what the command itself asks for tells what is wrong
    if place is not None and place.shards > 1:
        said = f"{masked(url)} is shard {place.shard} of the shards 0 to {place.shards - 1}, and this sees and serves no other"
        hint = "give all of them, in their order: --database-url URL0,URL1,..."
        sys.stderr.write(visible(f"zart: {said}; {hint}") + "\n")
        sys.stderr.flush()


def _bad(url: str, error: Exception) -> Problem:
    message, mend = parted(error)
    if "names no storage" not in message:  # then it says which
        message = f"{masked(url)!r} cannot be used: {message}"
    hint = mend or "give --database-url or ZART_DATABASE_URL, such as sqlite:///zart.db"
    said = next((each for each in DATABASE_VARIABLES if os.environ.get(each) == url), None)
    return Problem("bad_database_url", message, hint if said is None else f"{hint} ({said} says so now)", Exit.CONFIGURATION)


def is_absent(url: str) -> bool:
    """Whether the URL names a SQLite file that opening it would make; of shards, whether all are such.

    Raises:
        Refused: as for `storage_at`; (78) some shards are absent, and others are there.
    """
    storage_at(url)
    parts = urls_of(url)
    absent = [each for each in parts if _is_absent_file(each)]
    if absent and len(absent) < len(parts):
        hint = "give all shards as they were when they were made, or run `zart migrate` to make them"
        message = f"there is no database {masked(absent[0])}, and there are other shards"
        raise Refused("schema_mismatch", message, hint, Exit.CONFIGURATION)
    return bool(absent)


def _is_absent_file(url: str) -> bool:
    parts = urlsplit(url)
    if parts.scheme.partition("+")[0] != "sqlite":
        return False
    file = Path(unquote(parts.path[1:]))
    return file.parent.is_dir() and not file.exists()
