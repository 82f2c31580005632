"""What a run's history says about its past, record by record."""

from collections.abc import Sequence
from typing import Any

import pytest
from attrs import evolve

from zart.errors import DeserializationError
from zart.records import Claim, Mail, StepRecord, Token
from zart.replay import Replay, abandoned, abandoned_in, body_payload, body_record
from zart.status import Phase, StepKind

MAIL = tuple(Mail(seq, "paid", f'"{seq}"', 0) for seq in (1, 2, 3))


def past(*records: StepRecord, mail: Sequence[Mail] = MAIL, damage: str | None = None) -> Replay:
    """Return the past of a claim with these records, numbered from 1."""
    steps = [evolve(record, seq=seq) for seq, record in enumerate(records, 1)]
    token = Token("x", 1, 1, 1)
    return Replay(Claim(token, "task", "default", "null", 0, 0, (), 0, None, steps, mail, len(mail), 0, damage))


def opened(name: str, kind: StepKind = StepKind.EVENT) -> StepRecord:
    return StepRecord(0, name, kind, Phase.OPENED)


def attempt(name: str, attempts: int = 1) -> StepRecord:
    return StepRecord(0, name, StepKind.STEP, Phase.ATTEMPT, ok=False, attempts=attempts)


def outcome(name: str, kind: StepKind = StepKind.STEP, mail: int | None = None) -> StepRecord:
    return StepRecord(0, name, kind, Phase.OUTCOME, mail=mail)


def body(**told: Any) -> StepRecord:
    return StepRecord(0, "", StepKind.BODY, Phase.ATTEMPT, ok=False, payload=body_payload(**told))


def failure() -> StepRecord:
    return StepRecord(0, "", StepKind.BODY, Phase.OUTCOME, ok=False, payload="{}")


def turns(replay: Replay) -> list[str]:
    return [record.name for record in replay.turns]


def test_a_claim_without_a_past_begins_at_1() -> None:
    replay = past()
    assert (replay.next_seq, replay.failure, replay.setbacks, replay.damage) == (1, None, 0, None)
    assert not replay.turns
    assert replay.mailbox.seen == 3
    replay.check()


def test_outcomes_are_turns_in_the_order_of_their_places() -> None:
    replay = past(outcome("b"), opened("wait"), outcome("a"), attempt("c"))
    assert turns(replay) == ["b", "a"]
    assert replay.next_seq == 5
    assert list(replay.opened) == ["wait"]
    assert list(replay.attempts) == ["c"]


def test_the_last_attempt_counts() -> None:
    assert past(attempt("c", 1), attempt("c", 2)).attempts["c"].attempts == 2


def test_only_waits_must_be_asked_for_again() -> None:
    replay = past(opened("s", StepKind.STEP), opened("e"), opened("t", StepKind.SLEEP))
    assert [record.name for record in replay.open_waits()] == ["e", "t"]


def test_a_letter_that_did_not_decode_is_nobodys_and_no_attempt() -> None:
    replay = past(evolve(attempt("e"), kind=StepKind.EVENT, mail=1))
    assert not replay.attempts
    assert replay.mailbox.oldest("paid") == MAIL[1]


def test_what_a_failed_attempt_of_the_body_reopens_begins_afresh() -> None:
    replay = past(opened("a"), attempt("a"), outcome("a"), opened("b"), outcome("b"), body(failure="x", reopened=[3]))
    assert turns(replay) == ["b"]
    assert list(replay.opened) == ["b"]
    assert not replay.attempts
    twice = past(outcome("a"), body(reopened=[1]), outcome("a"), body(reopened=[3]), outcome("a"))
    assert [record.seq for record in twice.turns] == [5]


def test_what_is_reopened_and_was_never_opened_does_no_harm() -> None:
    assert turns(past(outcome("a"), outcome("b"), body(reopened=[1]))) == ["b"]


# ---- on_failure -------------------------------------------------------------------------------------------------------


def test_once_a_failure_is_saved_only_what_came_after_it_is_replayed() -> None:
    replay = past(opened("w"), attempt("s"), outcome("a"), failure(), outcome("undo"))
    assert replay.failure is not None
    assert replay.failure.seq == 4
    assert turns(replay) == ["undo"]
    assert not replay.opened
    assert not replay.attempts


def test_letters_that_the_body_took_stay_taken() -> None:
    replay = past(outcome("a", StepKind.EVENT, mail=1), outcome("b"), failure())
    assert replay.mailbox.oldest("paid") == MAIL[1]


