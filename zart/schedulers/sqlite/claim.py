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
    """As JSON, like the other two: opened by who asked, not in the lane, which would have the interpreter's lock meanwhile."""
    steps: str = "[]"
    mail: str = "[]"

    @property
    def claims(self) -> list[Claim]:
        """What was handed out, made anew at each look."""
        steps: dict[int, list[StepRecord]] = {}
        for key, *row in from_json(self.steps):
            steps.setdefault(key, []).append(rows.record(row))
        mail = mail_by_key(self.mail)
        claims = []
        for row in from_json(self.executions):
            key, execution_id, run, fence, task, queue, payload, attempt, crashes, crashed, scheduled_at, deadline = row
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
                    deadline=deadline,
                    steps=steps.get(key, ()),
                    mail=carried,
                    seen=carried[-1].seq if carried else 0,
                    now=self.now,
                )
            )
        return claims


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
        lease_until, news, number, due_at, taken, *found = _find(batch, told, max(demand.limit, 0))
        if lease_until is None or lease_until <= now:
            raise WorkerNotAlive(
                f"worker {demand.worker!r} is not registered, was declared dead or let its lease pass; "
                "register it under a new id"
            )
        if not number:
            return Handed(batch.number, now, news, due_at)
        taking = {"taken": taken, "number": number, "worker": demand.worker, "now": now}
        if batch.connection.execute(_SQL["take"].sql, taking).rowcount != number:
            raise Unsettled
        return Handed(batch.number, now, news, due_at, *found)


def _find(batch: Batch, told: dict[str, Any], limit: int) -> tuple[Any, ...]:
    """Return what `find` says, of fewer executions if one text cannot hold so many."""
    while True:
        try:
            found: tuple[Any, ...] = batch.connection.execute(_SQL["find"].sql, told | {"limit": limit}).fetchone()
        except sqlite3.DataError:
            if limit <= 1:
                raise
            limit //= 2
        else:
            return found


def mail_by_key(text: str) -> dict[int, list[Mail]]:
    """Return mail from its JSON, in order."""
    by_key: dict[int, list[Mail]] = {}
    for key, *row in from_json(text):
        by_key.setdefault(key, []).append(rows.mail(row))
    return by_key
