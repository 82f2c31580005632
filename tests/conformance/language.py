"""The words of a scenario: a body, what happens to it, and the history and end that must come of it.

A scenario is declared by decorating its body:

    @scenario("1-1", "a step succeeds", data="Ada", expect=['step greet = "hello Ada"'], end=Completed("hello Ada"))
    async def basic(ctx: TaskContext, data: str) -> str:
        return await ctx.step("greet", greet, data)

The history is compared line by line (`tests.conformance.history` says how lines are written). In an expected line `<*>` stands
for anything, and `<name>` for whatever stands there first, and the same wherever the name comes again. A line that begins with
"? " may be missing where the worker dies: what a wait was for may then have come before it began, or have been given up.

The execution is started first, if the story does not say when; and after the last word the player lets time pass until it has
ended, if it is to end.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from inspect import signature
from typing import Any

from attrs import field, frozen

from zart import TaskContext, TaskHandler, WorkerConfig

Body = Callable[..., Any]


# ---- how an execution ends ------------------------------------------------------------------------------------------


@frozen
class Completed:
    """With this output, of this very type."""

    output: Any = None


@frozen
class Failed:
    """With this reason; a pattern like a line of the history."""

    reason: str


@frozen
class Cancelled:
    """From outside."""


@frozen
class Waiting:
    """Not at all: it waits for these names, for this reason if one is given."""

    names: tuple[str, ...]
    reason: str | None = None


@frozen
class Pending:
    """Not at all: nobody has claimed it."""


@frozen
class Unknown:
    """It was never started."""


End = Completed | Failed | Cancelled | Waiting | Pending | Unknown


# ---- what can happen ------------------------------------------------------------------------------------------------


@frozen
class Start:
    """Start the execution, or so many of them; `refused` names the error that the caller gets instead.

    A start with the `key` of another is that start said again.
    """

    data: Any = None
    reuse: str = "ended"
    delay: str | None = None
    refused: str | None = None
    key: str | None = None
    times: int = 1
    queue: str | None = None


@frozen
class Advance:
    """Let time pass, to so long after the start of the story."""

    to: str


@frozen
class Event:
    """Send an event; `answer` is what the sender must be told: "recorded", "duplicate", or the name of an error."""

    name: str
    payload: Any = None
    event_id: str | None = None
    answer: str = "recorded"


@frozen
class Cancel:
    """Cancel the execution; `answer` is whether this call did it, or the name of an error."""

    answer: bool | str = True


@frozen
class Crash:
    """The worker dies as if killed, and another begins when its lease has run out."""


@frozen
class Leave:
    """The worker stops in good order, and another begins at once."""


@frozen
class Deploy:
    """The worker stops in good order; another begins, with another body under the same name."""

    body: Body
    options: Mapping[str, Any] = field(factory=dict)


@frozen
class AtSave:
    """Something happens around the worker's n-th save: "before" storage has it, or "after", when no reply has come."""

    number: int
    what: "Crash | Cancel | Event | LoseReply"
    when: str = "after"


@frozen
class CrashIn:
    """The worker dies in an attempt of a step: its function runs, its outcome is never saved."""

    step: str
    attempt: int = 1
    times: int = 1


@frozen
class LoseReply:
    """Storage does what it was asked, and the reply is lost: of a save (with `AtSave`), or of the next call named here."""

    call: str = "commit"


@frozen
class Takeover:
    """The worker stalls in its n-th save; its lease runs out, another takes over; then the first wakes up and writes.

    The second has by then "ended" the execution or is itself "running" it.
    """

    save: int
    meanwhile: str = "ended"


@frozen
class Down:
    """Storage refuses the next so many calls of these kinds."""

    calls: int
    kinds: tuple[str, ...] = ("commit", "claim", "beat")


@frozen
class Jump:
    """The wall clock of storage jumps, forward or back by seconds."""

    seconds: float


@frozen
class Reopen:
    """Every connection to storage is closed; it is opened anew, as after a restart of the process."""


@frozen
class AtOnce:
    """Several things, and nobody gets a chance to run in between."""

    words: tuple[Any, ...]


@frozen
class Sees:
    """What anybody who looks must see now."""

    status: str
    waits_for: tuple[str, ...] | None = None
    reason: str | None = None


INTERRUPTING = (AtSave, Takeover, Down, CrashIn, Crash, LoseReply)
"""Words whose place in time is that of the undisturbed run: their stories are not interrupted further."""


