"""The model of the protocol and its runner name the same mutants; searching is `make model`'s business."""

import re

from models.__main__ import HARM, MODEL, MUTANTS, WORLDS, in_words

SIZES = {"WORKERS", "EXECUTIONS", "TROUBLE", "TIMED_ONE", "SLOW_BEATS", "LIVENESS", "PASSIVE"}


def test_every_mutant_of_the_model_is_tried() -> None:
    text = MODEL.read_text("utf-8")
    switches = set(re.findall(r"#ifn?def (\w+)", text)) | set(re.findall(r"!?defined\((\w+)\)", text))
    assert switches - SIZES == {mutant.name for mutant in MUTANTS}


def test_every_mutant_stands_on_the_page() -> None:
    page = (MODEL.parents[1] / "docs/explain/model.md").read_text("utf-8")
    assert set(re.findall(r"^\| `([A-Z_]+)` \|", page, re.MULTILINE)) == {mutant.name for mutant in MUTANTS}


def test_every_mutant_is_looked_for_in_a_world_that_holds_without_it() -> None:
    assert {world for mutant in MUTANTS for world in mutant.worlds} <= set(WORLDS)


def test_a_counterexample_is_told_in_words() -> None:
    assert in_words("assertion violated (owner[e]==255)") == HARM["owner[e]==255"]
    assert in_words("acceptance cycle") == "an execution never ends"
    assert in_words("something else") == "something else"
