"""`make prove` calls proven only what was tried and held."""

import sys

import pytest

from tests.proof import __main__ as program
from tests.proof import parts as module
from tests.proof.parts import FAILED, OPEN, PROVEN, Part, parts


def said(text, code):
    return (sys.executable, "-c", f"print({text!r}); raise SystemExit({code})")


PARTS = {
    PROVEN: Part("good", "", said("all is well", 0)),
    FAILED: Part("bad", "", said("one thing is not", 1)),
    "invalid": Part("idle", "", said("nothing ever hit", 2), invalid=2),
    "make": Part("make", "", said("make: *** error 1", 2)),
    "missing": Part("tool", "", said("never", 0), {"no-such-program|nor-this": "install it"}),
    "unready": Part("net", "", said("never", 0), {}, said("no network", 1), "go online"),
}


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(program, "ROOT", tmp_path)


@pytest.mark.parametrize(
    ("part", "how", "text"),
    [
        (PROVEN, PROVEN, "all is well"),
        (FAILED, FAILED, "one thing is not (all of it: bad.txt)"),
        ("invalid", OPEN, "nothing ever hit"),
        ("make", FAILED, "make: *** error 1 (all of it: make.txt)"),
        ("missing", OPEN, "install it"),
        ("unready", OPEN, "go online"),
    ],
)
def test_a_part_is_proven_only_if_it_was_tried_and_held(tmp_path, part, how, text):
    verdict = PARTS[part].attempt(tmp_path)
    assert (verdict.how, verdict.said) == (how, text)


@pytest.mark.parametrize(
    ("names", "status"), [([PROVEN], 0), ([PROVEN, "missing"], 2), ([PROVEN, FAILED], 1), ([FAILED, "invalid"], 1)]
)
def test_the_exit_status_is_that_of_the_worst(capsys, names, status):
    assert program.prove([PARTS[each] for each in names]) == status
    _, lines, summary = capsys.readouterr().out.strip().split("\n\n")
    assert [line[12:].split()[0] for line in lines.splitlines()] == [PARTS[each].name for each in names]
    assert summary.startswith(f"{names.count(PROVEN)} of {len(names)} proven")


def test_a_part_sees_what_its_environment_has_beside_the_usual(tmp_path):
    asks = (sys.executable, "-c", "import os; print(os.environ['ZART_STORIES'], 'PATH' in os.environ)")
    assert Part("stories", "", asks, more={"ZART_STORIES": "7"}).attempt(tmp_path).said == "7 True"


def test_every_part_has_a_name_of_its_own_and_takes_what_is_asked():
    known = {part.name: part for part in parts(1.5, 20, 30, 4)}
    assert len(known) == len(parts(1.5, 20, 30, 4))
    assert known["chaos"].command[-1] == "1.5"
    assert "20" in known["simulation"].command
    assert known["differential"].more == {"ZART_STORIES": "30"}
    assert "4" in known["mutation"].command
