"""The pages say what the suite proves, and nothing else; the suite covers what it says it covers."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conformance.covered import nodes
from tests.conformance.families import OWN, PUBLIC
from tests.conformance.language import INAPPLICABLE, SCENARIOS
from tests.conformance.pages import CONFORMANCE, COVERAGE, FAILED, conformance, coverage, of_family
from tests.conformance.scenarios import COVERED

ROOT = Path(__file__).parents[2]
REQUIREMENTS = {1: 20, 2: 5, 3: 18, 4: 19, 5: 16, 6: 13, 7: 15, 8: 22, 9: 20, 10: 7}
"""How many the families of the public suite have, by their numbers."""
LATER = {"S29", "S52"}
"""Those that are later work as a whole."""


def test_the_page_of_what_conforms_is_that_of_the_scenarios() -> None:
    # Its verdicts are those of test_conformance: whatever fails there makes the page untrue.
    assert CONFORMANCE.read_text("utf-8") == conformance({}), "run `make conformance`"


def test_the_page_of_failure_scenarios_is_that_of_the_table() -> None:
    assert COVERAGE.read_text("utf-8") == coverage(), "run `make conformance`"


def test_a_failure_shows_on_the_page() -> None:
    page = conformance({("1-1", "SQLite"): FAILED})
    assert (
        "| 1-1 | a step succeeds at once | PASSED on memory; FAILED on SQLite; PASSED on PostgreSQL; PASSED on MariaDB |"
        in page
    )
    assert "1 FAILED" in page


@pytest.mark.parametrize(("number", "count"), list(REQUIREMENTS.items()))
def test_every_requirement_of_the_public_suite_has_a_line(number: int, count: int) -> None:
    known = {*SCENARIOS, *INAPPLICABLE}
    assert not {f"{number}-{each}" for each in range(1, count + 1)} - known


def test_the_families_are_those_of_the_public_suite_and_eleven_more() -> None:
    assert (len(PUBLIC), len(OWN)) == (len(REQUIREMENTS), 11)
    families = [module.FAMILY for module in (*PUBLIC, *OWN)]
    assert len(set(families)) == len(families)
    assert sum(len(of_family(family)) for family in families) == len(SCENARIOS) + len(INAPPLICABLE)


def test_every_failure_scenario_is_in_the_table() -> None:
    assert list(COVERED) == [f"S{number:02}" for number in range(1, 53)]
    without = {name for name, covered in COVERED.items() if not (covered.tests or covered.scenarios)}
    assert without == LATER
    assert all(COVERED[name].later for name in LATER)


def test_every_conformance_line_in_the_table_exists() -> None:
    named = {each for covered in COVERED.values() for each in covered.scenarios}
    assert not named - set(SCENARIOS)


@pytest.mark.timeout(120)  # five seconds alone, more beside other tests
def test_every_test_in_the_table_exists() -> None:
    named = {node for covered in COVERED.values() for name in covered.tests for node in nodes(name)}
    files = sorted({node.partition("::")[0] for node in named})
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *files]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    collected = {re.sub(r"\[.*", "", line) for line in done.stdout.splitlines() if "::" in line}
    assert done.returncode == 0, done.stdout[-2000:]
    assert not named - collected
