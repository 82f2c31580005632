"""Handing out due executions from SQLite (rule 2)."""

import json
import re
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import msgspec
from attrs import define

from zart.clock import Instant
from zart.errors import WorkerNotAlive
from zart.records import Claim, Demand, Mail, Token
from zart.schedulers.sql import damage, rows
from zart.schedulers.sql.crashed import workers
from zart.schedulers.sqlite.faults import of_storage
from zart.schedulers.sqlite.queries import from_json, statements, to_json
from zart.schedulers.sqlite.writer import Batch, Job, Unsettled

_SQL = statements("claim")
Rows = list[Sequence[Any]]
PEEK = _SQL["peek"].sql

# What stands in sound rows, after the key: SQLite keeps anything anywhere. To be told while it reads costs msgspec nothing.
_Execution: TypeAlias = tuple[int, str, int, int, str, str, str, str | None, int, int, str, int, int | None]
_Step: TypeAlias = tuple[int, int, str, str, str, int, str | None, int, int | None, int | None, int | None, int]
_Letter: TypeAlias = tuple[int, int, str, str, int]
_EXECUTIONS: msgspec.json.Decoder[list[_Execution]] = msgspec.json.Decoder(list[_Execution])
_STEPS: msgspec.json.Decoder[list[_Step]] = msgspec.json.Decoder(list[_Step])
_MAIL: msgspec.json.Decoder[list[_Letter]] = msgspec.json.Decoder(list[_Letter])
_INFINITY = re.compile(r'("(?:[^"\\]|\\.)*")|\bInf\b')
"""An infinite number in SQLite's JSON, and texts, in which it is none."""


def asked(demand: Demand) -> dict[str, Any]:
    """Return what `PEEK` is told of a demand."""
    return {
        "worker": demand.worker,
        "queues": to_json(list(dict.fromkeys(demand.queues))),
        "tasks": to_json(list(demand.tasks)),
        "suspects": max(demand.suspects, 0),
    }


@define
class Handed:
    """What a claim got, and what a later wait should know."""

    number: int
    """Of the batch in which it looked."""
    now: Instant
    news: int | None
    """The worker's."""
    due_at: Instant | None
    """When the next execution is due that this demand could take and did not get."""
    executions: str = "[]"
    """As JSON, like the next two: opened by who asked, not in the lane, which would have the interpreter's lock meanwhile."""
    steps: str = "[]"
    mail: str = "[]"
    bare: Sequence[tuple[Sequence[Any], Rows, Rows]] = ()
    """In place of these, if JSON cannot hold them: each execution with its records and mail, as the columns hold them."""

    @property
    def claims(self) -> list[Claim]:
        """What was handed out, made anew at each look."""
        if self.bare:
            return [damage.claim(row, steps, mail, self.now) for row, steps, mail in self.bare]
        try:
            steps, mail = _by_key(_STEPS.decode(self.steps)), _by_key(_MAIL.decode(self.mail))
            return [
                self._claim(row, steps.get(row[0], ()), mail.get(row[0], ())) for row in _EXECUTIONS.decode(self.executions)
            ]
        except msgspec.DecodeError:  # a column of one of them holds a value of another type
            steps, mail = _by_key(_anything(self.steps)), _by_key(_anything(self.mail))
            return [
                damage.claim(row, steps.get(row[0], ()), mail.get(row[0], ()), self.now) for row in _anything(self.executions)
            ]

    def _claim(self, row: Sequence[Any], steps: Sequence[Sequence[Any]], letters: Sequence[Sequence[Any]]) -> Claim:
        key, execution_id, run, fence, task, queue, payload, trace, attempt, crashes, crashed, scheduled_at, deadline = row
        try:
            return Claim(
                token=Token(execution_id, run, key, fence),
                task=task,
                queue=queue,
                payload=payload,
                attempt=attempt,
                crashes=crashes,
                crashed_workers=workers(crashed) if crashes else (),
                scheduled_at=scheduled_at,
                deadline=deadline,
                steps=[rows.record(each) for each in steps],
                mail=[Mail(*each) for each in letters] if letters else (),
                seen=letters[-1][0] if letters else 0,
                now=self.now,
                trace=trace,
            )
        except Exception:  # noqa: BLE001 # something of it cannot be read, and is now looked for
            return damage.claim(row, steps, letters, self.now)


