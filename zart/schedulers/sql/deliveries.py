"""What becomes of events (rule 5): decided here, in their order, on the mailboxes that a dialect has found."""

from collections.abc import Mapping, Sequence

from attrs import define, field

from zart.records import Delivery, Event
from zart.status import ExecutionStatus


@define
class Mailbox:
    """A run that somebody has events for, how many it has, and the worker that holds it."""

    key: int
    status: ExecutionStatus
    mail: int
    worker: str | None


@define
class Decided:
    """The answers to a call, and what must be written for them to be true."""

    answers: list[Delivery] = field(factory=list)
    put: list[tuple[int, int, Event]] = field(factory=list)
    """A run's key, and a number in its mailbox, for each event."""
    counts: dict[int, int] = field(factory=dict)
    """How many each run that gets some has then, by its key."""
    wakes: bool = False
    """Whether a run that waits becomes due."""
    workers: set[str] = field(factory=set)
    """Those that hold a run that gets some."""


def decide(events: Sequence[Event], found: Mapping[int, Mailbox], taken: set[tuple[int, str]]) -> Decided:
    """Answer each event by the run that was found for its place; `taken` are the keys and ids of events that are there."""
    decided = Decided()
    for place, event in enumerate(events):
        box = found.get(place)
        if box is None:
            answer = Delivery.UNKNOWN
        elif (box.key, event.event_id) in taken:  # asked before whether the run has ended: rule 10
            answer = Delivery.DUPLICATE
        elif box.status.is_terminal:
            answer = Delivery.FINISHED
        else:
            answer = Delivery.RECORDED
            taken.add((box.key, event.event_id))
            seq = decided.counts[box.key] = decided.counts.get(box.key, box.mail) + 1
            decided.put.append((box.key, seq, event))
            if box.status is ExecutionStatus.WAITING:
                decided.wakes = True
            elif box.worker is not None:
                decided.workers.add(box.worker)
        decided.answers.append(answer)
    return decided
