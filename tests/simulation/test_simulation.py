"""The real engine, simulated: nothing that a seed does to it breaks a promise, and planted bugs are caught."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from zart.testing.simulation import BUGS, PAIRS, Tally, hunt, simulate
from zart.testing.simulation.tally import CALM_EVERY, ENOUGH, FAULTS, tally

SEEDS = 160
SHARES = 4
"""Parts of the seeds, so that several processes can share them."""
BOUND = 250
"""So many seeds may go by until a planted bug is caught."""


def kept_seeds():
    lines = (Path(__file__).parent / "seeds.txt").read_text("utf-8").splitlines()
    for line in lines:
        if line and not line.startswith("#"):
            seed, mark, *_ = line.split()
            yield pytest.param(int(seed), mark == "calm", id=f"{seed}{' calm' if mark == 'calm' else ''}")


@pytest.mark.parametrize("share", range(SHARES))
def test_nothing_breaks_a_promise(share):
    counted = tally(range(share, SEEDS, SHARES))
    assert not counted.violations
    for fault in ("process killed", "process paused", "storage down", "reply lost: commit", "stale write refused"):
        assert counted.hits[fault], f"{fault} never hit: these runs prove nothing"


@pytest.mark.parametrize(("seed", "calm"), list(kept_seeds()))
def test_what_was_found_once_is_not_found_again(seed, calm):
    assert not simulate(seed, calm=calm).violations


@pytest.mark.parametrize("calm", [False, True])
def test_one_seed_is_one_run(calm):
    first, again, other = simulate(5, calm=calm), simulate(5, calm=calm), simulate(6, calm=calm)
    assert first == again
    assert first.digest != other.digest


def test_one_seed_is_one_run_in_every_process():
    told = "from zart.testing.simulation import simulate; print(simulate(7).digest)"
    digests = {
        subprocess.run(
            [sys.executable, "-c", told], env={**os.environ, "PYTHONHASHSEED": seed}, check=True, capture_output=True, text=True
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert digests == {simulate(7).digest}


@pytest.mark.parametrize("bug", [bug for bug in BUGS if bug.alone], ids=lambda bug: bug.name)
def test_a_planted_bug_is_caught(bug):
    assert hunt(bug, seeds=(bug.seed, *range(BOUND)))


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: f"{pair.first.name}, and {pair.second.name}")
def test_a_planted_pair_is_caught_by_what_it_does(pair):
    assert hunt(pair.first, pair.second, seeds=(pair.seed, *range(BOUND)), shows=pair.shows)


def test_every_bug_is_planted_alone_or_in_a_pair():
    paired = {bug.name for pair in PAIRS for bug in (pair.first, pair.second)}
    assert {bug.name for bug in BUGS if not bug.alone} <= paired


def test_a_planted_bug_is_taken_out_again():
    before = [bug.owner.__dict__[bug.attribute] for bug in BUGS]
    report = hunt(BUGS[0], BUGS[2], seeds=(BUGS[0].seed, *range(BOUND)))
    assert report is not None
    assert [bug.owner.__dict__[bug.attribute] for bug in BUGS] == before
    assert not simulate(report.seed).violations


async def test_a_running_loop_is_not_disturbed():
    with pytest.raises(RuntimeError, match="has an event loop of its own"):
        simulate(0)


# ---- the tally ------------------------------------------------------------------------------------------------------


def test_a_tally_travels_as_text():
    counted = tally([CALM_EVERY])
    assert counted.runs == 2
    assert Tally.loads(counted.dumps()) == counted
    assert "process killed" in counted.table()


def test_tallies_add_up():
    one, two = tally([1]), tally([2])
    both = tally([1, 2])
    one.merge(two)
    assert one == both


def test_a_fault_that_never_hit_is_told():
    counted = Tally(runs=ENOUGH)
    assert set(FAULTS) <= set(counted.misses)
    assert "never hit: storage down" in counted.table()
    assert not Tally(runs=ENOUGH - 1).misses


def test_a_violation_is_told_with_its_seed():
    counted = Tally()
    report = hunt(BUGS[0], seeds=(BUGS[0].seed, *range(BOUND)))
    assert report is not None
    counted.add(report)
    assert f"seed {report.seed}: {report.violations[0]}" in counted.table()


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "zart.testing.simulation", *arguments], capture_output=True, text=True, check=False
    )


def test_seeds_are_shared_among_processes():
    result = run("--seeds", "3", "--first", "1", "--jobs", "2")
    assert result.returncode == 0, result.stderr
    assert "seeds with violations: 0" in result.stdout
    assert result.stdout == tally([1, 2, 3]).table() + "\n"


def test_one_seed_is_shown_with_its_events():
    result = run("--seed", "3", "--calm")
    assert result.returncode == 0, result.stderr
    report = simulate(3, calm=True)
    assert report.lines[-1] in result.stdout
    assert f"seed 3: {report.digest}" in result.stdout
