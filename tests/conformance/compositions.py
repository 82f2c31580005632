"""What other systems have operations for, said with Zart's: parallel is gather, a callback is an event."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from attrs import frozen

from zart import StepFailed, TaskContext

Branch = Callable[[], Awaitable[Any]]


class Rejected(Exception):
    """The other side of a callback has said no."""


class InvokeError(Exception):
    """An execution that another has started came to nothing."""


# ---- callbacks ------------------------------------------------------------------------------------------------------


async def callback(ctx: TaskContext, name: str, timeout: str | None = None, *, heartbeat: str | None = None) -> Any:
    """Wait for the end of a callback: events of its name say "alive", what it came to, or why it failed.

    With `heartbeat`, each sign of life gives it as long again.
    """
    while True:
        said = await ctx.wait_for_event(name, dict[str, Any], timeout=heartbeat or timeout)
        if "error" in said:
            raise Rejected(said["error"])
        if "alive" not in said:
            return said.get("value")


def begun(waiting: Any) -> "asyncio.Task[Any]":
    """Begin to wait now, and go on with something else; await it later."""
    return asyncio.get_running_loop().create_task(waiting)


# ---- executions that executions start ---------------------------------------------------------------------------------


async def invoke(ctx: TaskContext, play: Any, name: str, task: str, data: Any = None) -> Any:
    """Start another execution and wait for its end, which it reports itself, as an event."""
    parent = ctx.info.execution_id
    child = f"{parent}/{name}"

    async def start() -> None:
        await play.client.start(child, task, {"parent": parent, "name": name, "data": data}, start_key=child)

    await ctx.step(f"invoke {name}", start)
    try:
        return await callback(ctx, name)
    except Rejected as error:
        raise InvokeError(str(error)) from None


async def reports(ctx: TaskContext, data: dict[str, Any], play: Any, work: Branch) -> None:
    """Be the other execution: do the work and report what came of it; sent twice it is one event."""
    try:
        said: dict[str, Any] = {"value": await work()}
    except StepFailed as error:
        said = {"error": error.message}

    async def report() -> None:
        await play.client.offer_event(data["parent"], data["name"], said, event_id=ctx.info.execution_id)

    await ctx.step("report", report)


# ---- polling ----------------------------------------------------------------------------------------------------------


class Exhausted(Exception):
    """A condition was not met in so many attempts."""


async def condition(
    ctx: TaskContext,
    name: str,
    check: Callable[[Any], Any],
    met: Callable[[Any], bool],
    state: Any = None,
    *,
    every: str = "2s",
    attempts: int | None = None,
    returns: Any = Any,
) -> Any:
    """Check again and again until the state is as wanted; each check is given what the one before it returned."""
    number = 1
    while True:
        state = await ctx.step(f"{name} {number}", check, state, returns=returns)
        if met(state):
            return state
        if number == attempts:
            raise Exhausted(f"{name}: not met in {attempts} attempts")
        await ctx.sleep(f"{name} {number} pause", every)
        number += 1


# ---- branches side by side --------------------------------------------------------------------------------------------


@frozen
class Batch:
    """What branches came to, in their order; None for those that were never begun."""

    results: list[Any]
    errors: list[str | None]
    reason: str

    @property
    def succeeded(self) -> list[Any]:
        """The results of those that succeeded."""
        return [result for result, error in zip(self.results, self.errors, strict=True) if error is None]

    @property
    def failures(self) -> list[str]:
        """The errors of those that failed."""
        return [error for error in self.errors if error is not None and error != "not begun"]

    def unwrap(self) -> list[Any]:
        """Return the results.

        Raises:
            Rejected: one has failed.
        """
        if self.failures:
            raise Rejected(self.failures[0])
        return self.succeeded


@frozen
class Until:
    """When a batch is complete: enough have succeeded, or too many have failed; equal to the limit is not too many."""

    successes: int | None = None
    failures: int | None = None
    percent: float | None = None

    def reached(self, good: int, bad: int, total: int) -> str | None:
        """Return why no more is begun."""
        if self.successes is not None and good >= self.successes:
            return "enough succeeded"
        if (self.failures is not None and bad > self.failures) or (
            self.percent is not None and bad * 100 > self.percent * total
        ):
            return "too many failed"
        return None


async def batch(branches: Sequence[Branch], *, at_once: int | None = None, until: Until | None = None) -> Batch:
    """Run branches, so many at once, until enough has come of them; the results come in the order of the branches.

    Raises:
        ValueError: none may run at once.
    """
    if at_once is not None and at_once < 1:
        raise ValueError(f"at_once must be 1 or more, not {at_once}")
    limit = until or Until()
    results: list[Any] = [None] * len(branches)
    errors: list[str | None] = ["not begun"] * len(branches)
    rest = list(enumerate(branches))
    rest.reverse()
    good = bad = 0
    reason: str | None = None

    async def lane() -> None:
        nonlocal good, bad, reason
        while rest and reason is None:
            number, branch = rest.pop()
            try:
                results[number] = await branch()
            except StepFailed as error:
                errors[number] = error.message
                bad += 1
            else:
                errors[number] = None
                good += 1
            reason = reason or limit.reached(good, bad, len(branches))

    await asyncio.gather(*(lane() for _ in range(min(at_once or len(branches), len(branches)))))
    return Batch(results, errors, reason or "all completed")


def said(value: Any) -> Callable[[], Any]:
    """Return a function that returns a value."""

    async def says() -> Any:
        return value

    return says


def broken(message: str = "no") -> Callable[[], Any]:
    """Return a function that raises."""

    async def breaks() -> Any:
        raise ValueError(message)

    return breaks


def branch(ctx: TaskContext, name: str, fn: Callable[[], Any], returns: Any = Any) -> Branch:
    """Return a branch of one step."""
    return lambda: ctx.step(name, fn, returns=returns)
