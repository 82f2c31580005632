"""What a seed decides before anything happens: how many take part, how they are set up, and what will go wrong how often.

Every seed draws its own mixture, mild or wild in each respect: with the same mixture everywhere, rare pairs would never meet.
"""

import random

from attrs import Factory, evolve, frozen

from zart.config import WorkerConfig
from zart.testing.simulation.network import Faults


@frozen
class Weather:
    """One mixture. Times are virtual seconds."""

    seed: int
    calm: bool = False
    workers: int = 3
    clients: int = 3
    starts: int = 3
    """How many executions each client starts."""
    lasts: float = 60.0
    """How long things go wrong."""
    faults: Faults = Factory(Faults)
    between_strikes: float = 5.0
    kills: float = 1.0
    pauses: float = 1.0
    outages: float = 1.0
    cuts: float = 1.0
    stops: float = 0.5
    jumps: float = 0.0
    longest_pause: float = 20.0
    skew: float = 0.0
    drift: float = 0.0
    poison: float = 0.0
    cancels: float = 0.1
    twice: float = 0.1
    """How many starts are made twice at once."""
    again: float = 0.1
    """How many ids are started again after their end."""
    letters: int = 3
    config: WorkerConfig = Factory(WorkerConfig)


def weather(seed: int, *, calm: bool = False) -> Weather:
    """Return the weather of a seed."""
    chance = random.Random(f"weather {seed} {calm}")  # noqa: S311 # one number must reproduce a run; nothing here is a secret
    lease = chance.choice((3, 6, 15))
    config = WorkerConfig(
        lease=lease,
        heartbeat_interval=1,
        poll_interval=chance.choice((0.5, 1, 2)),
        max_concurrent=50 if calm else chance.choice((1, 2, 3, 20, 50)),
        claim_batch=chance.choice((None, None, 1, 3)),
        park_after=chance.choice((0, 0.05, 0.05, 1)),
        max_crashes=chance.choice((3, 5)),
        shutdown_timeout=chance.choice((0, 1, 10)),
    )
    mild = Weather(
        seed,
        calm,
        workers=chance.randint(1, 3),
        clients=chance.randint(1, 3),
        starts=chance.randint(1, 4),
        skew=chance.choice((0.0, 30.0, 3600.0)),
        cancels=chance.choice((0.0, 0.1, 0.5)),
        twice=chance.choice((0.0, 0.3)),
        again=chance.choice((0.0, 0.3)),
        letters=chance.randint(0, 4),
        config=config,
    )
    if calm:
        return evolve(mild, lasts=1.0)

    def often(*choices: float) -> float:
        return chance.choice((0.0, *choices))

    faults = Faults(
        lost_request=often(0.01, 0.1),
        lost_reply=often(0.01, 0.1, 0.3),
        latency=chance.choice((0.001, 0.005, 0.1)),
        tail=often(0.01, 0.05),
        slow=chance.choice((3.0, 20.0)),
        patience=chance.choice((1.0, 5.0)),
        lost_hint=often(0.1, 1.0),
        late_hint=often(0.3),
        crash_at_call=often(0.002, 0.02),
    )
    return evolve(
        mild,
        lasts=chance.choice((20.0, 60.0)),
        faults=faults,
        between_strikes=chance.choice((1.0, 4.0, 15.0)),
        kills=often(1.0, 3.0),
        pauses=often(1.0, 3.0),
        outages=often(0.5),
        cuts=often(1.0),
        stops=often(0.5),
        jumps=chance.choice((0.0, 0.0, 0.0, 0.3)),
        longest_pause=chance.choice((2.0, lease * 2.0, 45.0)),
        drift=often(0.02),
        poison=often(0.1),
    )
