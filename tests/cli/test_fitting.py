"""What `--app` finds wrong with an input before anything is started."""

from typing import Any, TypedDict

import pytest
from attrs import field, frozen
from pydantic import BaseModel, Field

from zart import TaskContext, TaskHandler
from zart.cli.errors import Exit, Refused
from zart.cli.fitting import check_input
from zart.registry import Task, task_of


@frozen
class Leg:
    to: str
    days: int = 1


@frozen
class Trip:
    who: str
    city: str
    nights: int = 2
    legs: list[Leg] = field(factory=list)


class Note(TypedDict, total=False):
    text: str
    pinned: bool


class Model(BaseModel):
    full_name: str = Field(alias="fullName", default="nobody")
    model_config = {"populate_by_name": True}


def task(declared: Any) -> Task:
    class Takes(TaskHandler[declared, None]):  # type: ignore[valid-type] # the point
        async def run(self, ctx: TaskContext, data: Any) -> None:
            raise NotImplementedError

    return task_of(Takes())


def refusal(declared: Any, value: Any, *, given: bool = True) -> str:
    with pytest.raises(Refused) as refused:
        check_input(task(declared), value, given=given)
    problem = refused.value.problem
    assert (problem.exit, problem.code) == (Exit.USAGE, "invalid_data")
    assert problem.hint
    return problem.message


@pytest.mark.parametrize(
    ("declared", "value"),
    [
        (Trip, {"who": "Ada", "city": "Rome"}),
        (Trip, {"who": "Ada", "city": "Rome", "nights": 2, "legs": [{"to": "Ostia", "days": 1}]}),
        (Trip | None, None),
        (dict[str, Any], {"whatever": {"is": "here"}}),
        (dict[str, Leg], {"whatever": {"to": "Ostia"}}),
        (Any, {"x": 1}),
        (None, None),
        (list[set[int]], [[3, 1, 2]]),
        (Note, {"text": "x"}),
        (Model, {"full_name": "Ada"}),
        (Model, {"fullName": "Ada"}),
        (Leg | int, {"to": "Ostia"}),
    ],
)
def test_what_fits_passes(declared: Any, value: Any) -> None:
    check_input(task(declared), value, given=True)


@pytest.mark.parametrize(
    ("declared", "value", "place", "meant"),
    [
        (Trip, {"who": "Ada", "city": "Rome", "nigths": 2}, "data.nigths", "nights"),
        (Trip, {"who": "Ada", "city": "Rome", "nigths": 7}, "data.nigths", "nights"),
        (Trip, {"who": "Ada", "city": "Rome", "legs": [{"to": "x"}, {"to": "y", "dayz": 1}]}, "data.legs[1].dayz", "days"),
        (dict[str, Leg], {"a": {"to": "x", "dayz": 1}}, "data.a.dayz", "days"),
        (Model, {"fullname": "Ada"}, "data.fullname", "fullName"),
    ],
)
def test_an_unknown_field_is_refused_with_the_one_that_was_meant(declared: Any, value: Any, place: str, meant: str) -> None:
    assert f"there is no field {place} (did you mean {meant!r}?)" in refusal(declared, value)


def test_a_field_like_no_other_is_refused_without_a_guess() -> None:
    message = refusal(Trip, {"who": "Ada", "city": "Rome", "zzz": 1})
    assert "there is no field data.zzz" in message
    assert "did you mean" not in message


def test_every_wrong_field_is_told() -> None:
    message = refusal(Trip, {"who": 1, "nights": "x", "nigths": 2})
    for part in ("data.who: expected str", "data.city is missing", "data.nights: expected int", "no field data.nigths"):
        assert part in message


def test_data_that_is_not_given_is_missing_and_the_hint_says_what_to_give() -> None:
    with pytest.raises(Refused) as refused:
        check_input(task(Trip), None, given=False)
    problem = refused.value.problem
    assert problem.message == "--data is missing: task 'Takes' takes a Trip"
    assert problem.hint.startswith("Trip has who (str), city (str), nights (int, may be left out)")
    assert "found None" in refusal(Trip, None)


def test_data_for_a_task_that_takes_none_is_refused() -> None:
    with pytest.raises(Refused) as refused:
        check_input(task(None), 5, given=True)
    assert refused.value.problem.hint == "leave --data out"
