"""Records from the rows of `statements`, column by column."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attrs import fields

from zart.records import Execution, History, StepRecord
from zart.schedulers.sql import damage
from zart.schedulers.sql.crashed import workers
from zart.status import ExecutionStatus, Phase, StepKind

_STATUSES = {status.value: status for status in ExecutionStatus}
_KINDS = {kind.value: kind for kind in StepKind}
_PHASES = {phase.value: phase for phase in Phase}

_FIELDS = [each.name for each in fields(Execution) if each.name != "damage"]
_STATUS, _CRASHED_WORKERS, _MAIL, _SERVED = map(_FIELDS.index, ("status", "crashed_workers", "mail", "served"))
_NUMBERS = {"run", "attempt", "fence", "crashes", "created_at", "scheduled_at", "mail", "served"}
_NUMBERS_IF_ANY = {"started_at", "completed_at", "due_at", "deadline"}
_TEXTS_IF_ANY = {"result", "worker", "reason"}
# What stands in a sound row: SQLite keeps anything anywhere.
_TYPES: list[type | tuple[type, ...]] = [
    int
    if name in _NUMBERS
    else (int, type(None))
    if name in _NUMBERS_IF_ANY
    else (str, type(None))
    if name in _TEXTS_IF_ANY
    else str
    for name in _FIELDS
]
_STEP_TYPES: list[type | tuple[type, ...]] = [
    *(int, str, str, str, int, (str, type(None)), int),
    *((int, type(None)), (int, type(None)), (int, type(None)), int),
]
_MAIL_TYPES: list[type] = [int, object, object, int]  # its texts say it themselves


def execution(row: Sequence[Any]) -> Execution:
    """Return an execution, with what of it cannot be read in words."""
    columns = list(row)
    try:
        _check(columns, _TYPES)
        if columns[_MAIL] < 0:
            return damage.execution(row)
        columns[_STATUS] = _STATUSES[columns[_STATUS]]
        columns[_CRASHED_WORKERS] = workers(columns[_CRASHED_WORKERS])
        columns[_SERVED] = bool(columns[_SERVED])
        return Execution(*columns)
    except Exception:  # noqa: BLE001 # something of it cannot be read, and is now looked for
        return damage.execution(row)


def history(steps: Sequence[Sequence[Any]], letters: Iterable[Sequence[Any]]) -> History:
    """Return the records and mail of a run, with what of them cannot be read in words."""
    mail = list(letters)
    try:
        for each in steps:
            _check(each, _STEP_TYPES)
        for each in mail:
            _check(each, _MAIL_TYPES)
        return History([record(each) for each in steps], [damage.letter(each) for each in mail])
    except Exception:  # noqa: BLE001 # as above
        return damage.history(steps, mail)


def counts(found: Iterable[Sequence[Any]]) -> Mapping[ExecutionStatus, int]:
    """Return how many there are of each status; what has one that nobody knows is not counted."""
    return {_STATUSES[status]: number for status, number in found if status in _STATUSES}


def record(row: Sequence[Any]) -> StepRecord:
    """Return a step record."""
    seq, name, kind, phase, ok, *rest = row
    return StepRecord(seq, name, _KINDS[kind], _PHASES[phase], bool(ok), *rest)


def _check(columns: Sequence[Any], types: Sequence[type | tuple[type, ...]]) -> None:
    if not all(map(isinstance, columns, types)):
        raise TypeError("a column holds a value of another type")
