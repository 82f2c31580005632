"""Records from the rows of `statements`, column by column."""

from collections.abc import Sequence
from typing import Any

import msgspec
from attrs import fields

from zart.records import Execution, Mail, StepRecord
from zart.status import ExecutionStatus, Phase, StepKind

_STATUSES = {status.value: status for status in ExecutionStatus}
_KINDS = {kind.value: kind for kind in StepKind}
_PHASES = {phase.value: phase for phase in Phase}

_FIELDS = [each.name for each in fields(Execution)]
_STATUS, _CRASHED_WORKERS, _SERVED = (_FIELDS.index(name) for name in ("status", "crashed_workers", "served"))


def execution(row: Sequence[Any]) -> Execution:
    """Return an execution."""
    columns = list(row)
    columns[_STATUS] = _STATUSES[columns[_STATUS]]
    columns[_CRASHED_WORKERS] = tuple(msgspec.json.decode(columns[_CRASHED_WORKERS]))
    columns[_SERVED] = bool(columns[_SERVED])
    return Execution(*columns)


def record(row: Sequence[Any]) -> StepRecord:
    """Return a step record."""
    seq, name, kind, phase, ok, *rest = row
    return StepRecord(seq, name, _KINDS[kind], _PHASES[phase], bool(ok), *rest)


def mail(row: Sequence[Any]) -> Mail:
    """Return one event of a mailbox."""
    return Mail(*row)
