"""How much of everything is measured."""

from attrs import frozen


@frozen
class Sizes:
    """How much of everything."""

    executions: int = 2000
    many: int = 20_000
    running: int = 500
    """How many executions a worker of Zart runs at once in W1; the setting at which short ones are drained fastest."""
    latencies: int = 200
    across: int = 50
    """Samples of W2 and W3 between processes."""
    fans: int = 10
    sequence: int = 1000
    single_starts: int = 1000
    bulk_starts: int = 20_000
    limit_rows: int = 5000
    limit_seconds: float = 2.0
    parked: int = 100_000
    idle_seconds: float = 5.0
    finished: int = 1_000_000
    unregistered: int = 100_000
    claims: int = 100
    pauses: int = 2000
    """Executions that two workers share."""


QUICK = Sizes(
    executions=50,
    many=100,
    running=50,
    latencies=5,
    across=2,
    fans=2,
    sequence=50,
    single_starts=20,
    bulk_starts=200,
    limit_rows=200,
    limit_seconds=0.1,
    parked=300,
    idle_seconds=0.5,
    finished=2000,
    unregistered=1000,
    claims=5,
    pauses=60,
)