# ---- the scenario ---------------------------------------------------------------------------------------------------


@frozen
class Scenario:
    """One promise: a body under a story comes to this history and this end, on every backend."""

    id: str
    family: str
    title: str
    body: Body
    end: End
    data: Any = None
    story: tuple[Any, ...] = ()
    expect: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(factory=dict)
    """Class attributes of the handler."""
    others: Mapping[str, Body] = field(factory=dict)
    """Further handlers, by name."""
    config: WorkerConfig | None = None
    unordered: bool = False
    """Whether interruptions may change the order of the lines: branches that run side by side."""
    interruptions: bool = True
    """Whether it is also played with the worker dying around every save; `why_not` says why not."""
    effects: Mapping[str, Any] | None = None
    """What the body's functions have noted, in the undisturbed run."""
    not_on: Mapping[str, str] = field(factory=dict)
    """Backends that it does not apply to, and why."""

    @property
    def words(self) -> tuple[Any, ...]:
        """The story, with a start before it if it has none."""
        starts = any(isinstance(word, Start) for word in self.flat)
        return self.story if starts else (Start(self.data), *self.story)

    @property
    def flat(self) -> tuple[Any, ...]:
        """The words of the story, those said at once one by one."""
        return tuple(word for each in self.story for word in (each.words if isinstance(each, AtOnce) else (each,)))

    def handler(self, play: Any, body: Body | None = None, options: Mapping[str, Any] | None = None) -> TaskHandler[Any, Any]:
        """Return a handler of the body, or of another one that takes its place."""
        return handler_of(f"scenario {self.id}", body or self.body, play, self.options if options is None else options)

    def handlers(self, play: Any) -> list[TaskHandler[Any, Any]]:
        """Return all its handlers."""
        return [self.handler(play), *(handler_of(name, body, play, {}) for name, body in self.others.items())]


@frozen
class Inapplicable:
    """A line of the public suite that no composition of the public API can express, and why."""

    id: str
    family: str
    title: str
    reason: str


SCENARIOS: dict[str, Scenario] = {}
INAPPLICABLE: dict[str, Inapplicable] = {}


def handler_of(name: str, body: Body, play: Any, options: Mapping[str, Any]) -> TaskHandler[Any, Any]:
    """Return a handler with this body; a body with a third parameter gets the play that it is part of."""
    knows = len(signature(body).parameters) > 2

    async def run(self: Any, ctx: TaskContext, data: Any) -> Any:
        return await (body(ctx, data, play) if knows else body(ctx, data))

    run.__annotations__ = {"data": Any, "return": Any} | {
        part: kind for part, kind in body.__annotations__.items() if part in {"data", "return"}
    }
    members = {**options, "name": name, "run": run}
    if "on_failure" in members:
        amends: Any = members["on_failure"]

        async def on_failure(self: Any, ctx: TaskContext, data: Any, failure: Any) -> Any:
            return await amends(ctx, data, failure)

        members["on_failure"] = on_failure
    kind: Any = type("Body", (TaskHandler,), members)
    made: TaskHandler[Any, Any] = kind()
    return made


def _refuse_again(id_: str) -> None:
    if id_ in SCENARIOS or id_ in INAPPLICABLE:
        raise ValueError(f"{id_} is declared twice")


def family(name: str) -> tuple[Callable[..., Callable[[Body], Body]], Callable[[str, str, str], None]]:
    """Return the two words with which the lines of a family are said: `scenario` and `inapplicable`."""

    def scenario(
        id_: str,
        title: str,
        *,
        end: End,
        story: Sequence[Any] = (),
        expect: Iterable[str] = (),
        data: Any = None,
        **more: Any,
    ) -> Callable[[Body], Body]:
        def declare(body: Body) -> Body:
            _refuse_again(id_)
            known = set(Scenario.__annotations__)
            options = more.pop("options", {}) | {key: more.pop(key) for key in list(more) if key not in known}
            SCENARIOS[id_] = Scenario(id_, name, title, body, end, data, tuple(story), tuple(expect), options=options, **more)
            return body

        return declare

    def inapplicable(id_: str, title: str, reason: str) -> None:
        _refuse_again(id_)
        INAPPLICABLE[id_] = Inapplicable(id_, name, title, reason)

    return scenario, inapplicable
