"""What passes the port as Prometheus metrics: needs the extra `metrics`.

`METRICS` is the one table of them; their page in the reference is made of it.
"""

import logging
from collections.abc import Mapping, Sequence
from enum import Enum

from attrs import frozen
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from zart.clock import SECOND, Clock, SystemClock, Timer
from zart.errors import SchedulerError
from zart.records import Commit, Committed, Delivery, Execution, Fate, Move, StepRecord
from zart.scheduler import Queued
from zart.status import ExecutionStatus, Phase, StepKind
from zart.telemetry.labels import StepLabels
from zart.telemetry.watcher import Holding, Said, Watcher

logger: logging.Logger = logging.getLogger("zart.telemetry")

LAG_GAP = 0.5
"""Seconds from one look at the event loop's lag to the next."""
BACKLOG_STAYS = 5.0
"""Seconds for which storage is not asked again how much waits, however often somebody looks."""
_LONG = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60, 300, 1800, 3600, 21600, 86400, 604800)
_SHORT = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_STEPS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 1800)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Kind(Enum):
    """How a metric counts."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@frozen
class Metric:
    """One line of the table."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


METRICS: tuple[Metric, ...] = (
    Metric("zart_executions_total", Kind.COUNTER, "Executions that ended.", ("task_name", "status")),
    Metric(
        "zart_execution_duration_seconds",
        Kind.HISTOGRAM,
        "From when an execution was to start to its end.",
        ("task_name", "status"),
        _LONG,
    ),
    Metric("zart_steps_total", Kind.COUNTER, "Steps that were settled.", ("task_name", "step_name", "status")),
    Metric(
        "zart_step_duration_seconds",
        Kind.HISTOGRAM,
        "From a step's first call in this claim to its outcome, retries included.",
        ("task_name", "step_name"),
        _STEPS,
    ),
    Metric("zart_step_retries_total", Kind.COUNTER, "Calls that failed and are repeated.", ("task_name", "step_name")),
    Metric("zart_queue_depth", Kind.GAUGE, "Executions that are due and that nobody has claimed, in all of the storage."),
    Metric("zart_oldest_due_seconds", Kind.GAUGE, "For how long the longest of them has been due; 0 when there is none."),
    Metric("zart_worker_running", Kind.GAUGE, "Executions that the workers of this process hold."),
    Metric("zart_worker_parked_total", Kind.COUNTER, "Executions that left memory to wait.", ("task_name",)),
    Metric("zart_commit_batch_size", Kind.HISTOGRAM, "Executions saved together.", (), _SIZES),
    Metric("zart_commit_seconds", Kind.HISTOGRAM, "How long storage took to save a group.", (), _SHORT),
    Metric("zart_claim_seconds", Kind.HISTOGRAM, "How long storage took to hand out work, if there was any.", (), _SHORT),
    Metric("zart_events_delivered_total", Kind.COUNTER, "Events sent from this process.", ("result",)),
    Metric("zart_lease_lost_total", Kind.COUNTER, "Times that a worker of this process was declared dead."),
    Metric("zart_loop_lag_seconds", Kind.HISTOGRAM, "How late the event loop was for a timer.", (), _SHORT),
)
"""All metrics. Counters and histograms speak of what passed this process, gauges of now."""


