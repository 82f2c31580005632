"""Errors by name: of users' errors the type is told, and Zart's own say a sentence that needs none."""

import pytest

from zart.errors import (
    BodyFailure,
    ExecutionFailed,
    MaxRetriesExhausted,
    NonRetryable,
    RetryExhausted,
    StepFailed,
    TaskTimeout,
    ZartError,
)


class CardDeclined(Exception):
    pass


class Mine(ZartError):
    pass


class Mute(Exception):
    def __str__(self) -> str:
        raise SystemExit


TOLD = [
    (KeyError("nokey"), "KeyError: 'nokey'"),
    (ValueError(), "ValueError"),
    (CardDeclined("o3"), f"{__name__}.CardDeclined: o3"),
    (Mine("broken"), f"{__name__}.Mine: broken"),
    (Mute(), f"{__name__}.Mute: Mute, whose text cannot be had"),
    (NonRetryable("no card"), "NonRetryable: no card"),
    (StepFailed("s", "ValueError", "m"), "step 's' failed: ValueError: m"),
    (TaskTimeout(), "the execution's deadline passed"),
]


@pytest.mark.parametrize(("error", "told"), TOLD, ids=lambda each: type(each).__name__)
def test_an_error_inside_another_is_told_with_its_type_unless_it_says_a_sentence(error: BaseException, told: str) -> None:
    failed = ExecutionFailed(BodyFailure("", "", cause=error), "x")
    assert str(failed) == f"execution 'x' failed: {told}"
    assert failed.__cause__ is error
    assert str(MaxRetriesExhausted(2, error)) == f"failed 2 times, the last time with: {told}"
    assert str(RetryExhausted("s", 2, error)) == f"step 's' failed 2 times, the last time with: {told}"


def test_a_failure_whose_error_is_not_at_hand_tells_its_type_once() -> None:
    failed = ExecutionFailed(BodyFailure("orders.CardDeclined", "o3"), "x")
    assert str(failed) == "execution 'x' failed: orders.CardDeclined: o3"
    assert str(failed.__cause__) == "orders.CardDeclined: o3"
    assert str(MaxRetriesExhausted(2)) == "failed 2 times"
