"""Each checker of the long storms finds what it is for, and finds nothing in a history that is in order."""

import pytest
from attrs import evolve

from tests.chaos.checkers import CHECKERS, History, Interruption, Record, calls, excused
from tests.chaos.ledger import Line

WORDS = ["step:1", "news:2", "book:3", "news:4"]
VALUES = ["step:1 by 7, call 1", 0, "book:3 by 7, call 2", 1]
NAMES = ["step:1", "news", "book:3", "news#2"]


def line(what, step="", value=None, at=0.0, pid=7, execution_id="e"):
    return Line(pid, what, execution_id, step, value, at)


GOOD_LINES = [
    line("start?", value=WORDS, pid=1),
    line("start!", value=WORDS, pid=1),
    line("send?", value=0, pid=1),
    line("send!", value=0, pid=1),
    line("send?", value=1, pid=1),
    line("body", at=1.0),
    line("begin", "step:1", VALUES[0], 1.1),
    line("end", "step:1", VALUES[0], 1.2),
    line("saved", "step:1", VALUES[0], 1.3),
    line("begin", "book:3", VALUES[2], 1.4),
    line("end", "book:3", VALUES[2], 1.5),
    line("saved", "book:3", VALUES[2], 1.6),
    line("done", at=1.7),
    line("read", value=["completed", VALUES], pid=1, at=2.0),
]
GOOD_RECORD = Record("completed", VALUES, None, tuple(zip(NAMES, VALUES, strict=True)))
GOOD = History(GOOD_LINES, {"e": GOOD_RECORD}, [], [("e", "book:3", VALUES[2])])


def found(history):
    return {name for name, checker in CHECKERS.items() if list(checker(history))}


def worse(*more, bookings=GOOD.bookings, interruptions=(), without=None, **changed):
    lines = [each for each in GOOD_LINES if each.what != without]
    record = evolve(GOOD_RECORD, **changed)
    return History([*lines, *more], {"e": record}, list(interruptions), bookings)


STARTS, STEPS, CALLS, NEWS, RESULTS, ENDINGS, POISONS, BOOKS = CHECKERS
OTHER = "step:1 by 8, call 1"
BAD = {
    "lost": (STARTS, "is not there", History(GOOD_LINES, {})),
    "stuck": (STARTS, "still waiting", worse(status="waiting")),
    "two owners": (STEPS, "8 went on with", worse(line("saved", "step:1", OTHER, pid=8))),
    "out of the air": (STEPS, "no call returned", worse(without="end")),
    "saved twice": (STEPS, "saved twice", worse(steps=(*GOOD_RECORD.steps, ("step:1", VALUES[0])))),
    "called after it was saved": (CALLS, "after it was saved", worse(line("begin", "step:1", OTHER, 1.8, pid=8))),
    "news lost": (NEWS, "took the news [1]", worse(steps=(("step:1", VALUES[0]), ("news", 1), ("book:3", VALUES[2])))),
    "news out of nothing": (
        NEWS,
        "took 1 news that nobody sent",
        worse(steps=(*GOOD_RECORD.steps, ("news#3", 2))),
    ),
    "news twice": (NEWS, "took the news [0, 1, 1]", worse(steps=(*GOOD_RECORD.steps, ("news#3", 1)))),
    "out of order": (NEWS, "took the news [1, 0]", worse(steps=(("news", 1), ("news#2", 0)))),
    "another result": (RESULTS, "its result is [1]", worse(result=[1])),
    "read otherwise": (RESULTS, "7 read", worse(line("read", value=["failed", None]))),
    "completed though cancelled": (
        ENDINGS,
        "was acknowledged, and it is completed",
        worse(line("cancel?"), line("cancel!", value=True)),
    ),
    "cancelled by nobody": (ENDINGS, "nobody cancelled", worse(status="cancelled")),
    "both ends": (ENDINGS, "came to its end, and on_failure", worse(line("undoing"))),
    "failed for nothing": (ENDINGS, "is failed", worse(status="failed")),
    "row missing": (BOOKS, "booked 0 times", worse(bookings=[])),
    "row twice": (BOOKS, "booked 2 times", worse(bookings=GOOD.bookings * 2)),
}


