"""A saga: three bookings, and when one of them fails, what was booked is cancelled again, last first, each once."""

import asyncio
import tempfile

from attrs import define, field

import zart
from zart import RetryConfig, Step, TaskHandler, ZartError, zart_durable, zart_step

WISHES = ["flight", "hotel", "car"]
AGAIN = RetryConfig.exponential(20, "100ms", max_delay="1m")


class SoldOut(Exception):
    """The answer of a partner who has nothing left: a decision, so it is never retried."""


@define
class Partners:
    """The world outside: some things are sold out, and for the first `outages` calls nobody answers who is to cancel."""

    sold_out: str = ""
    outages: int = 0
    calls: list[str] = field(factory=list)

    @zart_step("book-{what}", retry=AGAIN, raises=SoldOut)
    async def book(self, what: str) -> str:
        """Book something, and return the number of the booking."""
        if what == self.sold_out:
            raise SoldOut(f"no {what} left")
        self.calls.append(f"book {what}")
        return f"{what}-1"

    @zart_step("cancel-{booking}", retry=AGAIN)
    async def cancel(self, booking: str) -> None:
        """Cancel a booking."""
        self.outages -= 1
        if self.outages >= 0:
            raise ConnectionError("the partner does not answer")
        self.calls.append(f"cancel {booking}")


def booking(partners: Partners) -> TaskHandler[list[str], str]:
    """Return the workflow, on these partners."""

    @zart_durable("trip")
    async def trip(wishes: list[str]) -> str:
        undo: list[Step[None]] = []
        try:
            for wish in wishes:
                booked = await partners.book(wish)
                undo.append(partners.cancel(booked))
        except (SoldOut, ZartError) as error:
            for step in reversed(undo):
                await step
            return f"{error}, so {len(undo)} bookings were cancelled"
        return f"booked: {', '.join(wishes)}"

    return trip


registry = zart.Registry([booking(Partners())])


async def main() -> None:
    """Book two trips on SQLite; for the second there is no car left."""
    for partners in (Partners(), Partners(sold_out="car", outages=2)):
        handler = booking(partners)
        with tempfile.TemporaryDirectory() as folder:
            async with zart.connect(f"sqlite:///{folder}/zart.db") as scheduler, zart.Worker(scheduler, [handler]):
                print(await zart.DurableScheduler(scheduler).start_and_wait_for(handler, "t-1", WISHES, "30s"))
        print(f"  {', '.join(partners.calls)}")


if __name__ == "__main__":
    asyncio.run(main())
