"""What must be true when everything has ended, whatever has happened meanwhile."""

from typing import Any

from tests.chaos.ground import Ground
from tests.chaos.ledger import Ledger
from zart import DurableScheduler, ExecutionStatus


def steps_of(words: list[str]) -> list[str]:
    """Return the names of the steps that an errand takes, in order."""
    names: list[str] = []
    for word in words:
        match word.partition(":")[0]:
            case "both":
                names += [f"{word}.a", f"{word}.b"]
            case "mixed":
                names += [f"{word}.plain", f"book.{word}"]
            case "nap" | "rest" | "wait":
                pass
            case _:
                names.append(word)
    return names


async def check_ended(
    client: DurableScheduler, ground: Ground, ledger: Ledger, ids: list[str], words: list[str], within: str = "20s"
) -> None:
    """Wait for the ends; then what was saved is what happened, and what was booked is there once."""
    steps = steps_of(words)
    saved: dict[tuple[str, str], Any] = {}
    for each in ids:
        record = await client.wait(each, within)
        assert record.status is ExecutionStatus.COMPLETED, record
        status = await client.status(each)
        names = [step.name for step in status.steps]
        assert len(names) == len(set(names))
        results = {step.name: step.result for step in status.steps}
        assert [value for value in status.result if isinstance(value, str)] == [results[name] for name in steps], each
        saved |= {(each, name): results[name] for name in steps}
    for line in ledger.find("saved"):
        assert saved.get((line.id, line.step), line.value) == line.value, f"{line} is not what is saved"
    ends = {(line.id, line.step, line.value) for line in ledger.find("end")}
    assert {(*key, value) for key, value in saved.items()} <= ends
    books = sorted((*key, value) for key, value in saved.items() if key[1].startswith("book"))
    assert sorted(each for each in await ground.bookings() if each[0] in ids) == books
