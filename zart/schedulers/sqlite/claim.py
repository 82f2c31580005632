"""Handing out due executions from SQLite (rule 2)."""

import sqlite3
from typing import Any

from attrs import define

from zart.clock import Instant
from zart.errors import WorkerNotAlive
from zart.records import Claim, Demand, Mail, StepRecord, Token
from zart.schedulers.sql import rows
from zart.schedulers.sqlite.queries import from_json, statements, to_json
from zart.schedulers.sqlite.writer import Batch, Job, Unsettled

_SQL = statements("claim")
PEEK = _SQL["peek"].sql


def asked(demand: Demand) -> dict[str, Any]:
    """Return what the statements are told of a demand."""
    return {
        "worker": demand.worker,
        "queues": to_json(list(dict.fromkeys(demand.queues))),
        "tasks": to_json(list(demand.tasks)),
        "limit": max(demand.limit, 0),
        "suspects": max(demand.suspects, 0),
    }


@define
class Handed:
    """What a claim got, and what a later wait should know."""

    claims: list[Claim]
    number: int
    """Of the batch in which it looked."""
    news: int | None = None
    """The worker's news as of a claim that looked for it."""
    due_at: Instant | None = None
    """When the next execution is due that this demand could take, as far as was looked."""


@define
class ClaimJob(Job[Handed]):
    """Hand out due executions; nothing is written, and no transaction begun, when nothing is due."""

    demand: Demand

    def settle(self, batch: Batch) -> Handed:
        """Find nothing due."""
        lease_until, news, due_at = batch.connection.execute(PEEK, asked(self.demand)).fetchone()
        _check_lease(self.demand, lease_until, batch.now)
        if self.demand.limit > 0 and due_at is not None and due_at <= batch.now:
            raise Unsettled
        return Handed([], batch.number, news, due_at)

    def work(self, batch: Batch) -> Handed:
        """Take what is due."""
        demand, now = self.demand, batch.now
        # One more than may be taken, so that what is left says when to come back.
        room = asked(demand) | {
            "limit": max(demand.limit, 0) + 1,
            "suspects": demand.suspects + 1 if demand.suspects > 0 else 0,
        }
        innocents, suspects, lease_until = batch.connection.execute(_SQL["candidates"].sql, room).fetchone()
        _check_lease(demand, lease_until, now)
        suspected = sorted(from_json(suspects))
        candidates = sorted(from_json(innocents) + suspected[: max(demand.suspects, 0)])
        found, steps, mail = _read(batch, [key for due_at, key in candidates[: max(demand.limit, 0)] if due_at <= now])
        left = candidates[len(found) :] + suspected[max(demand.suspects, 0) :]
        next_due = min(left)[0] if left else None
        deadlines = {row[0]: _deadline(demand, row) for row in found}
        if found:
            taken = {"taken": to_json(list(deadlines.items())), "worker": demand.worker, "now": now}
            batch.connection.execute(_SQL["take"].sql, taken)
        claims = []
        for key, execution_id, run, fence, task, queue, payload, attempt, crashes, crashed, scheduled_at, _, _ in found:
            carried = mail.get(key, ())
            claims.append(
                Claim(
                    token=Token(execution_id, run, key, fence + 1),
                    task=task,
                    queue=queue,
                    payload=payload,
                    attempt=attempt,
                    crashes=crashes,
                    crashed_workers=tuple(from_json(crashed)) if crashes else (),
                    scheduled_at=scheduled_at,
                    deadline=deadlines[key],
                    steps=steps.get(key, ()),
                    mail=carried,
                    seen=carried[-1].seq if carried else 0,
                    now=now,
                )
            )
        return Handed(claims, batch.number, due_at=next_due)


def mail_by_key(text: str) -> dict[int, list[Mail]]:
    """Return mail from its JSON, in order."""
    by_key: dict[int, list[Mail]] = {}
    for key, *row in from_json(text):
        by_key.setdefault(key, []).append(rows.mail(row))
    return by_key


def _read(batch: Batch, keys: list[int]) -> tuple[list[Any], dict[int, list[StepRecord]], dict[int, list[Mail]]]:
    """Return the executions, with their records and mail by key; fewer than asked for, from the front, if all are too long."""
    steps: dict[int, list[StepRecord]] = {}
    if not keys:
        return [], steps, {}
    try:
        found = from_json(batch.json(_SQL["executions"].sql, {"keys": to_json(keys)}))
        told, mail = "[]", "[]"
        if with_past := [row[0] for row in found if row[12]]:
            told, mail = batch.connection.execute(_SQL["pasts"].sql, {"keys": to_json(with_past)}).fetchone()
    except sqlite3.DataError:
        if len(keys) == 1:
            raise
        return _read(batch, keys[: len(keys) // 2])
    for key, *row in from_json(told):
        steps.setdefault(key, []).append(rows.record(row))
    return found, steps, mail_by_key(mail)


def _deadline(demand: Demand, row: list[Any]) -> Instant | None:
    task: str = row[4]
    scheduled_at: Instant = row[10]
    deadline: Instant | None = row[11]
    length = demand.tasks[task]
    return scheduled_at + length if deadline is None and length is not None else deadline


def _check_lease(demand: Demand, lease_until: Instant | None, now: Instant) -> None:
    if lease_until is None or lease_until <= now:
        raise WorkerNotAlive(
            f"worker {demand.worker!r} is not registered, was declared dead or let its lease pass; register it under a new id"
        )
