"""`zart doctor`."""

from collections.abc import Sequence

from zart.checkup import Finding, Verdict
from zart.cli.errors import Exit
from zart.cli.examining import examined
from zart.cli.inputs import read_length
from zart.cli.output import Record, put_records, put_table
from zart.cli.settings import DEFAULTS, DatabaseSettings, masked

_EXITS = {
    "database": Exit.UNAVAILABLE,
    "schema": Exit.CONFIGURATION,
    "pooler": Exit.CONFIGURATION,
    "settings": Exit.CONFIGURATION,
    "shards": Exit.CONFIGURATION,
}
"""Check -> how to leave when it fails; the first that failed decides."""


async def doctor(
    *,
    snapshot_age: str = "1m",
    settings: DatabaseSettings = DEFAULTS,
) -> int:
    """Examine the database and the way to it, and say what to do about what is wrong.

    Looks whether the database answers and takes writes; whether it is set so that what was acknowledged outlives a crash;
    whether a pooler stands before it and the URL says so; whether notifications arrive; whether clocks agree, and none has
    been set back; whether somebody holds a snapshot; whether the schema is of this version and all its indexes are there;
    whether vacuum keeps up; and whether what is due has a worker that serves it. On MySQL and MariaDB also: isolation level,
    binary log, packets, the Galera cluster, and this user's privileges. On SQLite: what of this a file can have, where it
    lies, and whether its write lock can be had. Each shard is looked at by itself, and then whether they belong together.
    Nothing is changed.

    Exit code 0 when nothing has failed, though there may be warnings; 69 when the database does not answer, 78 when the
    schema, the pooler, the server's settings or the shards are not as they must be, else 1.

    Args:
        snapshot_age: On a server, how long a snapshot may be held before it is told: seconds, or e.g. 30s, 5m.
        settings: What every command takes.
    """
    age = read_length(snapshot_age, "--snapshot-age")
    findings = await examined(settings.database, age)
    if settings.format == "table":
        put_table([_row(each) for each in findings], notes=[_note(each) for each in findings])
    else:
        put_records([_record(each) for each in findings], settings.format, ())
    return exit_of(findings)


def exit_of(findings: Sequence[Finding]) -> Exit:
    """Return how to leave."""
    failed = (each.check.rpartition(": ")[2] for each in findings if each.verdict is Verdict.FAIL)
    return next((_EXITS.get(check, Exit.FAILED) for check in failed), Exit.DONE)


def _record(finding: Finding) -> Record:
    return {
        "check": finding.check,
        "ok": finding.verdict is Verdict.OK,
        "result": finding.verdict.value,
        "detail": masked(finding.detail),
        "hint": masked(finding.hint),
    }


def _row(finding: Finding) -> Record:
    """Return what stands in the table: of what is wrong everything is said below, where there is room."""
    said = masked(finding.detail) if finding.verdict is Verdict.OK else None
    return {"check": finding.check, "result": finding.verdict.value, "detail": said}


def _note(finding: Finding) -> Record:
    if finding.verdict is Verdict.OK:
        return {}
    return {"found": (masked(finding.detail),), "mend": (f"-> {masked(finding.hint)}",)}
