"""`zart migrate`."""

import sys
from typing import Annotated, Any, Protocol, runtime_checkable

from cyclopts import Parameter

from zart.cli.database import storage_at
from zart.cli.output import put_record
from zart.cli.settings import DEFAULTS, DatabaseSettings, masked
from zart.cli.terminal import visible
from zart.schedulers import urls_of


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
    """Bring the database's schema to this version.

    It is safe to repeat and to run from several processes at once. Prints the version it found and the one it left. Of shards
    these are the lowest of theirs; each shard is also given its place among the others, which the SQL of --print does not do:
    run `zart migrate` once afterwards.

    Args:
        print: Change nothing, and print the SQL that would run now as one transaction. It is SQL also where stdout is no
            terminal; only with --json or -o does it stand in a JSON object, as `sql`. When there is nothing to run, stdout
            stays empty and stderr says so.
        settings: What every command takes.
    """
    storage = storage_at(settings.database)
    if print:
        await _print(settings)
        return
    shards = urls_of(settings.database)
    before = [await _version(each) for each in shards]
    await storage.migrate()
    after = [await _version(each) for each in shards]
    found: dict[str, Any] = {"database": masked(settings.database), "from": _lowest(before), "to": _lowest(after)}
    if len(shards) > 1:
        rows = zip(shards, before, after, strict=True)
        found["shards"] = [{"database": masked(url), "from": old, "to": new} for url, old, new in rows]
    put_record(found, settings.format)


def _lowest(versions: list[int | None]) -> int | None:
    known = [each for each in versions if each is not None]
    return min(known) if known else None


async def _script(url: str) -> str:
    storage = storage_at(url)
    return await storage.migration_script() if isinstance(storage, Versioned) else ""


async def _print(settings: DatabaseSettings) -> None:
    place = masked(settings.database)
    shards = urls_of(settings.database)
    scripts = [await _script(each) for each in shards]
    if len(shards) > 1:  # each is for another database
        scripts = [f"-- {masked(url)}\n{sql}" if sql else "" for url, sql in zip(shards, scripts, strict=True)]
    script = "\n".join(filter(None, scripts))
    if not script:
        sys.stderr.write(visible(f"zart: there is nothing to run on {place}") + "\n")
    if settings.json or settings.output in {"json", "jsonl"}:
        put_record({"database": place, "sql": script}, settings.format)
    else:
        sys.stdout.write(script)


async def _version(url: str) -> int | None:
    storage = storage_at(url)
    return await storage.schema_version() if isinstance(storage, Versioned) else None
