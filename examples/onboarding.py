"""Onboarding a customer: a welcome mail, an account at a billing service that is down, two days of patience, activation.

Run it alone with `python examples/onboarding.py`, or serve it with `zart worker --app examples.onboarding:registry`.
"""

import asyncio
import tempfile

from attrs import define, field, frozen

from zart import DurableScheduler, EventTimeout, Registry, RetryConfig, TaskContext, TaskHandler, Worker, connect


@frozen
class OnboardingData:
    """What a signup form sends."""

    email: str


@frozen
class VerifyPayload:
    """What the link in the welcome mail sends back."""

    token: str


@frozen
class Account:
    """What has become of the signup."""

    customer: str
    active: bool


@define
class Services:
    """The world outside: it writes down every call, and billing is down for the first `outages` of its calls."""

    outages: int = 0
    calls: list[str] = field(factory=list)

    async def send_welcome_email(self, email: str) -> None:
        """Send the mail with the link."""
        self.calls.append(f"mail {email}")

    async def create_customer(self, email: str) -> str:
        """Open an account at the billing service."""
        self.calls.append(f"bill {email}")
        if self.outages:
            self.outages -= 1
            raise ConnectionError("billing is down")
        return f"customer of {email}"

    async def activate(self, customer: str, token: str) -> None:
        """Let the customer in."""
        self.calls.append(f"activate {customer} with {token}")

    async def close(self, customer: str) -> None:
        """Close what was opened for somebody who never came back."""
        self.calls.append(f"close {customer}")


class Onboarding(TaskHandler[OnboardingData, Account]):
    """The workflow. Each step is done once, whatever happens to the process between them."""

    name = "onboarding"
    max_retries = 3
    timeout = "3d"

    def __init__(self, services: Services, patience: str = "1s") -> None:
        self.services = services
        self.retry_billing = RetryConfig.exponential(3, patience)

    async def run(self, ctx: TaskContext, data: OnboardingData) -> Account:
        """Welcome, bill, wait for the click, activate."""
        await ctx.step("send-email", self.services.send_welcome_email, data.email)
        customer = await ctx.step_with_retry("setup-billing", self.retry_billing, self.services.create_customer, data.email)
        try:
            verified = await ctx.wait_for_event("email-verified", VerifyPayload, timeout="48h")
        except EventTimeout:
            await ctx.step("close", self.services.close, customer)
            return Account(customer, active=False)
        await ctx.step("activate", self.services.activate, customer, verified.token)
        return Account(customer, active=True)


registry = Registry([Onboarding(Services(outages=2))])


async def main() -> None:
    """Onboard one customer on SQLite, with billing failing twice."""
    services = Services(outages=2)
    handler = Onboarding(services, patience="200ms")
    with tempfile.TemporaryDirectory() as folder:
        async with connect(f"sqlite:///{folder}/zart.db") as scheduler, Worker(scheduler, [handler]):
            client = DurableScheduler(scheduler)
            started = await client.start_for(handler, "onboard-ada", OnboardingData("ada@example.com"))
            # The click may come before the workflow waits for it: the mailbox keeps it.
            await started.send("email-verified", VerifyPayload("t-123"))
            account = await started.result("30s")
            record = await started.record()
    for step in record.steps:
        print(f"{step.name:15} {step.kind:6} {step.status:10} {step.attempts} calls  {'; '.join(step.errors)}")
    wanted = ["mail ada@example.com", *["bill ada@example.com"] * 3, "activate customer of ada@example.com with t-123"]
    if not account.active or services.calls != wanted:
        raise SystemExit(f"not as it should be: {account}, {services.calls}")
    print(f"{account.customer} is active: one mail, billing called three times, one activation")


if __name__ == "__main__":
    asyncio.run(main())
