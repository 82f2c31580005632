"""`zart migrate`."""

import sys
from typing import Annotated, Protocol, runtime_checkable

from cyclopts import Parameter

from zart.cli.database import storage_at
from zart.cli.output import put_record
from zart.cli.settings import DEFAULTS, DatabaseSettings, masked
from zart.cli.terminal import visible
from zart.scheduler import Storage


@runtime_checkable
class Versioned(Protocol):
    """A storage whose schema has a version; the one in memory has none."""

    async def schema_version(self) -> int:
        """Return the schema's version, 0 where there is none yet; may be asked before the storage is opened."""
        ...

    async def migration_script(self) -> str:
        """Return the SQL that `migrate` would run now, empty when there is nothing to do; may be asked as early."""
        ...


async def migrate(
    *,
    print: Annotated[bool, Parameter(negative=())] = False,  # noqa: A002 # what the option is called
    settings: DatabaseSettings = DEFAULTS,
) -> None:
    """Bring the database's schema to this version; safe to repeat and to run from several processes at once.

    Prints the version it found and the one it left.

    Args:
        print: Change nothing, and print the SQL that would run now as one transaction. It is SQL also where stdout is no
            terminal; only with --json or -o does it stand in a JSON object, as `sql`. When there is nothing to run, stdout
            stays empty and stderr says so.
        settings: What every command takes.
    """
    storage = storage_at(settings.database)
    if print:
        await _print(storage, settings)
        return
    before = await _version(storage)
    await storage.migrate()
    found = {"database": masked(settings.database), "from": before, "to": await _version(storage)}
    put_record(found, settings.format)


async def _print(storage: Storage, settings: DatabaseSettings) -> None:
    place = masked(settings.database)
    script = await storage.migration_script() if isinstance(storage, Versioned) else ""
    if not script:
        sys.stderr.write(visible(f"zart: there is nothing to run on {place}") + "\n")
    if settings.json or settings.output in {"json", "jsonl"}:
        put_record({"database": place, "sql": script}, settings.format)
    else:
        sys.stdout.write(script)


async def _version(storage: Storage) -> int | None:
    return await storage.schema_version() if isinstance(storage, Versioned) else None
