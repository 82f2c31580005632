"""Several workers share one storage: claims are disjoint, nobody claims more than he can carry, nobody waits for a slow one."""

import signal

import pytest

from tests.chaos.ends import check_ended
from tests.chaos.ground import until

BACKENDS = pytest.mark.parametrize("backend", ["postgres", "sqlite"])


@BACKENDS
async def test_claims_are_disjoint(backend, ground, crew, ledger, client):
    ids = [f"e{number:03}" for number in range(300 if backend == "postgres" else 100)]
    members = [await crew.add(max_concurrent=8) for _ in range(3)]
    await client.start_many((each, "errand", ["step:1", "step:2"]) for each in ids)
    await check_ended(client, ground, ledger, ids, ["step:1", "step:2"])
    bodies = ledger.find("body")
    assert sorted(line.id for line in bodies) == ids
    share = {member.pid: sum(line.pid == member.pid for line in bodies) for member in members}
    assert min(share.values()) >= len(ids) // 20, share
    assert {(await client.scheduler.get(each)).fence for each in ids} == {1}


async def test_a_worker_claims_no_more_than_it_has_room_for_and_the_rest_is_there_for_others(ground, crew, ledger, client):
    first = await crew.add(holds=True, max_concurrent=3)
    ids = [f"e{number}" for number in range(10)]
    await client.start_many((each, "errand", ["hold:1"]) for each in ids)
    await ledger.comes("begin", count=3)
    async with ground.session() as watch:
        beats = "SELECT lease_until FROM zart_workers WHERE id = $1"
        seen = await watch.fetchval(beats, first.id)
        await until(watch, f"SELECT ({beats}) > $2::bigint + 1000000", first.id, seen)  # two beats and a poll later
        running = "SELECT array_agg(id ORDER BY id) FROM zart_executions WHERE worker = $1"
        held = await watch.fetchval(running, first.id)
        assert len(held) == len(ledger.find("body")) == 3
        second = await crew.add()
        rest = sorted(set(ids) - set(held))
        await check_ended(client, ground, ledger, rest, ["hold:1"])
        assert {line.pid for line in ledger.find("begin") if line.id in rest} == {second.pid}
        assert await watch.fetchval(running, first.id) == held


@BACKENDS
async def test_a_slow_execution_does_not_idle_the_others_of_its_batch(backend, ground, crew, ledger, client):
    worker = await crew.add(holds=True, max_concurrent=4)
    ids = [f"e{number:02}" for number in range(40)]
    await client.start_many([("slow", "errand", ["hold:1"]), *((each, "errand", ["step:1", "step:2"]) for each in ids)])
    await check_ended(client, ground, ledger, ids, ["step:1", "step:2"])
    assert not ledger.find("end", "slow")
    assert len(ledger.find("begin", "slow")) == 1
    assert ledger.most_at_once(worker.pid) == 4
    worker.tell(signal.SIGUSR1)
    await check_ended(client, ground, ledger, ["slow"], ["hold:1"])
    ledger.check()
