"""An agent: it plans, calls tools in parallel, asks a person, and answers questions; no answer of a tool is paid for twice."""

import asyncio
import tempfile
from contextlib import suppress

from attrs import frozen

import zart
from zart import EventTimeout, NonRetryable, Ok, RetryConfig, wait_for_event, zart_step

registry = zart.Registry()
PATIENT = RetryConfig.exponential(3, "1s")
paid: list[str] = []  # every call that costs money


@frozen
class Approval:
    """What a person says to a draft."""

    approved: bool
    remark: str = ""


SHORTER, GOOD = Approval(approved=False, remark="but shorter"), Approval(approved=True)
EVENTS = [("approval", SHORTER), ("approval", GOOD), ("question", "trams"), ("question", "food"), ("question", "")]


@zart_step("plan", retry=PATIENT, timeout="2m")
async def plan(wish: str) -> list[tuple[str, str]]:
    """Let the model say which tools to ask for what."""
    paid.append("plan")
    return [("search", wish), ("weather", "Lisbon"), ("calendar", "May")]


@zart_step("ask-{tool}", retry=PATIENT, timeout="1m")
async def ask(tool: str, query: str) -> str:
    """Ask a tool."""
    paid.append(tool)
    if tool == "calendar":
        raise NonRetryable("the calendar's key was revoked")
    return f"{tool}: {query} is fine"


@zart_step("draft-{number}", retry=PATIENT)
async def write(number: int, facts: list[str], remark: str = "") -> str:
    """Let the model write."""
    paid.append("write")
    return f"draft {number} of {len(facts)} facts {remark}".strip()


@registry.durable("agent", timeout="7d")
async def agent(wish: str) -> list[str]:
    """Plan, look up, write, ask, and stay for questions."""
    found = await zart.wait([zart.schedule(ask(tool, query)) for tool, query in await plan(wish)])
    facts = [outcome.value for outcome in found if isinstance(outcome, Ok)]  # a broken tool is no reason to give up
    drafts = [await write(1, facts)]
    while not (answer := await wait_for_event("approval", Approval, timeout="2d")).approved:
        drafts.append(await write(len(drafts) + 1, facts, answer.remark))
    with suppress(EventTimeout):  # nobody asks any more
        while question := await wait_for_event("question", str, timeout="1d"):  # an empty one ends the talk
            facts.append(await ask("search", question).named(f"question-{len(drafts)}"))
            drafts.append(await write(len(drafts) + 1, facts, f"with {question}"))
    return drafts


async def main() -> None:
    """Let the agent work on SQLite."""
    with tempfile.TemporaryDirectory() as folder:
        async with zart.connect(f"sqlite:///{folder}/zart.db") as scheduler, zart.Worker(scheduler, registry):
            handle = await zart.DurableScheduler(scheduler).start_for(agent, "lisbon", "a trip to Lisbon")
            for name, payload in EVENTS:
                await handle.send(name, payload)
            print(*await handle.result("30s"), sep="\n")
    print(f"{len(paid)} calls were paid for, each once: {', '.join(paid)}")


if __name__ == "__main__":
    asyncio.run(main())
