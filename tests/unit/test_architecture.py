"""What no linter checks: the size and names of modules, what committed files must not say, that requirements are declared."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from configparser import ConfigParser
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "zart").rglob("*.py"))

LONGEST_MODULE = 400
EMPTY_WORDS = {"base", "common", "helper", "helpers", "manager", "managers", "util", "utils"}

# Written so that they do not find themselves.
HOSTS = re.compile(r"pypi[.](org|python)|python(hosted)|registry[.](npmjs|yarnpkg)|deb[.]debian|proxy[.]golang", re.IGNORECASE)
MACHINE_PATHS = re.compile(r"(?<![\w.~$}*])/(root|home|Users|work|opt|mnt)/[\w.]")
UNFINISHED = re.compile(r"\b(TO[D]O|FIX[M]E|XX[X])\b")

ALLOWED: dict[tuple[str, str], str] = {}
"""(file, text found) -> why it may stand there."""


def place(path: Path) -> str:
    """Return a path as it is written in messages."""
    return path.relative_to(ROOT).as_posix()


def committed() -> Iterator[tuple[str, str]]:
    """Yield path and text of each file that is or would be committed; what is no text is left out."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        if path.is_file():  # one that was deleted is still listed
            try:
                yield name, path.read_text("utf-8")
            except UnicodeDecodeError:
                continue


def findings(pattern: re.Pattern[str]) -> list[str]:
    """Return every place in the committed files where the pattern is found and not allowed."""
    return [
        f"{name}:{text.count(chr(10), 0, match.start()) + 1}: {match.group()}"
        for name, text in committed()
        for match in pattern.finditer(text)
        if (name, match.group()) not in ALLOWED
    ]


def names(path: Path) -> Iterator[str]:
    """Yield the names that a module makes: its own, and those of its classes and functions."""
    yield path.parent.name if path.stem == "__init__" else path.stem
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name


def words(name: str) -> set[str]:
    """Return the words of a name in snake_case or CamelCase, in lower case."""
    return {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)}


def test_every_module_holds_one_concept() -> None:
    sizes = {place(path): len(path.read_text("utf-8").splitlines()) for path in MODULES}
    assert not {path: size for path, size in sizes.items() if size > LONGEST_MODULE}


def test_every_name_says_something() -> None:
    empty = [f"{place(path)}: {name}" for path in MODULES for name in names(path) if words(name) & EMPTY_WORDS]
    assert not empty


@pytest.mark.parametrize(
    ("name", "empty"),
    [
        ("utils", True),
        ("_sql_helpers", True),
        ("BaseStep", True),
        ("HTTPManager", True),
        ("database", False),
        ("Basement", False),
    ],
)
def test_words_of_a_name(name: str, empty: bool) -> None:
    assert bool(words(name) & EMPTY_WORDS) is empty


def test_no_file_names_a_package_registry() -> None:
    assert not findings(HOSTS)


def test_no_file_knows_a_machine() -> None:
    assert not findings(MACHINE_PATHS)


def test_no_file_is_unfinished() -> None:
    assert not findings(UNFINISHED)


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        (HOSTS, "https://files.python·hosted.org/x", True),
        (HOSTS, "--index-url https://py·pi.org/simple", True),
        (HOSTS, "https://registry.n·pmjs.org", True),
        (MACHINE_PATHS, "see /·home/alice/zart", True),
        (MACHINE_PATHS, 'PATH = "/·opt/x"', True),
        (MACHINE_PATHS, "file:///·work/main", True),
        (MACHINE_PATHS, "https://example.com/home/page", False),
        (MACHINE_PATHS, "net/work/x ~/work/x ./work/x", False),
        (UNFINISHED, "# TO·DO: later", True),
        (UNFINISHED, "mktemp zart.XXXXXX", False),
    ],
)
def test_what_the_patterns_find(pattern: re.Pattern[str], text: str, found: bool) -> None:
    # The dots keep this file from being found.
    assert bool(pattern.search(text.replace("·", ""))) is found


# ---- requirements -----------------------------------------------------------------------------------------------------

EXTRAS = {
    "zart/testing/": ("test",),
    "zart/http/": ("server", "client"),
    "zart/mcp/": ("mcp",),
    "zart/schedulers/mysql/": ("mysql",),
    "zart/telemetry/": ("metrics", "otel"),
    "zart/sealing.py": ("crypto",),
}
"""Folders that only those import who have installed the extras: the testing kit is for projects that have pytest."""


def declared() -> dict[str, list[Requirement]]:
    """Return the requirements in setup.cfg by extra; "" holds those of the package itself."""
    config = ConfigParser()
    config.read(ROOT / "setup.cfg", "utf-8")
    sections = {"": config["options"]["install_requires"], **config["options.extras_require"]}
    return {extra: [Requirement(line) for line in text.splitlines() if line.strip()] for extra, text in sections.items()}


def imported(path: Path) -> Iterator[str]:
    """Yield the foreign packages that a module imports."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield (node.module or "").partition(".")[0]


def test_whatever_is_imported_is_required() -> None:
    required = {extra: {canonicalize_name(each.name) for each in each_of} for extra, each_of in declared().items()}
    distributions = packages_distributions()
    missing = []
    for path in MODULES:
        extras = [extra for folder, those in EXTRAS.items() if place(path).startswith(folder) for extra in those]
        installed = required[""].union(*(required[extra] for extra in extras))
        foreign = set(imported(path)) - sys.stdlib_module_names - {"zart"}
        missing += [
            f"{place(path)}: {name}"
            for name in sorted(foreign)
            if not {canonicalize_name(each) for each in distributions.get(name, [name])} & installed
        ]
    assert not missing


def test_every_requirement_is_pinned_within_its_bounds() -> None:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    versions = {canonicalize_name(name): version for name, version in pins.items()}
    wrong = [
        str(requirement)
        for each_of in declared().values()
        for requirement in each_of
        if requirement.name != "zart-durable"
        and not requirement.specifier.contains(versions.get(canonicalize_name(requirement.name), "0"))
    ]
    assert not wrong
