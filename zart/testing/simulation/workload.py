"""The workflows of a simulation, one handler for each way in which an execution can be led."""

from typing import Any

from zart.context import TaskContext
from zart.durations import Duration
from zart.errors import ExecutionFailure
from zart.handler import TaskHandler
from zart.retry import ErrorTypes, RetryConfig
from zart.testing.simulation.program import OutOfStock, Program, Seen, World


class Plain(TaskHandler[int, Seen]):
    """Plays a program; fails for good when that fails."""

    raises: ErrorTypes = OutOfStock
    name: str = "plain"

    def __init__(self, world: World) -> None:
        self.world = world

    async def run(self, ctx: TaskContext, data: int) -> Seen:
        """Return what it was handed."""
        program = Program(data, self.world)
        seen: Seen = []
        await program.play(ctx, seen)
        if ctx.info.current_attempt < program.failing_attempts:
            raise OutOfStock(f"attempt {ctx.info.current_attempt}")
        return seen


class Retried(Plain):
    """Runs again when it fails."""

    name: str = "retried"
    retry: RetryConfig | None = RetryConfig.fixed(2, 1)


class Compensated(Plain):
    """Plays another program when it has failed."""

    name: str = "compensated"
    failure_timeout: Duration = 120

    async def on_failure(self, ctx: TaskContext, data: int, failure: ExecutionFailure) -> Seen:
        """Return what it was handed."""
        seen: Seen = []
        await Program(data + 1, self.world).play(ctx, seen)
        return seen


class Hurried(Plain):
    """Has little time."""

    name: str = "hurried"
    timeout: Duration | None = 12


class HurriedCompensated(Compensated):
    """Has little time, and makes good what it has done."""

    name: str = "hurried-compensated"
    timeout: Duration | None = 12


class Poison(Plain):
    """Kills the process that runs it."""

    name: str = "poison"

    async def run(self, ctx: TaskContext, data: int) -> Seen:
        """Return nothing: nobody is left."""

        async def die() -> None:
            await self.world.work(0.1)
            self.world.crash(self.world.here())
            await self.world.work(1)

        await ctx.step("poison", die)
        return []


def handlers(world: World) -> list[TaskHandler[Any, Any]]:
    """Return one handler of each kind."""
    kinds: tuple[type[Plain], ...] = (Plain, Retried, Compensated, Hurried, HurriedCompensated, Poison)
    return [kind(world) for kind in kinds]
