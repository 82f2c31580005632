"""`zart migrate`."""

from typing import Protocol, runtime_checkable

from zart.cli.database import storage_at
from zart.cli.output import put_record
from zart.cli.settings import DEFAULTS, Settings, masked
from zart.scheduler import Storage


@runtime_checkable
class Versioned(Protocol):
    """A storage whose schema has a version; the one in memory has none."""

    async def schema_version(self) -> int:
        """Return the schema's version, 0 where there is none yet; may be asked before the storage is opened."""
        ...


async def migrate(
    *,
    settings: Settings = DEFAULTS,
) -> None:
    """Bring the database's schema to this version; safe to repeat and to run from several processes at once.

    Prints the version it found and the one it left.

    Args:
        settings: What every command takes.
    """
    storage = storage_at(settings.database_url)
    before = await _version(storage)
    await storage.migrate()
    found = {"database": masked(settings.database_url), "from": before, "to": await _version(storage)}
    put_record(found, settings.format)


async def _version(storage: Storage) -> int | None:
    return await storage.schema_version() if isinstance(storage, Versioned) else None
