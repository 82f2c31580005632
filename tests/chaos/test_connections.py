"""Connections end under workers that are at work, all at once and again and again: nobody notices but the log."""

from tests.chaos.ends import check_ended
from tests.chaos.ground import until

WORDS = ["step:1", "both:2", "book:3", "nap:4", "wait:go", "step:5", "book:6"]
STORMS = 15
OURS = "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'zart%'"


async def test_every_connection_is_ended_while_workers_work(ground, crew, ledger, client):
    crew.lease = "30s"  # nobody is to be declared dead: what goes on is theirs
    for _ in range(2):
        await crew.add(patient=True, max_concurrent=10)
    ids = [f"e{number:02}" for number in range(STORMS * 5)]
    ended = in_work = 0
    async with ground.session() as admin:
        for number in range(STORMS):
            some = ids[5 * number : 5 * number + 5]
            await client.start_many((each, "errand", WORDS) for each in some)
            mark = len(ledger.lines) + 3 * number
            await ledger.until(lambda mark=mark: len(ledger.lines) > mark, "work")
            in_work += any(ledger.open_steps(each.pid) for each in crew.members)
            ended += await admin.fetchval(f"SELECT count(pg_terminate_backend(pid)) FROM ({OURS}) AS ours")
            for each in some:
                await client.offer_event(each, "go", number, event_id="go")
        await check_ended(client, ground, ledger, ids, WORDS)
        assert await admin.fetchval("SELECT count(*) FROM zart_workers WHERE state <> 'alive'") == 0
        assert await admin.fetchval("SELECT sum(crashes) FROM zart_executions") == 0
    assert ended >= 5 * STORMS
    assert in_work >= STORMS // 3
    # Plain steps are called once each, whatever becomes of connections; transactions may be rolled back and are called again.
    calls = ledger.begins(but=("book",))
    assert {key: len(lines) for key, lines in calls.items()} == dict.fromkeys(calls, 1)
    assert len(calls) == len(ids) * 4


async def test_a_held_snapshot_costs_the_workers_no_row_per_step(ground, crew, ledger, client):
    """Whoever looks at one moment for long keeps the server from cleaning up: what is rewritten often would bloat."""
    words = [f"step:{number}" for number in range(20)]
    ids = [f"e{number:02}" for number in range(40)]
    async with ground.session() as holder, ground.session() as watch, holder.transaction(isolation="repeatable_read"):
        seen = await holder.fetchval("SELECT count(*) FROM zart_steps")
        horizon = "SELECT backend_xmin FROM pg_stat_activity WHERE pid = $1"
        before = await watch.fetchval(horizon, holder.get_server_pid())
        await crew.add(max_concurrent=20)
        await crew.add(max_concurrent=20)
        await client.start_many((each, "errand", words) for each in ids)
        await check_ended(client, ground, ledger, ids, words)
        assert await holder.fetchval("SELECT count(*) FROM zart_steps") == seen == 0
        assert await watch.fetchval(horizon, holder.get_server_pid()) == before, "it was held all the time"
        for each in crew.members:
            assert await each.end() < 0  # a server process tells what it has done when it ends
        sql = "SELECT n_tup_upd FROM pg_stat_user_tables WHERE schemaname = $1 AND relname = $2"
        inserted = "SELECT n_tup_ins = $2 FROM pg_stat_user_tables WHERE schemaname = $1 AND relname = 'zart_steps'"
        await until(watch, inserted, ground.schema, len(ids) * len(words))
        assert await watch.fetchval(sql, ground.schema, "zart_steps") == 0
        rewritten = await watch.fetchval(sql, ground.schema, "zart_executions")
        assert len(ids) <= rewritten <= 2 * len(ids), "a claim and an end each"
    ledger.check()
