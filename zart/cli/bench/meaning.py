"""The figures of `zart bench` in words: what each of them costs whom, and what bounds the whole."""

from collections.abc import Mapping, Sequence
from typing import Any

from zart.cli.bench.measure import Measured

_BUSY = 0.8
"""The share of a processor from which on it is Python that bounds."""


def figures(of: Measured, concurrency: int) -> Sequence[Mapping[str, Any]]:
    """Return one record for each figure."""
    shared = of.rate * of.start
    return [
        _figure("round trip", of.trip * 1e3, "ms", "what every question to this database costs: the way there and back"),
        _figure(
            "start, saved by itself",
            of.start * 1e3,
            "ms",
            f"one commit at a time: {1 / of.start:,.0f} a second; the disk bounds it, unless it is near the round trip",
        ),
        _figure("step of an execution alone", of.alone * 1e3, "ms", "a commit for each step: nobody is there to share it"),
        _figure(
            f"steps with {concurrency} executions running",
            of.rate,
            "per second",
            f"they share commits: {shared:,.1f} times what one commit at a time allows",
        ),
        _figure("start to result, one step", of.latency * 1e3, "ms", "median while nothing else runs, in one process"),
        _figure("start to result, 99 of 100", of.latency_99 * 1e3, "ms", "within this time"),
    ]


def bound(of: Measured) -> str:
    """Return what bounds the whole, and what would help."""
    if of.processor >= _BUSY:
        return (
            f"Python bounds it: the worker took {of.processor:.0%} of a processor. More workers on more processors do more; "
            "a faster disk does not."
        )
    return (
        f"waiting bounds it: the worker took {of.processor:.0%} of a processor, for the rest it waited for the database "
        "(or for other programs here). A faster disk, a database nearby, or more executions at once (--concurrency) do more."
    )


def _figure(what: str, value: float, unit: str, means: str) -> Mapping[str, Any]:
    return {"what": what, "value": float(f"{value:.3g}"), "unit": unit, "means": means}
