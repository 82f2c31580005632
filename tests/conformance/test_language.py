"""A scenario can fail: what does not come to its history and its end is told."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from tests.conformance import families
from tests.conformance.backends import Ground, Place
from tests.conformance.history import Bindings, difference, length
from tests.conformance.ladder import LINES, OUTPUT, ladder
from tests.conformance.language import AtSave, Cancelled, Completed, Crash, CrashIn, Failed, Scenario, Sees, Waiting, family
from tests.conformance.line import Broken, Weather
from tests.conformance.player import Play
from zart import TaskContext

RIGHT = Scenario("0-1", "none", "a ladder", ladder, Completed(OUTPUT), expect=tuple(LINES))


@pytest.fixture
async def memory(tmp_path: Path) -> AsyncIterator[Ground]:
    ground = Ground("memory", Place(tmp_path, lambda name: None))
    await ground.open()
    yield ground
    await ground.close()


@pytest.mark.parametrize("weather", Weather)
async def test_what_is_right_passes(memory: Ground, weather: Weather) -> None:
    await Play(RIGHT, memory, weather).run()


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"expect": LINES[1:]}, "- sleep pause begins"),
        ({"expect": [*LINES, "step c = 3"]}, "- step c = 3"),
        ({"expect": [*LINES[:-1], "step b = 3"]}, r"\+ step b = 2"),
        ({"expect": [LINES[1], LINES[0], *LINES[2:]]}, "- sleep pause begins"),
        ({"end": Completed([1, 3])}, "output: expected"),
        ({"end": Completed((1, 2))}, "output: expected tuple"),
        ({"end": Failed("<*>")}, "status: expected failed"),
        ({"end": Cancelled()}, "status: expected cancelled"),
        ({"end": Waiting(("other",)), "expect": LINES[:2]}, "waits for: expected"),
        ({"effects": [1]}, "effects: expected"),
        ({"story": (Sees("completed"),)}, "status: expected completed"),
        ({"story": (AtSave(99, Crash()),)}, "never struck"),
        ({"story": (CrashIn("a", attempt=7),)}, "never struck"),
    ],
)
async def test_what_is_wrong_is_told(memory: Ground, wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(Broken, match=told):
        await Play(evolve(RIGHT, **wrong), memory, Weather.CALM).run()


async def forgets(ctx: TaskContext, data: None, play: Any) -> int:
    """Give something else each time that it is replayed."""
    play.note("again")
    await ctx.sleep("pause", "1h")
    return len(play.noted)


async def test_a_body_that_is_not_the_same_on_replay_is_found_in_a_storm(memory: Ground) -> None:
    lines = ("sleep pause begins, due in 1h", "sleep pause is over")
    scenario = Scenario("0-2", "none", "forgets", forgets, Completed(2), expect=lines)
    await Play(scenario, memory, Weather.CALM).run()
    with pytest.raises(Broken, match="output"):
        await Play(scenario, memory, Weather.STORM).run()


async def test_nothing_is_left_behind_by_what_failed(memory: Ground) -> None:
    with pytest.raises(Broken):
        await Play(evolve(RIGHT, story=(Sees("failed"),)), memory, Weather.CALM).run()
    await Play(RIGHT, memory, Weather.CALM).run()


def test_a_placeholder_stands_for_one_text() -> None:
    assert difference(["a <x> b", "<x>"], ["a 1 b", "1"]) is None
    assert difference(["a <x> b", "<x>"], ["a 1 b", "2"]) == "  a 1 b\n- <x>\n+ 2"
    assert difference(["<*> b", "<*>"], ["1 b", "2"]) is None
    assert not Bindings().matches("a.c", "abc")


def test_lines_may_come_in_another_order_or_be_missing_only_where_it_is_said() -> None:
    assert difference(["a", "b"], ["b", "a"]) is not None
    assert difference(["a", "b"], ["b", "a"], unordered=True) is None
    assert difference(["a", "b"], ["b", "b"], unordered=True) is not None
    assert difference(["a", "? b", "c"], ["a", "c"]) is not None
    assert difference(["a", "? b", "c"], ["a", "c"], strict=False) is None
    assert difference(["a", "? b", "c"], ["a", "b", "c"]) is None
    assert difference(["a"], ["a", "b"], strict=False) is not None


@pytest.mark.parametrize(("micros", "text"), [(0, "0s"), (1_500_000, "1500ms"), (7_200_000_000, "2h"), (1, "1us")])
def test_a_length_is_shown_whole(micros: int, text: str) -> None:
    assert length(micros) == text


def test_an_id_is_declared_once() -> None:
    assert families.PUBLIC  # by now declared
    scenario, inapplicable = family("step")
    with pytest.raises(ValueError, match="declared twice"):
        scenario("1-1", "again", end=Completed())(ladder)
    with pytest.raises(ValueError, match="declared twice"):
        inapplicable("1-1", "again", "no reason")
