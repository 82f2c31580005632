"""Tools for testing workflows and backends, for users as for Zart itself."""

from zart.testing.clock import FakeClock
from zart.testing.harness import Harness, HarnessStuck, StepNotAwaited
from zart.testing.replay import ReplayProblem, replay_check

__all__ = ["FakeClock", "Harness", "HarnessStuck", "ReplayProblem", "StepNotAwaited", "replay_check"]
