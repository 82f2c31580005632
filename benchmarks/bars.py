"""What Zart must reach, and should: ratios of figures that were measured side by side in one round."""

from collections.abc import Iterator, Sequence
from statistics import median

from attrs import frozen

from benchmarks.runs import Round

Figure = tuple[str, str]
"""A subject with its place, and one of its figures."""

PG, SQLITE = "zart postgres", "zart sqlite"


@frozen
class Bar:
    """A figure of Zart's, divided by the best of the others if there are any, and the marks for it."""

    title: str
    ours: Figure
    theirs: Sequence[Figure]
    must: float
    goal: float
    at_most: bool = False
    """Less is better: for Zart and for the others."""
    unit: str = "×"

    def measured(self, rounds: Sequence[Round]) -> float | None:
        """Return the median of its rounds, None if it was not measured."""
        values = [value for each in rounds if (value := self._in(each)) is not None]
        return median(values) if values else None

    def _in(self, figures: Round) -> float | None:
        ours = _of(figures, self.ours)
        if ours is None or not self.theirs:
            return ours
        others = [value for each in self.theirs if (value := _of(figures, each)) is not None]
        if not others:
            return None
        return ours / (min(others) if self.at_most else max(others))

    def holds(self, value: float, mark: float) -> bool:
        """Return whether a value reaches a mark."""
        return value <= mark if self.at_most else value >= mark

    def mark(self, mark: float) -> str:
        """Return a mark as it is shown."""
        return f"{'≤' if self.at_most else '≥'} {mark:.3g} {self.unit}"


def _of(figures: Round, which: Figure) -> float | None:
    subject, key = which
    return figures.get(subject, {}).get(key)


def _w3() -> Sequence[Figure]:
    return [(peer, "W3.p50") for peer in ("restate", "absurd postgres", "pgtask postgres", "dbos postgres")]


BARS = (
    Bar("W1, 2,000 executions, vs DBOS at its best", (PG, "W1.rate"), [("dbos postgres", "W1.rate")], 40, 80),
    Bar("W1 vs pgtask", (PG, "W1.rate"), [("pgtask postgres", "W1.rate")], 14, 30),
    Bar("W1 vs Absurd", (PG, "W1.rate"), [("absurd postgres", "W1.rate")], 12, 25),
    Bar("W1 vs Restate", (PG, "W1.rate"), [("restate", "W1.rate")], 8, 16),
    Bar(
        "W1, 20,000 executions, vs INSERT of 200 rows",
        (PG, "W1 many.rate"),
        [("limit postgres", "limit.unnest")],
        0.20,
        0.45,
    ),
    Bar("W1 on SQLite vs loop of one-row commits", (SQLITE, "W1.rate"), [("limit sqlite", "limit.one")], 4.7, 9),
    Bar("W1 on SQLite vs DBOS on SQLite", (SQLITE, "W1.rate"), [("dbos sqlite", "W1.rate")], 60, 120),
    Bar("W1 at 200 running: commits", (PG, "W1 at 200.commits"), [], 0.2, 0.05, at_most=True, unit="per execution"),
    Bar("W1 at 200 running: WAL", (PG, "W1 at 200.wal"), [], 3000, 2200, at_most=True, unit="bytes per execution"),
    Bar("W2 between processes vs Restate", (PG, "W2.p50"), [("restate", "W2.p50")], 1 / 2, 1 / 3, at_most=True),
    Bar(
        "W2 in process vs DBOS direct", (PG, "W2 inside.p50"), [("dbos postgres", "W2 direct.p50")], 1 / 3, 1 / 5, at_most=True
    ),
    Bar("W3 between processes, parked, vs the best peer", (PG, "W3.p50"), _w3(), 1 / 2, 1 / 4, at_most=True),
    Bar("W4 vs Restate", (PG, "W4.p50"), [("restate", "W4.p50")], 1 / 2, 1 / 6, at_most=True),
    Bar("W5 vs Absurd", (PG, "W5.total"), [("absurd postgres", "W5.total")], 0.6, 0.35, at_most=True),
    Bar("W5 last tenth vs first", (PG, "W5.growth"), [], 1.2, 1.05, at_most=True),
    Bar("W5 replay of 900 steps after kill -9 and a claim", (PG, "kill.replay"), [], 30, 10, at_most=True, unit="ms"),
    Bar("W6 in bulk vs PgQueuer in bulk", (PG, "W6.bulk"), [("pgqueuer postgres", "W6.bulk")], 1, 3),
    Bar("claim among 1,000,000 finished vs none", (PG, "claims.finished"), [], 1.5, 1.1, at_most=True),
    Bar("claim among 100,000 due of an unregistered task", (PG, "claims.unregistered"), [], 2, 1.2, at_most=True),
    Bar("100,000 parked: memory of the worker", (PG, "parked.memory"), [], 20, 5, at_most=True, unit="MB"),
    Bar("100,000 parked: idle beats and claims", (PG, "parked.idle"), [], 2, 1, at_most=True, unit="per second"),
    Bar("two workers vs one, where steps wait", (PG, "two.ratio"), [], 1.8, 1.95),
)


def judged(rounds: Sequence[Round]) -> Iterator[tuple[Bar, float]]:
    """Yield the bars that were measured, with what was."""
    for bar in BARS:
        value = bar.measured(rounds)
        if value is not None:
            yield bar, value
