"""What SECURITY.md and the page of guarantees name is there: every line, and a test or a target behind each."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SECURITY = ROOT / "SECURITY.md"
GUARANTEES = ROOT / "docs" / "explain" / "guarantees.md"

LINES = ["D1", "D2", "D3", "D4", "D5", "Q1", "Q2", "Q3", "Q4", "Q5", "Q6", "Q7", "L4", "P1", "P2", "P3", "P4", "P5", "P6"]
LATER = {"D5"}
NAMED = re.compile(r"(?P<path>tests/[\w/]+\.py)::(?P<name>\w+)")


def names(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    return {node.name for node in ast.walk(tree) if isinstance(node, kinds) and node.name.lower().startswith("test")}


def absent(text: str) -> list[str]:
    """Return the tests and targets that a text names and that do not exist."""
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    missing = [
        found.group()
        for found in NAMED.finditer(text)
        if not (ROOT / found["path"]).exists() or found["name"] not in names(ROOT / found["path"])
    ]
    missing += [path for path in re.findall(r"tests/[\w/.]+", text) if not (ROOT / path).exists()]
    return missing + [target for target in re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE) if target not in targets]


def rows() -> dict[str, str]:
    found = re.findall(r"^\| ([A-Z]\d) \| [^|]+ \| ([^|]+) \|$", SECURITY.read_text(), re.MULTILINE)
    assert len(found) == len(dict(found))
    return dict(found)


def test_every_line_has_its_checks():
    assert list(rows()) == LINES
    for line, checks in rows().items():
        assert bool(NAMED.search(checks)) is (line not in LATER), line


@pytest.mark.parametrize("page", [SECURITY, GUARANTEES], ids=lambda page: page.name)
def test_everything_that_is_named_exists(page):
    assert absent(page.read_text()) == []


def test_the_checker_misses_nothing():
    assert absent("`tests/security/test_pages.py::test_of_nothing`")
    assert absent("`tests/security/test_nothing.py::test_of_nothing`")
    assert absent("make nothing")


def test_links_of_the_page_lead_somewhere():
    for target in re.findall(r"\]\(([^)#:]+)\)", SECURITY.read_text()):
        assert (ROOT / target).exists(), target


def selected(arguments: str) -> dict[str, int]:
    """Return how many tests each word of a `-k` finds."""
    paths, _, wanted = arguments.partition(" -k ")
    folders = [ROOT / path for path in paths.split()]
    if ROOT / "tests" / "contract" in folders:
        folders.append(ROOT / "zart" / "testing" / "contract")  # whose tests the classes there inherit
    files = [file for folder in folders for file in ([folder] if folder.is_file() else sorted(folder.rglob("*.py")))]
    known = [name for file in files for name in names(file)]
    words = wanted.strip("'").split(" or ") if wanted else [""]
    return {word: sum(word in name for name in known) for word in words}


def test_every_command_finds_what_it_looks_for():
    commands = re.findall(r'^make test ARGS="(.+)"$', GUARANTEES.read_text(), re.MULTILINE)
    assert len(commands) == 14
    for command in commands:
        assert all(selected(command).values()), (command, selected(command))
    assert selected("tests/security -k 'of_nothing_at_all or every_promise'") == {"of_nothing_at_all": 0, "every_promise": 1}


def test_every_promise_is_stated_limited_and_attacked():
    text = GUARANTEES.read_text()
    promises = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    numbered = [each for each in promises if re.match(r"G\d+\. ", each)]
    assert [int(each[1:].partition(".")[0]) for each in numbered] == list(range(1, 15))
    for each in numbered:
        title, _, rest = each.partition("\n")
        assert re.search(r"^\*\*Not promised:\*\* \S", rest, re.MULTILINE), title
        command = re.search(r"^```sh\n(.+)```$", rest, re.MULTILINE | re.DOTALL)
        assert command, title
        assert all(line.startswith("make ") for line in command[1].splitlines()), title
