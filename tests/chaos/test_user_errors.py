"""An error of a database's that the user's code raises is the user's failure: one call, one record, and no second try."""

from tests.chaos.ends import check_ended
from tests.chaos.errands import FAULTS, STATEMENTS
from tests.chaos.ground import until
from zart import ExecutionStatus

BLOCKED = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND $1 = ANY(pg_blocking_pids(pid))"


async def test_whatever_a_step_raises_it_fails_once(ground, crew, ledger, client):
    await crew.add()
    await client.start_many((f"e-{kind}", "errand", ["step:1", f"raise:{kind}"]) for kind in FAULTS)
    for kind, fault in FAULTS.items():
        record = await client.wait(f"e-{kind}", "20s")
        assert record.status is ExecutionStatus.FAILED, kind
        assert record.result["kind"] == "StepFailure"
        assert record.result["error_type"].rpartition(".")[2] == type(fault()).__name__
        assert record.result["step"] == f"raise:{kind}"
        (step,) = [each for each in (await client.status(f"e-{kind}")).steps if each.name == f"raise:{kind}"]
        assert (step.status, step.attempts, len(ledger.find("begin", f"e-{kind}", f"raise:{kind}"))) == ("failed", 1, 1)
    ledger.check()


async def test_whatever_goes_wrong_with_a_statement_in_a_transaction_it_fails_once_and_leaves_nothing(
    ground, crew, ledger, client
):
    await crew.add()
    async with ground.session() as mine, ground.session() as other, mine.transaction():
        # The other side of a deadlock. Whose patience ends first has to give way; that is not this one.
        await mine.execute("SET LOCAL deadlock_timeout TO '1min'; SELECT pg_advisory_xact_lock(2)")
        await client.start_many((f"e-{kind}", "errand", ["step:1", f"wrong:{kind}"]) for kind in STATEMENTS)
        await until(other, BLOCKED, mine.get_server_pid())
        await mine.execute("SELECT pg_advisory_xact_lock(1)")
    for kind in STATEMENTS:
        record = await client.wait(f"e-{kind}", "20s")
        assert record.status is ExecutionStatus.FAILED, kind
        assert record.result["kind"] == "StepFailure", kind
        assert len(ledger.find("begin", f"e-{kind}", f"wrong:{kind}")) == 1, kind
        assert (await client.scheduler.get(f"e-{kind}")).fence == 1, kind
    assert "deadlock detected" in (await client.status("e-deadlock")).result["message"]
    assert await ground.bookings() == []
    await client.start("f", "errand", ["step:1", "book:2"])
    await check_ended(client, ground, ledger, ["f"], ["step:1", "book:2"])
    ledger.check()
