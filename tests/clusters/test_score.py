"""The count finds what it is there to find."""

import pytest

from tests.chaos.ledger import Line
from tests.clusters.score import Score, Stored

STEP, BOOK = ("e", "step"), ("e", "book")
SAVED = [Line(1, "begin", *STEP), Line(1, "saved", *STEP, "a"), Line(1, "begin", *BOOK), Line(1, "saved", *BOOK, "b")]


def counted(lines=SAVED, *, ended="completed", steps=("a",), events=("news",), bookings=("b",), hits=1, books=("b",)) -> Score:
    score = Score("one", ("fault",))
    score.hits["fault"] = hits
    rows = [(*BOOK, value) for value in bookings]
    stored = Stored({"e": ended}, {STEP: list(steps), BOOK: list(books)}, {("e", "go"): list(events)}, rows)
    score.count(["e"], [(("e", "go"), "news")], lines, stored)
    return score


def test_all_is_well():
    score = counted()
    assert (score.acknowledged, score.lost, score.doubled) == (4, [], [])
    assert score.is_good


@pytest.mark.parametrize(
    "found",
    [
        {"ended": "running"},
        {"steps": []},
        {"steps": ["c"]},
        {"events": []},
        {"bookings": []},
        {"lines": [*SAVED, Line(2, "saved", *STEP, "c")]},
    ],
)
def test_what_was_acknowledged_and_is_not_found_is_lost(found):
    score = counted(**found)
    assert len(score.lost) == 1
    assert not score.is_good


@pytest.mark.parametrize(
    "found",
    [
        {"steps": ["a", "a"]},
        {"events": ["news", "news"]},
        {"bookings": ["b", "b"]},
        {"bookings": ["b", "c"]},
        {"lines": [*SAVED, Line(2, "begin", *STEP)]},
    ],
)
def test_what_is_there_twice_or_was_done_again_is_doubled(found):
    score = counted(**found)
    assert (len(score.lost), len(score.doubled)) == (0, 1)
    assert not score.is_good


def test_a_row_of_a_step_that_nobody_saved_is_doubled():
    assert counted(SAVED[:2], books=(), bookings=("b",)).doubled


def test_a_fault_that_never_hit_and_a_count_of_nothing_prove_nothing():
    assert counted(hits=0).missed == ["fault"]
    assert not counted(hits=0).is_good
    empty = Score("none", ())
    empty.count([], [], [], Stored({}, {}, {}, []))
    assert not empty.is_good
