"""Handing out due executions from PostgreSQL (rule 2)."""

from collections.abc import Iterable
from typing import Any

from attrs import define

from zart.clock import Instant
from zart.errors import WorkerNotAlive
from zart.records import Claim, Demand, Mail, StepRecord, Token
from zart.schedulers.postgres.connections import Row, Talk
from zart.schedulers.sql import damage, rows
from zart.schedulers.sql.crashed import workers


@define
class Handed:
    """What a claim got, and what a later wait should know."""

    claims: list[Claim]
    now: Instant
    due_at: Instant | None
    """When the next execution is due that this demand could take; known only of a claim that got less than it asked for."""


async def claim(talk: Talk, demand: Demand) -> Handed:
    """Take what is due.

    Raises:
        WorkerNotAlive: the worker must register (again) first.
    """
    found = await talk.rows(
        "claim.claim",
        talk.now,
        demand.worker,
        list(dict.fromkeys(demand.queues)),
        list(demand.tasks),
        list(demand.tasks.values()),
        max(demand.limit, 0),
        max(demand.suspects, 0),
    )
    if not found:
        raise WorkerNotAlive(
            f"worker {demand.worker!r} is not registered, was declared dead or let its lease pass; register it under a new id"
        )
    return Handed([_claim(row) for row in found if row["key"] is not None], found[0]["now"], found[0]["next_due_at"])


def _claim(row: Row) -> Claim:
    try:
        return _sound(row)
    except Exception:  # noqa: BLE001 # something of it cannot be read, and is now looked for
        now, _, *columns, past, mail = row
        return damage.claim(columns, past or (), mail or (), now)


def _sound(row: Row) -> Claim:
    now, _, key, execution_id, run, fence, task, queue, payload, trace, attempt, crashes, *rest = row
    crashed_workers, scheduled_at, deadline, past, mail = rest
    carried = [mail_of(each) for each in mail or ()]
    return Claim(
        token=Token(execution_id, run, key, fence),
        task=task,
        queue=queue,
        payload=payload.decode(),
        attempt=attempt,
        crashes=crashes,
        crashed_workers=workers(crashed_workers) if crashes else (),
        scheduled_at=scheduled_at,
        deadline=deadline,
        steps=records(past or ()),
        mail=carried,
        seen=carried[-1].seq if carried else 0,
        now=now,
        trace=trace,
    )


def records(found: Iterable[Row]) -> list[StepRecord]:
    """Return step records from their rows."""
    return [
        rows.record((seq, name, kind, phase, ok, text(payload), *rest)) for seq, name, kind, phase, ok, payload, *rest in found
    ]


def mail_of(row: Any) -> Mail:
    """Return one event of a mailbox from seq, name, payload and time; one that cannot be read says so."""
    return damage.letter(row)


def text(payload: bytes | None) -> str | None:
    """Return a payload as it was given."""
    return None if payload is None else payload.decode()
