"""What is made of the figures: ratios within a round, medians over rounds, marks held or missed, charts."""

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from benchmarks import chart
from benchmarks.bars import BARS, PG, Bar, judged
from benchmarks.plan import PEERS, plan
from benchmarks.report import LINES, machine, medians, write_page
from benchmarks.sizes import QUICK, Sizes

FASTER = Bar("faster", (PG, "W1.rate"), [("one", "W1.rate"), ("two", "W1.rate")], 4, 10)
SOONER = Bar("sooner", (PG, "W2.p50"), [("one", "W2.p50"), ("two", "W2.p50")], 0.5, 0.25, at_most=True)


def a_round(
    ours: float, one: float | None = None, two: float | None = None, key: str = "W1.rate"
) -> dict[str, dict[str, float]]:
    given = {PG: ours, "one": one, "two": two}
    return {subject: {key: figure} for subject, figure in given.items() if figure is not None}


def test_a_ratio_is_to_the_fastest_of_the_others() -> None:
    assert FASTER.measured([a_round(100, 10, 25)]) == 4


def test_a_ratio_of_times_is_to_the_shortest_of_the_others() -> None:
    assert SOONER.measured([a_round(2, 10, 5, "W2.p50")]) == 0.4


def test_ratios_are_taken_within_rounds_before_the_median() -> None:
    # Of the medians it would be 100 / 20.
    rounds = [a_round(100, 10), a_round(100, 20), a_round(300, 100)]
    assert FASTER.measured(rounds) == 5
    assert FASTER.measured([a_round(100, 10), a_round(1000, 20), a_round(10, 100)]) == 10


def test_rounds_without_the_others_do_not_count_and_without_any_there_is_no_ratio() -> None:
    assert FASTER.measured([a_round(100, 10), a_round(50)]) == 10
    assert FASTER.measured([a_round(50)]) is None
    assert FASTER.measured([{"one": {"W1.rate": 1.0}}]) is None


def test_a_figure_without_others_is_taken_as_it_is() -> None:
    assert Bar("own", (PG, "W1.rate"), [], 1, 2).measured([a_round(3), a_round(5), a_round(4)]) == 4


@pytest.mark.parametrize(
    ("bar", "value", "held"), [(FASTER, 4.0, True), (FASTER, 3.9, False), (SOONER, 0.5, True), (SOONER, 0.51, False)]
)
def test_a_mark_is_held_when_it_is_reached(bar: Bar, value: float, held: bool) -> None:
    assert bar.holds(value, bar.must) is held


def test_every_goal_is_at_least_as_high_as_what_must_be() -> None:
    assert all(bar.holds(bar.goal, bar.must) for bar in BARS)


def test_every_bar_and_line_is_about_something_that_is_measured() -> None:
    measured = {(each.name, each.workload) for each in plan(Sizes())}
    asked = [bar.ours for bar in BARS] + [each for bar in BARS for each in bar.theirs]
    assert {(subject, key.rpartition(".")[0]) for subject, key in asked} <= measured
    assert {line.key.rpartition(".")[0] for line in LINES} == {workload for _, workload in measured}


def test_all_peers_are_measured_and_only_peers_need_their_environment() -> None:
    assert {each.subject for each in plan(QUICK) if each.is_peer} == set(PEERS)


def test_medians_are_of_the_rounds_that_have_the_figure() -> None:
    assert medians([a_round(1, 5), a_round(9), a_round(2, 7)]) == {PG: {"W1.rate": 2}, "one": {"W1.rate": 6}}


def test_the_page_says_which_marks_are_missed(tmp_path: Path) -> None:
    files = write_page([{PG: {"W5.growth": 1.1, "kill.replay": 40.0}}], "a machine", tmp_path / "measured.md")
    assert files == [tmp_path / "measured.md"]
    text = files[0].read_text("utf-8")
    assert "| W5 last tenth vs first | 1.1 | ≤ 1.2 ×, held | ≤ 1.05 ×, **missed** |" in text  # noqa: RUF001 # as people read it
    assert "≤ 30 ms, **missed** | ≤ 10 ms, **missed**" in text
    assert "a machine" in text
    assert [bar.title for bar, _ in judged([{PG: {"W5.growth": 1.1}}])] == ["W5 last tenth vs first"]


@pytest.mark.parametrize(("load", "says"), [(0.2, "nothing else ran"), (3.0, "load average 3.0")])
def test_it_is_said_when_other_programs_ran(load: float, says: str) -> None:
    assert says in machine(fast=False, server=None, load=load)


def widths(drawing: str) -> list[float]:
    rectangles = ET.fromstring(drawing).iter("{http://www.w3.org/2000/svg}rect")
    return [float(each.attrib["width"]) for each in rectangles if not each.attrib["width"].endswith("%")]


def test_bars_grow_with_their_logarithm_and_labels_are_escaped() -> None:
    values = [chart.Value(f"<{number}>", number, f"{number:g}") for number in (10.0, 100.0, 1000.0)]
    drawing = chart.bars("a & b", values)
    first, second, third = widths(drawing)
    assert second - first == pytest.approx(third - second, abs=0.2)
    assert first > 0
    assert "&lt;10.0&gt;" in drawing


def test_parts_stand_side_by_side_and_their_sum_is_said() -> None:
    drawing = chart.parts("time", "µs", ("one", "other"), [("a", [1.0, 3.0]), ("b", [2.0])])
    one, three, two, *_ = widths(drawing)
    assert (three / one, two / one) == (pytest.approx(3, abs=0.01), pytest.approx(2, abs=0.01))
    assert "4.0 µs" in drawing
