"""Logs, metrics, traces and health, taken where everything passes: at the storage port.

`watched(storage, Metrics(), Traces())` is a storage for workers, clients and servers. Metrics need the extra `metrics`, traces
the extra `otel`; whoever has neither finds the rest here.
"""

from zart.extras import lacking
from zart.telemetry.health import Health
from zart.telemetry.logs import ExecutionFields
from zart.telemetry.watched import Watched, watched
from zart.telemetry.watcher import Holding, Said, Watcher

_absent: dict[str, str] = {}
try:
    from zart.telemetry.metrics import Metrics
except ModuleNotFoundError as _error:
    if _error.name != "prometheus_client":
        raise
    _absent["Metrics"] = "metrics"
try:
    from zart.telemetry.traces import Traces
except ModuleNotFoundError as _error:
    if _error.name is None or not _error.name.startswith("opentelemetry"):
        raise
    _absent["Traces"] = "otel"
if _absent:
    globals()["__getattr__"] = lacking(__name__, _absent)  # not defined with `def`: type checkers know what there is

__all__ = ["ExecutionFields", "Health", "Holding", "Metrics", "Said", "Traces", "Watched", "Watcher", "watched"]