@define
class ClaimJob(Job[Handed]):
    """Hand out due executions; nothing is written when nothing is due."""

    demand: Demand

    def settle(self, batch: Batch) -> Handed:
        """Find what is due, and take it if it is still as it was found."""
        return self.work(batch)

    def work(self, batch: Batch) -> Handed:
        """Take what is due.

        Raises:
            Unsettled: without the write lock, somebody else was faster.
        """
        demand, now = self.demand, batch.now
        told = asked(demand) | {"tasks": to_json(list(demand.tasks.items())), "now": now}
        (lease_until, news, number, due_at, taken, *found), is_whole = _find(batch, told, max(demand.limit, 0))
        due_at = whole_number(due_at)
        if lease_until is None or lease_until <= now:
            raise WorkerNotAlive(
                f"worker {demand.worker!r} is not registered, was declared dead or let its lease pass; "
                "register it under a new id"
            )
        if not number:
            return Handed(batch.number, now, news, due_at)
        bare = () if is_whole else [_bare(batch, key, deadline) for key, _, _, deadline in from_json(taken)]
        taking = {"taken": taken, "number": number, "worker": demand.worker, "now": now}
        if batch.connection.execute(_SQL["take"].sql, taking).rowcount != number:
            raise Unsettled
        executions, steps, mail = found
        return Handed(batch.number, now, news, due_at, executions, steps, mail, bare)


def _find(batch: Batch, told: dict[str, Any], limit: int) -> tuple[tuple[Any, ...], bool]:
    """Return what `find` says, of fewer executions if one text cannot hold so many; and whether that is all."""
    is_whole = True
    while True:
        asked = told | {"limit": limit, "whole": is_whole}
        try:
            return batch.connection.execute(_SQL["find"].sql, asked).fetchone(), is_whole
        except sqlite3.DataError:
            if limit <= 1:
                raise
            limit //= 2
        except sqlite3.OperationalError as error:
            if not is_whole or not _of_a_row(error):
                raise
            is_whole = False


def _of_a_row(error: sqlite3.OperationalError) -> bool:
    """Whether what is wrong is that a column holds what JSON cannot."""
    return of_storage(error, "") is None


def _bare(batch: Batch, key: int, deadline: Instant | None) -> tuple[Sequence[Any], Rows, Rows]:
    """Return an execution with its records and mail as the columns hold them."""
    asked = {"key": key, "seen": 0, "now": batch.now, "deadline": deadline}
    (row,), steps, mail = (_as_bytes(batch, name, asked) for name in ("bare", "bare_steps", "bare_mail"))
    return row, steps, mail


def _as_bytes(batch: Batch, name: str, asked: dict[str, Any]) -> Rows:
    batch.connection.text_factory = bytes
    try:
        return batch.connection.execute(_SQL[name].sql, asked).fetchall()
    finally:
        batch.connection.text_factory = str


def _by_key(found: Iterable[Sequence[Any]]) -> dict[int, Rows]:
    """Return what stands behind a key in rows, in order."""
    by_key: dict[int, Rows] = {}
    for key, *row in found:
        by_key.setdefault(key, []).append(row)
    return by_key


def _anything(text: str) -> Any:
    """Return what a statement selected as one text, whatever it is."""
    return json.loads(_INFINITY.sub(lambda found: found[1] or "Infinity", text))


def whole_number(due_at: Any) -> Instant | None:
    """Return when something is due, if that can be read; what is due at no time is never handed out."""
    return due_at if isinstance(due_at, int) else None


def mail_past(batch: Batch, sql: str, seen: Sequence[tuple[int, int]]) -> dict[int, list[Mail]]:
    """Return mail by key, past what was seen of each; `sql` selects it as JSON if that can hold it."""
    if not seen:
        return {}
    try:
        found = _by_key(_MAIL.decode(batch.json(sql, {"asked": to_json(seen)})))
        return {key: [Mail(*row) for row in letters] for key, letters in found.items()}
    except msgspec.DecodeError:
        pass
    except sqlite3.OperationalError as error:
        if not _of_a_row(error):
            raise
    return {
        key: [damage.letter(row) for row in _as_bytes(batch, "bare_mail", {"key": key, "seen": last})] for key, last in seen
    }
