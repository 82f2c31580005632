"""Which shard an id belongs to never changes, and how a claim is parted."""

from collections import Counter

import pytest

from zart import InMemoryScheduler, ShardedScheduler
from zart.clock import SECOND
from zart.records import Demand
from zart.schedulers.sharded.buckets import BUCKETS, Map, bucket_of
from zart.schedulers.sharded.claims import allot

# Written down when the first executions were stored by them: whoever changes one loses executions.
KNOWN = {"a": 559, "order-7": 753, "pipeline-001": 722, "🦊": 519, "x" * 255: 386}


def test_an_id_has_the_same_bucket_for_ever():
    assert {each: bucket_of(each) for each in KNOWN} == KNOWN


def test_ids_are_spread_evenly():
    counts = Counter(Map.even(3).shard_of(f"order-{number}") for number in range(30_000))
    assert all(9_500 < number < 10_500 for number in counts.values())


def test_every_shard_has_as_many_buckets_as_the_others_or_one_more():
    assert sorted(Counter(Map.even(3).buckets).values()) == [341, 341, 342]


def test_buckets_can_be_given():
    first, second = InMemoryScheduler(), InMemoryScheduler()
    scheduler = ShardedScheduler([first, second], buckets=[int(bucket == bucket_of("a")) for bucket in range(BUCKETS)])
    assert scheduler.shard_of("a") is second
    assert scheduler.shard_of("order-7") is first


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda one: ShardedScheduler([]), "give 1 to 1024 shards, not 0"),
        (lambda one: ShardedScheduler([one, one]), "given twice"),
        (lambda one: ShardedScheduler([one], buckets=[0] * 3), "for each of 1024 buckets, not for 3"),
        (lambda one: ShardedScheduler([one], buckets=[1] * BUCKETS), "names shard 1, but there are shards 0 to 0"),
        (lambda one: ShardedScheduler([one], prefer=1), "prefer must be a shard from 0 to 0, not 1"),
    ],
)
def test_what_makes_no_sense_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make(InMemoryScheduler())


def test_a_storage_that_cannot_be_a_shard_is_refused():
    with pytest.raises(TypeError, match=r"shard 0, 'sqlite:///zart\.db', cannot be a shard"):
        ShardedScheduler(["sqlite:///zart.db"])


def demand(limit, suspects=1):
    return Demand("w", ("default",), {"t": None}, limit, suspects)


def parts(limit, fronts, first="a", suspects=1):
    asked = allot(demand(limit, suspects), fronts, first)
    return {shard: (each.limit, each.suspects) for shard, each in asked.items()}


def front(*seconds, suspect=False):
    return [(second * SECOND, suspect) for second in seconds]


def test_those_due_longest_come_first_wherever_they_are():
    assert parts(3, {"a": front(3, 5), "b": front(1, 2, 4), "c": front(9)}) == {"a": (1, 0), "b": (2, 0)}


def test_among_what_is_due_for_equally_long_the_first_shard_comes_first():
    fronts = {shard: [(SECOND + number, False) for number in range(10)] for shard in "abc"}
    assert parts(8, fronts, "b") == {"b": (8, 0)}
    assert parts(12, fronts, "c") == {"a": (1, 0), "b": (1, 0), "c": (10, 0)}


def test_no_more_suspects_are_asked_for_than_may_be():
    fronts = {"a": front(1, suspect=True), "b": front(2, suspect=True), "c": front(3)}
    assert parts(10, fronts) == {"a": (1, 1), "c": (1, 0)}
    assert parts(10, fronts, suspects=2) == {"a": (1, 1), "b": (1, 1), "c": (1, 0)}
    assert parts(10, {"a": front(1, suspect=True)}, suspects=0) == {}


def test_where_nothing_is_due_everybody_is_asked_for_a_part():
    assert parts(7, {"a": [], "b": [], "c": []}) == {"a": (3, 1), "b": (2, 0), "c": (2, 0)}