def test_letters_that_were_handed_to_nobody_are_back() -> None:
    taken = (outcome("a", StepKind.EVENT, mail=1), outcome("b", StepKind.EVENT, mail=2))
    replay = past(*taken, body(returned=[1]), failure())
    assert replay.mailbox.oldest("paid") == MAIL[0]
    replay.mailbox.take(1)
    assert replay.mailbox.oldest("paid") == MAIL[2]


def test_without_a_failure_letters_are_taken_when_their_turn_comes() -> None:
    assert past(outcome("a", StepKind.EVENT, mail=1)).mailbox.oldest("paid") == MAIL[0]


def test_what_the_body_reopened_is_no_matter_of_on_failures() -> None:
    # The numbers are of one row for both chapters, but a reopened outcome of the first is not one of the second.
    replay = past(outcome("a"), body(reopened=[4]), failure(), outcome("undo"))
    assert turns(replay) == ["undo"]


# ---- setbacks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("records", "setbacks"),
    [
        ((), 0),
        ((body(setback="x"),), 1),
        ((body(setback="x"), body(setback="y")), 2),
        ((body(setback="x"), body(setback="y"), body(setback="z")), 3),
        ((body(setback="x"), outcome("a")), 0),
        ((body(setback="x"), outcome("a"), body(setback="y")), 1),
        ((body(setback="x"), body(failure="f", reopened=[])), 0),
        ((body(setback="x"), failure()), 0),
        ((body(setback="x"), abandoned("a", 0)), 0),
    ],
)
def test_setbacks_count_in_a_row(records: tuple[StepRecord, ...], setbacks: int) -> None:
    assert past(*records).setbacks == setbacks


# ---- what nobody waits for any more -------------------------------------------------------------------------------------


def test_what_was_abandoned_is_known_until_it_is_opened_again() -> None:
    assert past(opened("a"), opened("b"), abandoned("a", 7)).abandoned == {"a"}
    replay = past(opened("a"), abandoned("a", 7), opened("a"))
    assert replay.abandoned == set()
    assert list(replay.opened) == ["a"]


def test_what_the_body_abandoned_belongs_to_its_chapter() -> None:
    assert past(opened("a"), abandoned("a", 7), failure()).abandoned == set()


def test_a_record_of_what_is_abandoned_says_when_and_what() -> None:
    record = abandoned("a", 7)
    assert (record.at, record.kind, record.phase, record.ok) == (7, StepKind.BODY, Phase.ATTEMPT, False)
    assert (record.seq, record.name) == (0, "")  # its place is given when it is saved
    assert abandoned_in(record) == "a"
    assert abandoned_in(body(setback="x")) is None
    assert abandoned_in(failure()) is None


# ---- what cannot be read ------------------------------------------------------------------------------------------------


OF_NO_SHAPE = [
    '{"reopened": 5}',
    '{"reopened": [[1]]}',
    '{"reopened": [true]}',
    '{"reopened": null, "failure": "x"}',
    '{"returned": "1"}',
    '{"returned": [1, "2"]}',
    '{"abandoned": 5}',
    '{"abandoned": ["a"]}',
    '{"failure": {}, "reopened": []}',
    '{"setback": null}',
]


@pytest.mark.parametrize("payload", ["{", "[1]", '"text"', *OF_NO_SHAPE])
def test_a_record_of_the_bodys_that_cannot_be_read_is_damage(payload: str) -> None:
    broken = evolve(body(), payload=payload)
    replay = past(outcome("a"), broken, outcome("b"))
    assert turns(replay) == ["a", "b"]
    with pytest.raises(DeserializationError, match="record 2"):
        replay.check()


def test_what_a_step_failed_with_is_not_read_here() -> None:
    assert past(evolve(attempt("c"), payload="[1]")).damage is None


def test_what_storage_cannot_read_is_damage() -> None:
    with pytest.raises(DeserializationError, match="cannot be read: a letter"):
        past(damage="a letter").check()


def test_a_record_of_the_bodys_may_tell_nothing() -> None:
    assert body_record(evolve(body(), payload=None)) == {}
    assert body_record(body(setback="x")) == {"setback": "x"}
    assert past(evolve(body(), payload=None)).damage is None


def test_what_a_newer_version_tells_besides_is_left_alone() -> None:
    told = {"failure": "x", "reopened": [1, 2], "returned": [], "mood": {"good": [5]}}
    assert body_record(body(**told)) == told