def test_a_history_in_order_is_accepted():
    assert found(GOOD) == set()


@pytest.mark.parametrize("name", BAD)
def test_a_history_that_is_not_is_found_out(name):
    checker, words, history = BAD[name]
    assert any(words in each for each in CHECKERS[checker](history))


def again(kind, pid, step="step:1", since=2.0, until=2.5):
    lines = [line("body"), line("begin", step, "a", 1.0), line("begin", step, "b", 3.0, pid=8)]
    return list(calls(History(lines, {}, [Interruption(kind, since, until, pid)])))


@pytest.mark.parametrize(
    ("case", "wrong"),
    [
        ({"kind": "killed", "pid": 7}, False),
        ({"kind": "declared dead", "pid": 8}, False),
        ({"kind": "killed", "pid": 9}, True),
        ({"kind": "killed", "pid": 7, "since": 0.1, "until": 0.2}, True),
        ({"kind": "killed", "pid": 7, "since": 3.5, "until": 3.6}, True),
        ({"kind": "connections reset", "pid": None}, True),
        ({"kind": "connections reset", "pid": None, "step": "book:1"}, False),
        ({"kind": "server crash", "pid": None}, True),
        ({"kind": "server crash", "pid": None, "step": "book:1"}, False),
    ],
)
def test_a_second_call_needs_an_excuse_of_its_own_caller_and_time(case, wrong):
    assert bool(again(**case)) is wrong


def test_a_call_after_a_failure_needs_none():
    first, second = line("begin", "flaky:1", "a", 1.0), line("begin", "flaky:1", "b", 2.0)
    assert not excused(GOOD, first, second)
    assert not list(calls(History([first, line("fail", "flaky:1", "a", 1.5), second], {})))
    assert list(calls(History([first, second], {})))


def test_a_transaction_whose_failure_is_saved_may_be_called_again():
    lines = [line("begin", "book:1", "a", 1.0), line("begin", "book:1", "b", 2.0)]
    assert list(calls(History(lines, {"e": Record("completed", [], None, ())})))
    assert not list(calls(History(lines, {"e": Record("completed", [], None, (), frozenset({"book:1"}))})))


@pytest.mark.parametrize(("pids", "wrong"), [(range(10, 15), False), (range(10, 14), True)])
def test_an_innocent_may_be_given_up_only_if_the_storm_has_taken_so_many_of_its_workers(pids, wrong):
    lines = [line("start?", value=["step:1"]), *(line("body", pid=pid) for pid in range(10, 15))]
    lines += [line("undoing", value="5 workers died"), line("undone")]
    faults = [Interruption("death", 0.0, 0.0, pid) for pid in pids]
    history = History(lines, {"e": Record("completed", [None], None, ())}, faults)
    assert (ENDINGS in found(history)) is wrong


@pytest.mark.parametrize(
    ("deaths", "faults", "wrong"),
    [
        (5, [], False),
        (6, [], True),
        (6, [Interruption("server crash", 2.5, 3.5)], True),
        (6, [Interruption("death", -1.0, -1.0, 3), Interruption("death", -1.0, -1.0, 4)], False),
        (6, [Interruption("death", -1.0, -1.0, 3)], True),
    ],
)
def test_poison_may_kill_so_many_and_no_more(deaths, faults, wrong):
    words = ["poison:1"]
    lines = [line("start?", value=words), *(line("died", "poison:1", at=float(each), pid=10 + each) for each in range(deaths))]
    # One of the workers that it killed also held what had lost two others before.
    lines += [line("body", at=-2.0, pid=pid, execution_id="suspect") for pid in (3, 4)]
    lines += [line("body", at=0.0, pid=13, execution_id="suspect"), line("undoing", value="5 workers died"), line("undone")]
    history = History(lines, {"e": Record("completed", [None], None, ())}, faults)
    assert (POISONS in found(history)) is wrong


@pytest.mark.parametrize(("heard", "undone"), [("bad luck", True), ("5 workers died", False)])
def test_poison_is_given_up_for_its_reason_and_made_good(heard, undone):
    lines = [line("start?", value=["poison:1"]), line("undoing", value=heard), *[line("undone")] * undone]
    assert POISONS in found(History(lines, {"e": Record("completed", [None], None, ())}))
