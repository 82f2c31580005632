"""What a client sends to storage, starts and events, checked and encoded; and the errors that are among the answers."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from attrs import frozen

from zart.clock import instant, micros
from zart.codec import ANY, Codec, check_size, codec_for
from zart.durations import Duration, to_timedelta
from zart.errors import ExecutionAlreadyExists, ExecutionFinished, ExecutionNotFound
from zart.ids import Randomness, check_name, check_number
from zart.records import Delivery, Event, NewExecution, Reuse, Started
from zart.traceparent import Trace, traceparent

BULK = 1000
"""How many starts go into one round trip."""

_REUSES: dict[str, Reuse] = {each.value: each for each in Reuse}


@frozen
class Outgoing:
    """Makes what is sent, of at most `payload_limit` bytes each; starts go under what `trace` says, if there is one."""

    payload_limit: int
    randomness: Randomness
    trace: Trace | None = None

    def start(
        self,
        execution_id: str,
        task_name: str,
        codec: Codec,
        data: Any,
        delay: Duration | None,
        at: datetime | None,
        queue: str | None,
        reuse: str,
        start_key: str | None,
    ) -> NewExecution:
        """Return a start.

        Raises:
            TypeError: an id, name or key that is no text, an `at` that is no datetime; data that cannot be saved.
            ValueError: a bad id, name, duration or reuse; both `delay` and `at`; a naive `at`; data that is too large.
        """
        check_name(execution_id, "execution id")
        if delay is not None and at is not None:
            raise ValueError("give delay or at, not both")
        if not isinstance(reuse, str) or reuse not in _REUSES:
            raise ValueError(f"reuse must be 'ended', 'failed' or 'never', not {reuse!r}")
        return NewExecution(
            execution_id,
            check_name(task_name, "task name"),
            self._encoded(codec, data, f"the data of execution {execution_id!r}"),
            self._key(start_key, "start_key"),
            "default" if queue is None else check_name(queue, "queue"),
            _REUSES[reuse],
            None if delay is None else micros(to_timedelta(delay, "delay")),
            None if at is None else instant(at, "at"),
            None if self.trace is None else traceparent(self.trace()),
        )

    def batches(self, items: Iterable[tuple[str, str, Any]]) -> Iterator[list[NewExecution]]:
        """Yield the starts of (execution_id, task_name, data), as many at a time as go into a round trip; raises as `start`."""
        batch: list[NewExecution] = []
        for item in items:
            if not isinstance(item, tuple | list) or len(item) != 3:
                raise TypeError(f"start_many takes tuples (execution_id, task_name, data), not {item!r}")
            execution_id, task_name, data = item
            batch.append(self.start(execution_id, task_name, ANY, data, None, None, None, "ended", None))
            if len(batch) == BULK:
                yield batch
                batch = []
        if batch:
            yield batch

    def event(self, execution_id: str, event_name: str, payload: Any, event_id: str | None, run: int | None) -> Event:
        """Return an event; raises as `start` does."""
        check_name(execution_id, "execution id")
        check_name(event_name, "event name")
        text = self._encoded(event_codec(payload), payload, f"the payload of event {event_name!r}")
        return Event(execution_id, event_name, text, self._key(event_id, "event_id"), check_run(run))

    def _encoded(self, codec: Codec, value: Any, what: str) -> str:
        # What is JSON anyway comes back for certain; of anything else its class has the last word.
        text = codec.encode(value, what) if codec is ANY else codec.through(value, what)[0]
        check_size(text, self.payload_limit, what)
        return text

    def _key(self, given: str | None, what: str) -> str:
        return str(self.randomness.uuid()) if given is None else check_name(given, what)


def accepted(new: Sequence[NewExecution], answers: Sequence[Started]) -> list[tuple[NewExecution, Started]]:
    """Return the starts with their answers.

    Raises:
        ExecutionAlreadyExists: one was refused; this tells the first.
    """
    pairs = list(zip(new, answers, strict=True))
    for each, answer in pairs:
        if not answer.accepted:
            raise ExecutionAlreadyExists(each.id, answer.status)
    return pairs


def delivered(event: Event, delivery: Delivery) -> Delivery:
    """Return what became of an event that has arrived.

    Raises:
        ExecutionNotFound: there is nobody whom it is for.
        ExecutionFinished: it came too late.
    """
    if delivery is Delivery.UNKNOWN:
        raise ExecutionNotFound(event.execution_id)
    if delivery is Delivery.FINISHED:
        raise ExecutionFinished(event.execution_id)
    return delivery


def check_run(run: int | None) -> int | None:
    """Return the number of a run, or None for the current one.

    Raises:
        ValueError: anything else.
    """
    return None if run is None else check_number(run, "run")


def event_codec(payload: Any) -> Codec:
    """Return the codec for a payload whose type only the sender knows: its own class when that is no JSON type."""
    return ANY if payload is None or type(payload) in (bool, int, float, str, list, dict) else codec_for(type(payload))
