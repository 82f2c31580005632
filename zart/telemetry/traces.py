"""What passes the port as OpenTelemetry spans: needs the extra `otel`.

All claims of one run, on whatever worker and after whatever time, are spans of one trace: its id is made of the execution's id
and run. A start is a span of its own in the starter's trace, linked to that one. The starter's `traceparent` is saved with the
run, and the span of each claim is linked to it: from either of the two traces the other is found.

A span ends when its step is about to be saved, or its claim has been. What a step's function does is inside of the step's span,
so what it calls with an instrumented client goes on in the same trace.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

from attrs import define, field
from opentelemetry import context, trace
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, SpanKind, StatusCode, TraceFlags, TracerProvider

from zart.observe import Observer
from zart.records import Commit, Move, NewExecution, Started
from zart.status import ExecutionStatus, Phase
from zart.telemetry.labels import plain
from zart.telemetry.watcher import Holding, Watcher
from zart.traceparent import Trace, ids_of

_SAMPLED_BITS = 2**64


@define
class _Open:
    span: Span
    steps: dict[str, Span] = field(factory=dict)


class Traces(Watcher):
    """Makes spans of claims and steps, and of starts; also an observer, so that a step's function runs in its step's span.

    Args:
        provider: where the spans go; None: the one that OpenTelemetry has been set up with.
        ratio: which part of the runs is traced; a run is traced whole or not at all, by its id.
    """

    def __init__(self, provider: TracerProvider | None = None, *, ratio: float = 1.0) -> None:
        if not 0 <= ratio <= 1:
            raise ValueError(f"ratio must be between 0 and 1, not {ratio!r}")
        self._tracer = trace.get_tracer("zart", tracer_provider=provider)
        self._ratio = ratio
        self._open: dict[str, _Open] = {}
        self.observer: Observer | None = self
        self.trace: Trace | None = self.current

    # ---- what passes ------------------------------------------------------------------------------------------------

    def started(self, new: Sequence[NewExecution], answers: Sequence[Started]) -> None:
        """Make a span of each start, in the starter's trace."""
        for each, answer in zip(new, answers, strict=False):
            about: dict[str, str | int] = {
                "zart.execution_id": each.id,
                "zart.run": answer.run,
                "zart.task": each.task,
                "zart.accepted": answer.accepted,
            }
            link = Link(self.root(each.id, answer.run))
            # A trace without a span of this process's: that of who asked for it from another one.
            starter = None if trace.get_current_span().get_span_context().is_valid else _saved(each.trace)
            parent = None if starter is None else trace.set_span_in_context(NonRecordingSpan(starter))
            self._tracer.start_span(f"start {each.task}", parent, SpanKind.PRODUCER, about, [link]).end()

    def claimed(self, holdings: Sequence[Holding], seconds: float) -> None:
        """Begin a span for each claim, linked to whoever started the run."""
        for each in holdings:
            claim = each.claim
            parent = trace.set_span_in_context(NonRecordingSpan(self.root(claim.token.execution_id, claim.token.run)))
            starter = _saved(claim.trace)
            span = self._tracer.start_span(
                f"execution {claim.task}",
                parent,
                SpanKind.CONSUMER,
                {
                    "zart.execution_id": claim.token.execution_id,
                    "zart.run": claim.token.run,
                    "zart.task": claim.task,
                    "zart.attempt": claim.attempt,
                    "zart.fence": claim.token.fence,
                    "zart.resumed": bool(claim.steps),
                },
                None if starter is None else [Link(starter)],
            )
            self._open[claim.token.execution_id] = _Open(span)

    def committing(self, commits: Sequence[Commit]) -> None:
        """End the spans of the steps that have an outcome, or failed and are tried again."""
        for commit in commits:
            found = self._open.get(commit.token.execution_id)
            if found is None:
                continue
            for record in commit.steps:
                if record.phase is not Phase.OPENED and (span := found.steps.pop(record.name, None)) is not None:
                    if not record.ok or record.phase is Phase.ATTEMPT:
                        span.set_status(StatusCode.ERROR)
                    span.end()

    def let_go(self, holding: Holding, move: Move | None, seconds: float) -> None:
        """End the claim's span."""
        found = self._open.pop(holding.claim.token.execution_id, None)
        if found is None:
            return
        for span in found.steps.values():
            span.end()  # cut off: abandoned, or its worker lost the execution
        found.span.set_attribute("zart.status", "lost" if move is None else move.status.value)
        if move is not None and move.status is ExecutionStatus.FAILED:
            found.span.set_status(StatusCode.ERROR)
        found.span.end()

    # ---- what bodies do (Observer) ----------------------------------------------------------------------------------

    def step_started(self, execution_id: str, name: str, attempt: int) -> None:
        """Begin a span for a call of a step's function, and let it run in it."""
        found = self._open.get(execution_id)
        if found is None:
            return
        about: dict[str, str | int] = {"zart.execution_id": execution_id, "zart.step": name, "zart.attempt": attempt}
        if (before := found.steps.pop(name, None)) is not None:
            before.end()  # nothing was saved of that call: it is made again
        span = self._tracer.start_span(f"step {plain(name)}", trace.set_span_in_context(found.span), attributes=about)
        found.steps[name] = span
        context.attach(trace.set_span_in_context(span))

    def handed_over(self, execution_id: str, name: str, value: Any) -> None:
        """Do nothing."""

    # ---- ids --------------------------------------------------------------------------------------------------------

    def current(self) -> str | None:
        """Return the W3C `traceparent` of the span that is current here, None outside of all: what is saved with a start."""
        span = trace.get_current_span().get_span_context()
        return _told(span) if span.is_valid else None

    def root(self, execution_id: str, run: int) -> SpanContext:
        """Return the context that all spans of a run have as their parent: the same wherever and whenever it is asked for."""
        digest = hashlib.sha256(f"{run}/{execution_id}".encode(errors="surrogatepass")).digest()
        trace_id, span_id = int.from_bytes(digest[:16], "big"), int.from_bytes(digest[16:24], "big")
        traced = trace_id % _SAMPLED_BITS < self._ratio * _SAMPLED_BITS
        return SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED if traced else 0))

    def traceparent(self, execution_id: str, run: int = 1) -> str:
        """Return that context as a W3C `traceparent`, e.g. to look a run up by its trace."""
        return _told(self.root(execution_id, run))


def _told(span: SpanContext) -> str:
    return f"00-{span.trace_id:032x}-{span.span_id:016x}-{span.trace_flags:02x}"


def _saved(told: str | None) -> SpanContext | None:
    """Return the context that a saved `traceparent` tells; None if it tells none."""
    if (ids := ids_of(told)) is None:
        return None
    trace_id, span_id, flags = ids
    return SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(flags))
