"""What is measured: each measurement with its subject, its place and its size, in the order of a round."""

from collections.abc import Iterator
from typing import Literal

from attrs import evolve, frozen

from benchmarks.sizes import Sizes

Place = Literal["memory", "sqlite", "postgres", "own"]
"""Where a subject keeps what it saves; "own" is a log of its own."""

PEERS = ("dbos", "absurd", "pgtask", "pgqueuer", "oban", "restate")


@frozen
class Measurement:
    """One measurement: a process that prints figures."""

    subject: str
    place: Place
    workload: str
    sizes: Sizes
    module: str

    @property
    def name(self) -> str:
        """The subject and its place, as the table names them."""
        return f"{self.subject} {self.place}" if self.place != "own" else self.subject

    @property
    def is_peer(self) -> bool:
        """Whether it needs the peers' environment."""
        return self.subject in PEERS


def plan(sizes: Sizes) -> Iterator[Measurement]:
    """Yield all measurements of a round: those whose figures are compared stand side by side."""
    yield from _throughput(sizes)
    yield from _latencies(sizes)
    yield from _starts(sizes)
    yield from _size(sizes)


def _zart(place: Place, workload: str, sizes: Sizes) -> Measurement:
    return Measurement("zart", place, workload, sizes, "benchmarks.subjects.zart")


def _inside(place: Place, workload: str, sizes: Sizes) -> Measurement:
    return Measurement("zart", place, workload, sizes, "benchmarks.round")


def _peer(subject: str, workload: str, sizes: Sizes, place: Place = "postgres") -> Measurement:
    return Measurement(subject, place, workload, sizes, f"benchmarks.subjects.{subject}")


def _limit(place: Place, sizes: Sizes) -> Measurement:
    return Measurement("limit", place, "limit", sizes, "benchmarks.limits")


def _throughput(sizes: Sizes) -> Iterator[Measurement]:
    half, quarter = evolve(sizes, executions=sizes.executions // 2), evolve(sizes, executions=sizes.executions // 4)
    yield _inside("memory", "W1", sizes)
    yield _limit("sqlite", sizes)
    yield _zart("sqlite", "W1", sizes)
    yield _peer("dbos", "W1", quarter, "sqlite")
    yield _limit("postgres", sizes)
    yield _zart("postgres", "W1 many", sizes)
    yield _peer("dbos", "W1", half)
    yield _zart("postgres", "W1", sizes)
    yield _peer("absurd", "W1", half)
    yield _peer("pgtask", "W1", half)
    yield _zart("postgres", "W1 at 200", sizes)
    yield _peer("restate", "W1", sizes, "own")


def _latencies(sizes: Sizes) -> Iterator[Measurement]:
    yield _inside("memory", "W2 inside", sizes)
    yield _inside("sqlite", "W2 inside", sizes)
    yield _inside("postgres", "W2 inside", sizes)
    yield _peer("dbos", "W2 direct", sizes)
    for workload in ("W2", "W3", "W4", "W5"):
        yield _zart("postgres", workload, sizes)
        yield _peer("restate", workload, sizes, "own")
        yield _peer("absurd", workload, sizes)
        yield _peer("pgtask", workload, sizes)
        yield _peer("dbos", workload, sizes)
        yield _zart("sqlite", workload, sizes)
    yield _zart("postgres", "kill", sizes)
    yield _zart("sqlite", "kill", sizes)


def _starts(sizes: Sizes) -> Iterator[Measurement]:
    few = evolve(sizes, single_starts=sizes.single_starts // 2, bulk_starts=sizes.bulk_starts // 10)
    yield _inside("memory", "W6", sizes)
    yield _zart("sqlite", "W6", sizes)
    yield _zart("postgres", "W6", sizes)
    yield _peer("pgqueuer", "W6", sizes)
    yield _peer("absurd", "W6", few)
    yield _peer("pgtask", "W6", few)
    yield _peer("dbos", "W6", few)
    yield _peer("oban", "W6", few)
    yield _peer("restate", "W6", few, "own")


def _size(sizes: Sizes) -> Iterator[Measurement]:
    for place in ("postgres", "sqlite"):
        yield _inside(place, "claims", sizes)
        yield _inside(place, "parked", sizes)
        yield _zart(place, "two", sizes)