class Metrics(Watcher):
    """Counts what passes a watched storage; `exposition` is what Prometheus reads.

    Without a registry of prometheus_client's it makes its own, so that two do not collide.
    """

    content_type: str = "text/plain; version=0.0.4; charset=utf-8"
    """Of what `exposition` returns."""

    def __init__(self, registry: CollectorRegistry | None = None, *, clock: Clock | None = None) -> None:
        self.registry: CollectorRegistry = CollectorRegistry() if registry is None else registry
        self._clock: Clock = clock or SystemClock()
        self._labels = StepLabels()
        self._settled: dict[tuple[str, str, bool], tuple[Counter, Histogram]] = {}
        self._counters: Mapping[str, Counter] = {
            each.name: Counter(each.name, each.help, each.labels, registry=self.registry)
            for each in METRICS
            if each.kind is Kind.COUNTER
        }
        self._gauges: Mapping[str, Gauge] = {
            each.name: Gauge(each.name, each.help, each.labels, registry=self.registry)
            for each in METRICS
            if each.kind is Kind.GAUGE
        }
        self._histograms: Mapping[str, Histogram] = {
            each.name: Histogram(each.name, each.help, each.labels, registry=self.registry, buckets=each.buckets)
            for each in METRICS
            if each.kind is Kind.HISTOGRAM
        }
        self._fresh_until = float("-inf")
        self._timer: Timer | None = None

    # ---- what passes ------------------------------------------------------------------------------------------------

    def claimed(self, holdings: Sequence[Holding], seconds: float) -> None:
        """Count a claim."""
        self._histograms["zart_claim_seconds"].observe(seconds)
        self._gauges["zart_worker_running"].inc(len(holdings))

    def committed(self, said: Sequence[Said], seconds: float) -> None:
        """Count a group, and the steps in it."""
        self._histograms["zart_commit_seconds"].observe(seconds)
        self._histograms["zart_commit_batch_size"].observe(len(said))
        for speaker, commit, answer in said:
            if speaker is not None and answer.fate is Fate.APPLIED:
                self._count_steps(speaker.claim.task, commit, answer)

    def _count_steps(self, task: str, commit: Commit, answer: Committed) -> None:
        for record in commit.steps:
            if record.kind is not StepKind.STEP or record.phase is Phase.OPENED or record.seq in answer.withheld:
                continue
            step = self._labels.of(task, record.name)
            if record.phase is Phase.ATTEMPT:
                self._counters["zart_step_retries_total"].labels(task, step).inc()
                continue
            settled, lasted = self._settled.get((task, step, record.ok)) or self._of_step(task, step, ok=record.ok)
            settled.inc()
            lasted.observe(_length(record))

    def _of_step(self, task: str, step: str, *, ok: bool) -> tuple[Counter, Histogram]:
        """Return what counts a step's outcomes; to look it up takes longer than to count."""
        settled = self._counters["zart_steps_total"].labels(task, step, "completed" if ok else "failed")
        lasted = self._histograms["zart_step_duration_seconds"].labels(task, step)
        self._settled[task, step, ok] = settled, lasted
        return settled, lasted

    def let_go(self, holding: Holding, move: Move | None, seconds: float) -> None:
        """Count an execution that left this process."""
        self._gauges["zart_worker_running"].dec()
        if move is None:
            return
        claim = holding.claim
        if move.status.is_terminal:
            lasted = (claim.now - claim.scheduled_at) / SECOND + seconds
            self._ended(claim.task, move.status, lasted)
        elif move.status is ExecutionStatus.WAITING:
            self._counters["zart_worker_parked_total"].labels(claim.task).inc()

    def cancelled(self, executions: Sequence[Execution]) -> None:
        """Count executions that were cancelled from here."""
        for each in executions:
            if each.completed_at is not None:
                self._ended(each.task, each.status, (each.completed_at - each.scheduled_at) / SECOND)

    def _ended(self, task: str, status: ExecutionStatus, lasted: float) -> None:
        self._counters["zart_executions_total"].labels(task, status.value).inc()
        self._histograms["zart_execution_duration_seconds"].labels(task, status.value).observe(max(0.0, lasted))

    def delivered(self, answers: Sequence[Delivery]) -> None:
        """Count events."""
        for each in answers:
            self._counters["zart_events_delivered_total"].labels(each.value).inc()

    def declared_dead(self, worker: str) -> None:
        """Count a lost lease."""
        self._counters["zart_lease_lost_total"].inc()

    # ---- what is now ------------------------------------------------------------------------------------------------

    def opened(self) -> None:
        """Measure the lag of the running event loop from now on."""
        due = self._clock.monotonic() + LAG_GAP

        def ring() -> None:
            self._histograms["zart_loop_lag_seconds"].observe(max(0.0, self._clock.monotonic() - due))
            self.opened()

        self._timer = self._clock.call_later(LAG_GAP, ring)

    def closed(self) -> None:
        """Measure it no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def exposition(self, storage: object) -> bytes:
        """Return all metrics as Prometheus reads them.

        While storage does not answer, what it alone knows is not a number.
        """
        if self._clock.monotonic() >= self._fresh_until:
            self._fresh_until = self._clock.monotonic() + BACKLOG_STAYS
            depth = oldest = float("nan")
            if isinstance(storage, Queued):
                try:
                    backlog = await storage.backlog()
                    depth, oldest = backlog.due, backlog.oldest / SECOND
                except SchedulerError as error:
                    logger.warning("storage does not say how much is due: %s", type(error).__name__)
            self._gauges["zart_queue_depth"].set(depth)
            self._gauges["zart_oldest_due_seconds"].set(oldest)
        return generate_latest(self.registry)


def _length(record: StepRecord) -> float:
    return max(0, record.at - (record.at if record.started_at is None else record.started_at)) / SECOND
