"""The two pages that are made of the suite: what conforms, and what covers each failure scenario."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType

from tests.conformance.backends import BACKENDS
from tests.conformance.families import OWN, PUBLIC
from tests.conformance.language import INAPPLICABLE, SCENARIOS, Inapplicable, Scenario
from tests.conformance.scenarios import COVERED

DOCS = Path(__file__).parents[2] / "docs"
CONFORMANCE = DOCS / "explain" / "conformance.md"
COVERAGE = DOCS / "reference" / "scenarios.md"

PASSED, FAILED = "PASSED", "FAILED"
Verdicts = Mapping[tuple[str, str], str]
"""What became of a scenario on a backend; what is not in it has passed."""

_HEAD = """\
# Conformance

Every line of this page was played by the real engine on {backends}. A line is a scenario: a handler, a story of
interruptions, and the history and the end that must come of it. Each is played undisturbed. Then it is played in a storm:
the worker dies before and after every save, and storage is told everything twice, as after a lost reply. The history must
be the same. Where a story is about one certain moment, nobody dies beside it, and storage is only told everything twice.

The first {public} families are those of AWS's public suite for durable execution, `aws-durable-execution-conformance-tests`
1.0.0, under its numbers and told anew in Zart's words. Where Zart has no operation of that name, the line is said with what
there is: a child is an async function, parallel is `gather`, a map is a loop, a callback is an event, a plugin is a
function around a function. NOT APPLICABLE stands where nothing of that sort can say it. Numbers past those of the suite are
Zart's own. The other {own} families are about what that suite lacks: faults.

```sh
make conformance
```

plays it all, and writes this page.

{count} scenarios: {totals}.
"""

_COVERAGE_HEAD = """\
# Failure scenarios

What goes wrong in systems like this one, as their public issue trackers tell, and the tests that prove what Zart makes of
it. Numbers such as A-1a are lines of [Conformance](../explain/conformance.md). *Later* is said of what is not built yet.

| | what happens | tests |
|---|---|---|
"""


def verdict(scenario: Scenario, backend: str, verdicts: Verdicts) -> str:
    """Return what the page says of a scenario on a backend."""
    if backend in scenario.not_on:
        return "NOT APPLICABLE"
    return verdicts.get((scenario.id, backend), PASSED)


def _said(scenario: Scenario, verdicts: Verdicts) -> str:
    """Return the cell of a scenario: one word if it is the same everywhere."""
    found = {backend: verdict(scenario, backend, verdicts) for backend in BACKENDS}
    if len(set(found.values())) == 1:
        return found.popitem()[1]
    told = [f"{said} on {backend}" for backend, said in found.items()]
    return "; ".join([*told, *scenario.not_on.values()])


def of_family(family: str) -> list[Scenario | Inapplicable]:
    """Return the lines of a family, in their order."""
    lines: list[Scenario | Inapplicable] = [each for each in SCENARIOS.values() if each.family == family]
    lines += [each for each in INAPPLICABLE.values() if each.family == family]
    return sorted(lines, key=lambda line: place(line.id))


def place(name: str) -> tuple[tuple[int, str], ...]:
    """Return where a line stands among the others."""
    parts = name.replace("-", ".").split(".")
    return tuple((int("".join(filter(str.isdigit, part)) or 0), "".join(c for c in part if not c.isdigit())) for part in parts)


def _families(modules: Sequence[ModuleType]) -> list[str]:
    return [module.FAMILY for module in modules]


def conformance(verdicts: Verdicts) -> str:
    """Return the page of what conforms."""
    counted = Counter(verdict(each, backend, verdicts) for each in SCENARIOS.values() for backend in BACKENDS)
    counted["NOT APPLICABLE"] += len(INAPPLICABLE) * len(BACKENDS)
    totals = ", ".join(f"{number:,} {said}" for said, number in sorted(counted.items(), reverse=True))
    *most, last = BACKENDS
    head = _HEAD.format(
        backends=f"{', '.join(most)} and {last}",
        public=len(PUBLIC),
        own=len(OWN),
        count=len(SCENARIOS) + len(INAPPLICABLE),
        totals=f"on {len(BACKENDS)} backends {totals}",
    )
    return head + "".join(_family_table(family, verdicts) for family in _families((*PUBLIC, *OWN)))


def _family_table(family: str, verdicts: Verdicts) -> str:
    rows = []
    for line in of_family(family):
        said = f"NOT APPLICABLE: {line.reason}" if isinstance(line, Inapplicable) else _said(line, verdicts)
        rows.append(f"| {line.id} | {_cell(line.title)} | {_cell(said)} |\n")
    title = family[0].upper() + family[1:]
    return f"\n## {title}\n\n| | | |\n|---|---|---|\n{''.join(rows)}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("__", "\\_\\_")


def coverage() -> str:
    """Return the page of what covers each failure scenario."""
    return _COVERAGE_HEAD + "".join(_coverage_rows())


def _coverage_rows() -> Iterator[str]:
    for name, covered in COVERED.items():
        parts = [_test(node) for node in covered.tests]
        if covered.scenarios:
            parts.append("conformance " + ", ".join(covered.scenarios))
        if covered.later:
            parts.append(f"*later*: {covered.later}")
        yield f"| {name} | {_cell(covered.what)} | {'<br>'.join(parts)} |\n"


def _test(node: str) -> str:
    path, *names = node.split("::")
    if path == "contract":
        return f"contract, on every backend: `{names[0]}`"
    return f"`{path.removeprefix('tests/')}` `{'::'.join(names)}`"
