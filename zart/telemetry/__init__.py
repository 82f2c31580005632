"""Logs, metrics, traces and health, taken where everything passes: at the storage port.

`watched(storage, Metrics(), Traces())` is a storage for workers, clients and servers. Metrics need the extra `metrics`, traces
the extra `otel`; whoever has neither finds the rest here.
"""

from zart.telemetry.health import Health
from zart.telemetry.logs import ExecutionFields
from zart.telemetry.watched import Watched, watched
from zart.telemetry.watcher import Holding, Said, Watcher

try:
    from zart.telemetry.metrics import Metrics
except ModuleNotFoundError as _absent:
    if _absent.name != "prometheus_client":
        raise

try:
    from zart.telemetry.traces import Traces
except ModuleNotFoundError as _absent:
    if _absent.name is None or not _absent.name.startswith("opentelemetry"):
        raise

__all__ = ["ExecutionFields", "Health", "Holding", "Metrics", "Said", "Traces", "Watched", "Watcher", "watched"]
